"""The messages between two checks: small frames, bounded, with a deadline for each.

With a pre-shared key every message after the first carries an HMAC over both ends' nonces, the
sender, a counter and the message: so the data of a calibration are known to come from the other
station.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import struct
from collections.abc import AsyncIterator

from photonlink.hal import machine
from photonlink.hal.errors import LinkError, PhotonlinkError
from photonlink.pipeline.calibration.files import Prover
from photonlink.pipeline.node.peer_stream import PeerStream
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.node.transport import Listener, PeerAddress, connections

PEER_WAIT_S = 20.0
STEP_TIMEOUT_S = 60.0
MAX_MESSAGE_BYTES = 1 << 27
MAC_BYTES = 32
NONCE_BYTES = 32
_HEAD = struct.Struct("<II")
_COUNT = struct.Struct(">Q")
_DOMAIN = b"photonlink check\x00"


class PeerNotAuthenticated(PhotonlinkError):
    """The other end does not hold our pre-shared key, or a message was changed on the way."""


class CheckPeer:
    """The other end's check. ``role``: ours."""

    def __init__(self, stream: PeerStream, role: str, psk: Prover | None = None) -> None:
        self._stream = stream
        self._role = role
        self._psk = psk
        self._nonces = b""
        self._sent = self._received = 0
        self._buffer = bytearray()

    async def greet(self, purpose: str = "calibrate") -> None:
        """Exchange nonces; from here on every message is authenticated."""
        own = machine.random_bytes(NONCE_BYTES)
        await self.send({"check": purpose, "role": self._role}, own)
        meta, peer = await self.receive(purpose)
        if len(peer) != NONCE_BYTES or meta.get("role") not in {"alice", "bob"} - {self._role}:
            raise LinkError("two ends of one role, or no photonlink check", where="peer")
        self._nonces = own + peer if self._role == "alice" else peer + own

    def _mac(self, sender: str, count: int, message: bytes) -> bytes:
        assert self._psk is not None  # noqa: S101 - nonces exist only with a key
        place = self._nonces + sender.encode() + _COUNT.pack(count)
        return self._psk.prove(_DOMAIN + place + message)

    async def send(self, meta: dict[str, object], payload: bytes = b"") -> None:
        head = json.dumps(meta).encode()
        message = _HEAD.pack(len(head), len(payload)) + head + payload
        mac = b""
        if self._nonces:
            mac, self._sent = self._mac(self._role, self._sent, message), self._sent + 1
        await self._stream.write(message + mac)

    async def receive(self, step: str) -> tuple[dict[str, object], bytes]:
        """The peer's message of this step; LinkError when the peer is at another step or gone."""
        async with asyncio.timeout(STEP_TIMEOUT_S):
            sizes = await self._exactly(_HEAD.size)
            n_head, n_payload = _HEAD.unpack(sizes)
            if n_head + n_payload > MAX_MESSAGE_BYTES:
                raise LinkError("what answers is no photonlink check", where="peer")
            head = await self._exactly(n_head)
            payload = await self._exactly(n_payload)
            if self._nonces:
                await self._verify(sizes + head + payload)
        try:
            meta: dict[str, object] = json.loads(head)
            at = meta.get("check")
        except (ValueError, AttributeError, RecursionError) as error:
            raise LinkError("what answers is no photonlink check", where="peer") from error
        if at == "failed":
            raise PhotonlinkError(str(meta.get("why"))[:500], where="peer")
        if at != step:
            raise LinkError(
                f"the peer is at {at!r}, not {step!r}",
                where="peer",
                hint="Run the same at both ends: check, check --calibrate, or align.",
            )
        return meta, payload

    async def _verify(self, message: bytes) -> None:
        mac = await self._exactly(MAC_BYTES)
        sender = "bob" if self._role == "alice" else "alice"
        expected, self._received = self._mac(sender, self._received, message), self._received + 1
        if not secrets.compare_digest(mac, expected):
            raise PeerNotAuthenticated(
                "the peer's message does not carry our pre-shared key's seal",
                where="peer",
                hint="Do both stations name copies of one pre-shared key?",
            )

    async def _exactly(self, n: int) -> bytes:
        while len(self._buffer) < n:
            data = await self._stream.read()
            if not data:
                raise LinkError("the peer went away during the check", where="peer")
            self._buffer += data
        piece = bytes(self._buffer[:n])
        del self._buffer[:n]
        return piece

    async def in_step(self, step: str) -> None:
        """Wait until both ends have reached this step."""
        await self.send({"check": step})
        await self.receive(step)


@contextlib.asynccontextmanager
async def peer_of(
    station: NodeStation, *, wanted: bool = True, psk: Prover | None = None
) -> AsyncIterator[CheckPeer | None]:
    """The other end's check, or None when it is not wanted or does not connect in time."""
    if not wanted:
        yield None
        return
    listener = None
    if station.peer.listen is not None:
        listener = Listener(PeerAddress.parse(station.peer.listen))
        await listener.start()
        streams = listener.connections()
    else:
        streams = connections(PeerAddress.parse(station.peer.connect or ""))
    try:
        peer = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PEER_WAIT_S):
                stream = await anext(streams)
                stream.admit()
                peer = CheckPeer(stream, station.node.role, psk)
        yield peer
    finally:
        await streams.aclose()
        if listener is not None:
            await listener.close()
