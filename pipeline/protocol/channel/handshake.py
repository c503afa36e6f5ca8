"""The first phase: identity, agreed parameters, and consistent ledgers.

Hello and Proof go both ways at once. The Proof is an HMAC under the pre-shared key over both
Hellos; no field of a Hello is used before it is checked. The handshake spends no pad.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.channel.claims import LedgerClaim, LedgerResolution, compare
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import (
    PROTOCOL_VERSION,
    Hello,
    Message,
    Proof,
    Refuse,
    canonical_json,
    parse_json,
)
from photonlink.pipeline.protocol.printing import printable
from photonlink.pipeline.protocol.setup import Role, SessionSetup
from photonlink.pipeline.stages.agreed import differences

NONCE_BYTES = 16
DIFFERENT_KEYS = "the two nodes hold different pre-shared keys"


class Step(enum.Enum):
    HELLO = 1
    PROOF = 2
    DONE = 3


@dataclass(frozen=True, slots=True)
class Established:
    """Result of a completed handshake. sent, received: the frames so far. peer_node: the name under
    which the peer publishes its status; "" when it has none.
    """

    session_id: bytes
    resolution: LedgerResolution
    peer: LedgerClaim
    sent: tuple[bytes, ...]
    received: tuple[bytes, ...]
    peer_node: str


class Handshake:
    """Runs once per connection; ``established`` is set when the peer has proved itself."""

    def __init__(
        self,
        setup: SessionSetup,
        psk: PreSharedKey,
        claim: LedgerClaim,
        randomness: Callable[[int], bytes],
        send: Callable[[bytes], None],
    ) -> None:
        self._setup, self._psk, self._claim, self._send = setup, psk, claim, send
        self.step = Step.HELLO
        self.established: Established | None = None
        self._nonce = randomness(NONCE_BYTES)
        self._own = Hello.of(self._fields())
        self._peer: Hello | None = None
        send(self._own.encode())

    @property
    def done(self) -> bool:
        return self.step is Step.DONE

    def _fields(self) -> dict[str, Any]:
        return {
            "software": "photonlink",
            "node": self._setup.node,
            "protocol": PROTOCOL_VERSION,
            "role": str(self._setup.role),
            "psk": self._psk.key_id,
            "nonce": self._nonce.hex(),
            "parameters": self._setup.parameters.as_dict(),
            "calibration": self._setup.bench.digest,
            "ledger": self._claim.as_dict(),
        }

    def receive(self, message: Message, frame: bytes) -> None:
        """Take the next message. Raises ProtocolError when the peer is refused."""
        if isinstance(message, Refuse):
            raise _refused_by_peer(message)
        if self.step is Step.HELLO and isinstance(message, Hello):
            self._on_hello(message)
        elif self.step is Step.PROOF and isinstance(message, Proof):
            self._on_proof(message, frame)
        else:
            raise ProtocolError(
                "unexpected_message", f"{type(message).__name__} during the handshake"
            )

    def _on_hello(self, message: Hello) -> None:
        fields = message.fields()
        self._check_identity(fields)
        nonce = fields.get("nonce")
        if not isinstance(nonce, str) or len(nonce) != 2 * NONCE_BYTES:
            raise ProtocolError("malformed_message", "Hello holds no nonce")
        try:
            bytes.fromhex(nonce)
        except ValueError as error:
            raise ProtocolError("malformed_message", "the nonce is not hexadecimal") from error
        if nonce == self._nonce.hex():
            raise ProtocolError("reflected_message", "the peer sent our own Hello back")
        self._peer = message
        self._send(Proof(self._proof(self._setup.role)).encode())
        self.step = Step.PROOF

    def _check_identity(self, fields: dict[str, Any]) -> None:
        """Check the fields without which the Proofs cannot agree."""
        setup, psk = self._setup, self._psk
        if fields.get("protocol") != PROTOCOL_VERSION:
            raise ProtocolError(
                "version_mismatch",
                f"this node speaks protocol {PROTOCOL_VERSION}, the peer "
                f"{printable(fields.get('protocol'))}",
                hint="Install this version of photonlink on both nodes, then make a new "
                "pre-shared key and calibrate.",
            )
        if fields.get("role") != str(setup.role.peer):
            raise ProtocolError(
                "role_conflict",
                f"this node is {setup.role}, the peer says it is {printable(fields.get('role'))}",
                hint="One station must have role = 'alice', the other 'bob'.",
            )
        if fields.get("psk") != psk.key_id:
            raise ProtocolError(
                "psk_mismatch",
                f"{DIFFERENT_KEYS} ({psk.key_id} here, {printable(fields.get('psk'))} at the peer)",
                hint="Copy one file made by 'photonlink psk new' to both nodes.",
            )

    def _hellos(self) -> bytes:
        assert self._peer is not None  # noqa: S101 - set before any use
        pair = (self._own, self._peer) if self._setup.is_alice else (self._peer, self._own)
        return b"".join(hello.encode() for hello in pair)

    def _proof(self, role: Role) -> bytes:
        return self._psk.prove(str(role).encode() + b"\0" + self._hellos())

    def _on_proof(self, message: Proof, frame: bytes) -> None:
        """Check the Proof; after it the peer is authenticated."""
        setup = self._setup
        transcript = str(setup.role.peer).encode() + b"\0" + self._hellos()
        if not self._psk.check(message.mac, transcript):
            raise ProtocolError(
                "psk_mismatch",
                DIFFERENT_KEYS,
                hint="Copy one file made by 'photonlink psk new' to both nodes.",
            )
        assert self._peer is not None  # noqa: S101 - set by the Hello
        fields = self._peer.fields()
        self._check_agreement(fields)
        claim = LedgerClaim.parse(fields.get("ledger"))
        resolution = compare(self._claim, claim, is_alice=setup.is_alice)
        nonces = [self._nonce, bytes.fromhex(str(fields["nonce"]))]
        ordered = nonces if setup.is_alice else nonces[::-1]
        own_proof = Proof(self._proof(setup.role)).encode()
        self.established = Established(
            b"".join(ordered),
            resolution,
            claim,
            (self._own.encode(), own_proof),
            (self._peer.encode(), frame),
            _node_name(fields.get("node")),
        )
        self.step = Step.DONE

    def _check_agreement(self, fields: dict[str, Any]) -> None:
        """Check that both ends have the same agreed parameters."""
        theirs = fields.get("parameters")
        if not isinstance(theirs, dict):
            raise ProtocolError("malformed_message", "Hello holds no parameters")
        found = differences(self._setup.parameters.as_dict(), theirs)
        if found:
            listed = "; ".join(printable(str(d)) for d in found[:8])
            raise ProtocolError(
                "parameter_mismatch",
                f"the nodes disagree: {listed}",
                hint="Use the same [protocol] section in both station files.",
            )
        own, peer = self._setup.bench.digest, printable(fields.get("calibration"))
        if own != peer:
            raise ProtocolError(
                "calibration_differs",
                f"the two ends hold different calibrations ({own[:12]} here, {peer[:12]} at the "
                f"peer)",
                hint="Calibrate both ends together: photonlink check --calibrate",
            )


def _node_name(name: Any) -> str:
    """The name if it may stand in an MQTT topic, else ""."""
    return name if isinstance(name, str) and re.fullmatch(r"[a-z0-9-]{1,64}", name) else ""


def refusal(error: ProtocolError) -> Refuse:
    """The Refuse message for an error: its code and public text."""
    return Refuse(canonical_json({"code": error.code, "text": error.what[:600]}))


def _refused_by_peer(message: Refuse) -> ProtocolError:
    """A Refuse is not authenticated: it raises an alarm and has no other effect."""
    fields = parse_json(message.body, "Refuse")
    text = f"{printable(fields.get('code'))}: {printable(fields.get('text'))}"
    return ProtocolError("refused_by_peer", f"whoever answers for the peer refuses: {text}")
