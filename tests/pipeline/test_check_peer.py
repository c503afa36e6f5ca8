"""The messages of two calibrating checks: authenticated by the pre-shared key, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from photonlink.hal.errors import LinkError, PhotonlinkError
from photonlink.pipeline.check.peer import (
    MAX_MESSAGE_BYTES,
    CheckPeer,
    PeerNotAuthenticated,
)
from photonlink.pipeline.keys.psk import PreSharedKey

Change = Callable[[int, bytes], bytes]


class Pipe:
    """One end of a line in memory; ``change(n, data)`` returns what arrives of the n-th write."""

    def __init__(self, change: Change = lambda n, data: data) -> None:
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self.other: Pipe | None = None
        self._change, self._n = change, 0

    async def read(self) -> bytes:
        return await self.arrived.get()

    async def write(self, data: bytes) -> None:
        assert self.other is not None
        self._n += 1
        await self.other.arrived.put(self._change(self._n, data))


def ends(
    change: Change = lambda n, data: data, bob_psk: PreSharedKey | None = None
) -> tuple[CheckPeer, CheckPeer]:
    psk = PreSharedKey.generate(4096)
    a, b = Pipe(change), Pipe()
    a.other, b.other = b, a
    return (
        CheckPeer(a, "alice", psk),  # type: ignore[arg-type]
        CheckPeer(b, "bob", bob_psk or psk.copy()),  # type: ignore[arg-type]
    )


async def _talk(alice: CheckPeer, bob: CheckPeer) -> tuple[bytes, bytes]:
    async def one(peer: CheckPeer, said: bytes) -> bytes:
        await peer.greet()
        await peer.in_step("dark")
        await peer.send({"check": "clicks"}, said)
        return (await peer.receive("clicks"))[1]

    async with asyncio.timeout(10):
        found = await asyncio.gather(one(alice, b"from alice"), one(bob, b"from bob"))
    return found[0], found[1]


def test_both_ends_hear_each_other() -> None:
    assert asyncio.run(_talk(*ends())) == (b"from bob", b"from alice")


@pytest.mark.parametrize("byte", [-1, -40, 9, 20])
def test_a_changed_message_is_refused(byte: int) -> None:
    def change(n: int, data: bytes) -> bytes:
        if n != 3:
            return data
        bits = bytearray(data)
        bits[byte] ^= 1
        return bytes(bits)

    with pytest.raises((PeerNotAuthenticated, LinkError, TimeoutError)):
        asyncio.run(_talk(*ends(change)))


def test_without_the_seal_a_changed_click_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the authentication, the same change is accepted."""

    async def believe(self: CheckPeer, message: bytes) -> None:
        await self._exactly(32)

    monkeypatch.setattr(CheckPeer, "_verify", believe)
    heard = asyncio.run(_talk(*ends(lambda n, d: d.replace(b"from alice", b"from Alice"))))
    assert heard == (b"from bob", b"from Alice")


def test_a_repeated_message_is_refused() -> None:
    with pytest.raises((PeerNotAuthenticated, LinkError)):
        asyncio.run(_talk(*ends(lambda n, data: data + data if n == 2 else data)))


def test_another_pre_shared_key_is_refused() -> None:
    other = PreSharedKey.generate(4096)
    with pytest.raises(PeerNotAuthenticated, match="pre-shared"):
        asyncio.run(_talk(*ends(bob_psk=other)))


def test_the_reason_of_the_other_end_is_ours() -> None:
    async def run() -> None:
        alice, bob = ends()
        await bob.send({"check": "failed", "why": "alice V: this detector is dark"})
        await alice.receive("clicks")

    with pytest.raises(PhotonlinkError, match="this detector is dark"):
        asyncio.run(run())


@pytest.mark.parametrize(
    "data",
    [
        (MAX_MESSAGE_BYTES).to_bytes(4, "little") + b"\x01\x00\x00\x00",
        b"\x02\x00\x00\x00\x00\x00\x00\x00[]",
        b"\x01\x00\x00\x00\x00\x00\x00\x00{",
        b"\x10\x00\x00\x00\x00\x00\x00\x00" + b'{"check":"dark"}',
        b"",
    ],
)
def test_what_is_no_check_is_named(data: bytes) -> None:
    async def run() -> None:
        alice, bob = ends()
        await bob._stream.write(data)
        await alice.receive("clicks")

    with pytest.raises(LinkError):
        asyncio.run(run())
