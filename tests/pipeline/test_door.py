"""Rows M4 and M11 on real sockets: unauthenticated clients, black holes, peers that do not read.

The nodes are real except for the bench (shells.py). ``python tests/reliability/strangers.py`` runs
the same for longer, with emulated light and in several processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from shells import shell, write_files

from photonlink.pipeline.node import peer_absent, peer_stream
from photonlink.pipeline.node.node import MAX_REASONS
from photonlink.pipeline.protocol.messages import Refuse
from photonlink.pipeline.protocol.setup import Limits, Send

RELIABILITY = Path(__file__).resolve().parents[1] / "reliability"
MIB = 1 << 20


def private_bytes() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * int(text.partition("Private_Dirty:")[2].split()[0])


STRANGERS = """
import sys, time
sys.path.insert(0, sys.argv[1])
from strangers import Strangers
with Strangers(int(sys.argv[2]), 100, 1):
    print("here", flush=True)
    time.sleep(60)
"""


@contextlib.asynccontextmanager
async def strangers(port: int) -> AsyncIterator[None]:
    """A hundred unauthenticated connections a second, from a separate process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STRANGERS, str(RELIABILITY), str(port),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    try:
        assert await process.stdout.readline() == b"here\n"
        yield
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_m4_strangers_on_real_sockets_keep_nobody_out_and_change_nothing(
    tmp_path: Path,
) -> None:
    stations, port = write_files(tmp_path)
    async with shell(stations["alice"]) as alice:
        store = alice.node._open_session._session._lasting
        before = dataclasses.asdict(store._ledger.state)
        gc.collect()
        memory = private_bytes()
        async with strangers(port):
            await asyncio.sleep(4.0)
            grown = private_bytes() - memory
            assert dataclasses.asdict(store._ledger.state) == before
            assert not alice.said.codes() & {"ledger_rolled_back", "authentication_failed"}
            states = sum(e["event"] == "state" for e in alice.said.events)
            async with shell(stations["bob"]) as bob:
                assert await bob.until(True, 30.0) < 30.0
                assert await alice.until(True, 5.0) < 5.0
                assert alice.session.line is not None
                assert alice.session.line > 50, "there were strangers before"
                said = len(alice.said.events)
                await asyncio.sleep(2.0)
                assert alice.up, "strangers do not end a line that is up"
                lost = [e for e in alice.said.events[said:] if e.get("code") == "connection_lost"]
                assert not lost
    assert grown < 1.5 * MIB  # 0.5 MiB alone; more after other tests in the same process
    assert states < 20, "status at a human pace, whoever knocks"


async def knock(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection as soon as the port is listening."""
    async with asyncio.timeout(30.0):
        while True:
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.01)


async def test_m4_only_a_proof_clears_that_the_peer_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals with ever new texts do not clear it either, and do not fill the log."""
    stations, port = write_files(tmp_path)
    async with shell(stations["alice"]) as alice:
        monkeypatch.setattr(peer_absent, "PEER_PATIENCE_S", 0.0)
        await alice.node._presence.miss()
        for number in range(2 * MAX_REASONS):
            reader, writer = await knock(port)
            await reader.read(4096)
            writer.write(Refuse(b'{"code":"x","text":"%d"}' % number).encode())
            while await reader.read(4096):
                pass
            writer.close()
            await writer.wait_closed()
        absent = alice.node._alarms["peer_absent"]
        assert "peer_absent" in {reason.partition(":")[0] for reason in alice.node._why_no_block()}
        assert "has not proved" in alice.node._presence.absent.text
        told = [e for e in alice.said.events if e["event"] == "disconnect"]
        assert len(told) == MAX_REASONS
        async with shell(stations["bob"]):
            await alice.until(True, 30.0)
            async with asyncio.timeout(30.0):
                while absent.code in alice.node._alarms:  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(0.01)


class BlackHole:
    """A relay. After ``swallow`` its open connections silently drop everything; after ``clog`` it
    reads no more from the far end.
    """

    def __init__(self, port: int) -> None:
        self._target, self.port = port, 0
        self._dead, self._clogged = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> BlackHole:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def swallow(self) -> None:
        self._dead.set()
        self._dead, self._clogged = asyncio.Event(), asyncio.Event()

    def clog(self) -> None:
        self._clogged.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._relay(reader, writer)))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        dead, clogged = self._dead, self._clogged

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if not dead.is_set():
                        target.write(data)
                    if clogged.is_set() and source is far_reader:
                        await dead.wait()

        try:
            await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))
        finally:
            for each in (writer, far_writer):
                each.transport.abort()


async def test_m11_a_black_hole_is_named_and_the_link_is_up_again(tmp_path: Path) -> None:
    """The line drops everything without an error: both ends report it within 10 s and reconnect."""
    stations, port = write_files(tmp_path)
    async with (
        BlackHole(port) as hole,
        shell(stations["alice"]) as alice,
        shell(stations["bob"], connect=f"127.0.0.1:{hole.port}") as bob,
    ):
        await bob.until(True, 30.0)
        await alice.until(True, 30.0)
        hole.swallow()
        began = asyncio.get_running_loop().time()
        await asyncio.gather(alice.until(False, 30.0), bob.until(False, 30.0))
        await asyncio.gather(alice.until(True, 30.0), bob.until(True, 30.0))
        assert asyncio.get_running_loop().time() - began < 20.0
        named = {e["code"] for n in (alice, bob) for e in n.said.events if e["event"] == "alarm"}
        assert "peer_silent" in named
    assert Limits().silence_s + 2 * 0.5 < 10.0


async def test_m11_a_peer_that_does_not_read_hangs_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The send buffer stays full: the node closes the line at the deadline, keeps running, and
    accepts a new connection of the peer.
    """
    monkeypatch.setattr(peer_stream, "WRITE_TIMEOUT_S", 0.5)
    stations, port = write_files(tmp_path)
    async with (
        BlackHole(port) as hole,
        shell(stations["alice"]) as alice,
        shell(stations["bob"], connect=f"127.0.0.1:{hole.port}") as bob,
    ):
        await bob.until(True, 30.0)
        await alice.until(True, 30.0)
        line = alice.session.line
        assert line is not None
        raw = alice.node._streams[line]._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        hole.clog()
        big = Send(bytes(1 << 25), line)
        begin = asyncio.get_running_loop().time()
        await alice.node._feed("test", lambda now_s: [big])
        assert asyncio.get_running_loop().time() - begin < 10.0
        await alice.until(False, 10.0)
        hole.swallow()
        await alice.until(True, 30.0)
        assert alice.session.line != line


async def test_m11_a_stream_whose_other_end_takes_nothing_is_closed_in_a_second() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(
        peer_stream.PeerStream, "127.0.0.1", server.getsockname()[1]
    )
    far, _ = server.accept()
    stream._transport.write(bytes(1 << 24))
    reading = asyncio.create_task(stream.read())
    begin = loop.time()
    await asyncio.wait_for(stream.close(), 5.0)
    assert await reading == b""
    assert loop.time() - begin < 4.0
    far.close()
    server.close()
