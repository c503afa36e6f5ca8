"""Reconnection to the peer: repeated, with growing pauses while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from photonlink.pipeline.node import transport
from photonlink.pipeline.node.transport import BACKOFF_S, Listener, PeerAddress, connections

Manner = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between connections, without jitter; sleeping takes no time here."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    class Quick:
        def __getattr__(self, name: str) -> object:
            return sleep if name == "sleep" else getattr(asyncio, name)

    monkeypatch.setattr(transport, "asyncio", Quick())
    monkeypatch.setattr(transport.machine, "jitter", lambda: 1.0)
    return slept


GROWING = [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
SOON = [0.2, 0.4, 0.8, 0.8, 0.8, 0.8, 0.8]


async def speak_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"!")
    await writer.drain()
    writer.close()


async def fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_a_peer_that_refuses_us_is_asked_ever_more_rarely(
    pauses: list[float],
) -> None:
    found = await _pauses_at(speak_and_close, b"!", pauses, refused=True)
    assert found == pytest.approx(GROWING)


async def test_a_peer_that_has_no_room_is_asked_again_soon(pauses: list[float]) -> None:
    assert await _pauses_at(speak_and_close, b"!", pauses) == pytest.approx(SOON)


async def test_a_tunnel_whose_end_is_not_there_is_asked_again_soon(pauses: list[float]) -> None:
    assert await _pauses_at(fall_silent, b"", pauses) == pytest.approx(SOON)


async def _pauses_at(
    manner: Manner, said: bytes, pauses: list[float], *, refused: bool = False
) -> list[float]:
    server = await asyncio.start_server(manner, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    met = 0
    async for stream in connections(PeerAddress("127.0.0.1", port)):
        assert await stream.read() == said
        stream.refused = refused
        met += 1
        if met == 8:
            break
    server.close()
    return pauses


async def test_a_peer_that_is_not_there_is_told_with_the_reason(pauses: list[float]) -> None:
    listener = Listener(PeerAddress("127.0.0.1", 0))
    await listener.start()
    await listener.close()
    told: list[str] = []

    def unreachable(reason: str) -> None:
        told.append(reason)
        if len(told) == 8:
            raise EOFError

    with pytest.raises(EOFError):
        await anext(connections(PeerAddress("127.0.0.1", listener.port), unreachable))
    assert set(told) == {"Connection refused"}
    assert pauses == pytest.approx(SOON)


async def test_a_link_that_was_up_is_taken_up_again_at_once(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(transport.machine, "monotonic_s", lambda: now[0])
    server = await asyncio.start_server(speak_and_close, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    met = 0
    async for stream in connections(PeerAddress("127.0.0.1", port)):
        assert await stream.read() == b"!"
        met += 1
        if met == 4:
            now[0] += BACKOFF_S[1] + 1  # this connection lasted
        if met == 6:
            break
    server.close()
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 0.2, 0.4])
