"""The first phase: who are you, do we agree, do our ledgers fit, and a tag both ways.

Hello and Proof go both ways at once. The Proof (an HMAC under the pre-shared key) is checked
before any pad is spent, so somebody without the key can neither drain the handshake pads nor
make a node tag with positions the peer never named.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from photonlink.pipeline.keys.ledger import LedgerState
from photonlink.pipeline.protocol.channel.authentication import Stream
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.channel.pads import POOLS, PoolKey
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.protocol.messages import (
    PROTOCOL_VERSION,
    AuthTag,
    Hello,
    Message,
    PoolName,
    Proof,
    Refuse,
    canonical_json,
    parse_json,
)
from photonlink.pipeline.protocol.setup import Role
from photonlink.pipeline.stages.agreed import differences

NONCE_BYTES = 16
DIFFERENT_KEYS = "the two nodes hold different pre-shared keys"


class Step(enum.Enum):
    HELLO = 1
    PROOF = 2
    TAG = 3
    DONE = 4


@dataclasses.dataclass(frozen=True, slots=True)
class LedgerClaim:
    """What a Hello says about its sender's ledger."""

    epoch: int  # the session now being opened
    peer_epoch: int  # last session in which the peer was authenticated
    next_block: int
    released: int  # how many blocks
    last_released: int
    pending: tuple[int, ...]  # prepared, not released: in doubt
    pads: dict[str, int]

    @classmethod
    def of(cls, state: LedgerState) -> LedgerClaim:
        return cls(
            epoch=state.epoch + 1,
            peer_epoch=state.peer_epoch,
            next_block=state.next_block,
            released=state.released_count,
            last_released=state.last_released,
            pending=tuple(entry.block for entry in state.pending()),
            pads={str(key): state.pads.get(str(key), 0) for key in POOLS},
        )

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> LedgerClaim:
        pads, pending = fields.get("pads"), fields.get("pending")
        if not isinstance(pads, dict) or not isinstance(pending, list) or len(pending) > 16:
            raise ProtocolError("malformed_message", "Hello holds no ledger")
        names = ("epoch", "peer_epoch", "next_block", "released", "last_released")
        numbers = {name: _count(fields, name) for name in names}
        return cls(
            **numbers,
            pending=tuple(_count({"pending": p}, "pending") for p in pending),
            pads={str(key): _count(pads, str(key)) for key in POOLS},
        )


@dataclasses.dataclass(frozen=True, slots=True)
class LedgerResolution:
    """What becomes of blocks in doubt, here, and where numbering and pads go on."""

    release: tuple[int, ...]
    burn: tuple[int, ...]
    next_block: int
    positions: dict[PoolKey, int]


def compare_ledgers(own: LedgerClaim, peer: LedgerClaim) -> LedgerResolution:
    """A block that one side released is released by the other; every other one in doubt burns.

    Raises ProtocolError ``ledger_rolled_back`` when one side has forgotten what the other
    remembers: an old backup, a second copy of the store, or a lost ledger.
    """
    if peer.epoch <= own.peer_epoch:
        raise _rolled_back("the peer's", peer.epoch, own.peer_epoch)
    if own.epoch <= peer.peer_epoch:
        raise _rolled_back("this node's", own.epoch, peer.peer_epoch)
    release = tuple(b for b in own.pending if b == peer.last_released)
    peer_release = tuple(b for b in peer.pending if b == own.last_released)
    own_end = (own.released + len(release), max((own.last_released, *release)))
    peer_end = (peer.released + len(peer_release), max((peer.last_released, *peer_release)))
    if own_end != peer_end:
        raise ProtocolError(
            "ledger_rolled_back",
            f"this node has released {own_end[0]} blocks, the last {own_end[1]}; the peer "
            f"{peer_end[0]}, the last {peer_end[1]}",
            hint="One of the ledgers was rolled back. Exchange a new pre-shared key.",
        )
    return LedgerResolution(
        release=release,
        burn=tuple(b for b in own.pending if b not in release),
        next_block=max(own.next_block, peer.next_block),
        positions={key: max(own.pads[str(key)], peer.pads[str(key)]) for key in POOLS},
    )


class Handshake:
    """Runs once per connection; ``done`` when both directions' tags were verified."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.step = Step.HELLO
        self.resolution: LedgerResolution | None = None
        self._claim = LedgerClaim.of(ctx.ledger.state)
        self._own = Hello.of(self._fields())
        self._peer: Hello | None = None
        self._peer_claim: LedgerClaim | None = None
        ctx.send_frame(self._own.encode())

    @property
    def done(self) -> bool:
        return self.step is Step.DONE

    def _fields(self) -> dict[str, Any]:
        ctx = self._ctx
        return {
            "software": "photonlink",
            "protocol": PROTOCOL_VERSION,
            "role": str(ctx.role),
            "psk": ctx.setup.psk.key_id,
            "nonce": ctx.randomness(NONCE_BYTES).hex(),
            "parameters": ctx.parameters.as_dict(),
            "ledger": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(self._claim).items()
            },
        }

    def receive(self, message: Message, frame: bytes) -> None:
        """Take the next message. Raises ProtocolError when the peer is refused."""
        if isinstance(message, Refuse):
            raise _refused_by_peer(message)
        if self.step is Step.HELLO and isinstance(message, Hello):
            self._on_hello(message)
        elif self.step is Step.PROOF and isinstance(message, Proof):
            self._on_proof(message, frame)
        elif self.step is Step.TAG and isinstance(message, AuthTag):
            self._on_tag(message)
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
        if nonce == self._own.fields()["nonce"]:
            raise ProtocolError("reflected_message", "the peer sent our own Hello back")
        ledger = fields.get("ledger")
        if not isinstance(ledger, dict):
            raise ProtocolError("malformed_message", "Hello holds no ledger")
        self._peer, self._peer_claim = message, LedgerClaim.parse(ledger)
        self._ctx.send_frame(Proof(self._proof(self._ctx.role)).encode())
        self.step = Step.PROOF

    def _check_identity(self, fields: dict[str, Any]) -> None:
        ctx = self._ctx
        if fields.get("protocol") != PROTOCOL_VERSION:
            raise ProtocolError(
                "version_mismatch",
                f"this node speaks protocol {PROTOCOL_VERSION}, the peer "
                f"{printable(fields.get('protocol'))}",
                hint="Install the same version of photonlink on both nodes.",
            )
        if fields.get("role") != str(ctx.role.peer):
            raise ProtocolError(
                "role_conflict",
                f"this node is {ctx.role}, the peer says it is {printable(fields.get('role'))}",
                hint="One station must have role = 'alice', the other 'bob'.",
            )
        if fields.get("psk") != ctx.setup.psk.key_id:
            raise ProtocolError(
                "psk_mismatch",
                f"{DIFFERENT_KEYS} ({ctx.setup.psk.key_id} here, "
                f"{printable(fields.get('psk'))} at the peer)",
                hint="Copy one file made by 'photonlink psk new' to both nodes.",
            )
        theirs = fields.get("parameters")
        if not isinstance(theirs, dict):
            raise ProtocolError("malformed_message", "Hello holds no parameters")
        found = differences(ctx.parameters.as_dict(), theirs)
        if found:
            listed = "; ".join(printable(str(d)) for d in found[:8])
            raise ProtocolError(
                "parameter_mismatch",
                f"the nodes disagree: {listed}",
                hint="Use the same [protocol] section in both station files.",
            )

    def _hellos(self) -> bytes:
        assert self._peer is not None  # noqa: S101 - set before any use
        pair = (self._own, self._peer) if self._ctx.is_alice else (self._peer, self._own)
        return b"".join(hello.encode() for hello in pair)

    def _proof(self, role: Role) -> bytes:
        return self._ctx.setup.psk.prove(str(role).encode() + b"\0" + self._hellos())

    def _on_proof(self, message: Proof, frame: bytes) -> None:
        ctx = self._ctx
        if not ctx.setup.psk.check(
            message.mac, str(ctx.role.peer).encode() + b"\0" + self._hellos()
        ):
            raise ProtocolError(
                "psk_mismatch",
                DIFFERENT_KEYS,
                hint="Copy one file made by 'photonlink psk new' to both nodes.",
            )
        assert self._peer is not None  # noqa: S101 - set by the Hello
        assert self._peer_claim is not None  # noqa: S101 - set by the Hello
        self.resolution = compare_ledgers(self._claim, self._peer_claim)
        self._open_streams(frame)
        ctx.ledger.append({"t": "session", "epoch": self._claim.epoch, "id": ctx.session_name})
        ctx.send_tag(PoolName.HANDSHAKE)
        self.step = Step.TAG

    def _open_streams(self, peer_proof_frame: bytes) -> None:
        """Both running hashes start with what their direction has carried so far."""
        ctx = self._ctx
        assert self._peer is not None  # noqa: S101 - set by the Hello
        assert self.resolution is not None  # noqa: S101 - set before
        own_nonce = bytes.fromhex(str(self._own.fields()["nonce"]))
        try:
            peer_nonce = bytes.fromhex(str(self._peer.fields()["nonce"]))
        except ValueError as error:
            raise ProtocolError("malformed_message", "the nonce is not hexadecimal") from error
        ordered = (own_nonce, peer_nonce) if ctx.is_alice else (peer_nonce, own_nonce)
        session_id = b"".join(ordered)
        ctx.session_name = session_id.hex()
        for role in (ctx.role, ctx.role.peer):
            positions = {
                key.pool: p for key, p in self.resolution.positions.items() if key.direction == role
            }
            stream = Stream(ctx.setup.psk, ctx.pads, str(role), session_id, positions)
            if role is ctx.role:
                ctx.out = stream
            else:
                ctx.inn = stream
        assert ctx.out is not None  # noqa: S101 - just set
        assert ctx.inn is not None  # noqa: S101 - just set
        ctx.out.absorb(self._own.encode() + Proof(self._proof(ctx.role)).encode())
        ctx.inn.absorb(self._peer.encode() + peer_proof_frame)

    def _on_tag(self, message: AuthTag) -> None:
        ctx = self._ctx
        assert ctx.inn is not None  # noqa: S101 - streams are open
        assert self._peer_claim is not None  # noqa: S101 - set by the Hello
        ctx.inn.check_tag(message, PoolName.HANDSHAKE)
        ctx.ledger.append({"t": "peer", "epoch": self._peer_claim.epoch})
        self.step = Step.DONE


def refusal(error: ProtocolError) -> Refuse:
    """What the peer is told: the same name, nothing secret."""
    return Refuse(canonical_json({"code": error.code, "text": error.what[:2000]}))


def _refused_by_peer(message: Refuse) -> ProtocolError:
    fields = parse_json(message.body, "Refuse")
    code = str(fields.get("code", ""))
    known = code if code in _REFUSALS else "refused_by_peer"
    return ProtocolError(known, f"the peer refuses: {printable(fields.get('text'))}")


_REFUSALS = frozenset(
    {
        "version_mismatch",
        "role_conflict",
        "psk_mismatch",
        "parameter_mismatch",
        "ledger_rolled_back",
    }
)


def printable(value: object) -> str:
    """A peer's text, safe to show: bounded, no control characters."""
    text = "".join(c if c.isprintable() else "?" for c in str(value)[:600])
    return text or "(nothing)"


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ProtocolError("malformed_message", f"Hello holds no valid {name}")
    return value


def _rolled_back(whose: str, epoch: int, seen: int) -> ProtocolError:
    return ProtocolError(
        "ledger_rolled_back",
        f"{whose} ledger opens session {epoch}, but session {seen} was already seen",
        hint="An old backup, a second copy or a lost ledger. Exchange a new pre-shared key.",
    )
