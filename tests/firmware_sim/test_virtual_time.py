"""Virtual time: the loop that jumps, connections in memory, a user's bench on both."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from photonlink.firmware_sim.config import BenchConfig, DeviceEntry
from photonlink.firmware_sim.virtual.bench import NotVirtual, in_memory
from photonlink.firmware_sim.virtual.loop import StandsStill, VirtualLoop, virtual_runner

T = TypeVar("T")


def virtual(work: Coroutine[Any, Any, T], seed: int = 1) -> T:
    with virtual_runner(seed) as runner:
        return runner.run(work)


def test_a_year_passes_at_once() -> None:
    async def year() -> float:
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        for _ in range(365):
            await asyncio.sleep(86_400.0)
        return loop.time() - begin_s

    begin = time.monotonic()
    assert virtual(year()) == pytest.approx(365 * 86_400.0)
    assert time.monotonic() - begin < 60.0


def test_timers_fire_in_their_order_and_deadlines_hold() -> None:
    async def race() -> list[str]:
        said: list[str] = []

        async def say(word: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            said.append(word)

        await asyncio.gather(say("third", 3.0), say("first", 1e-3), say("second", 0.2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await say("never", 5.1)
        return said

    assert virtual(race()) == ["first", "second", "third"]


def test_waiting_for_nothing_is_an_error() -> None:
    async def nothing() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StandsStill, match="nothing will bring"):
        virtual(nothing())


def test_a_computation_takes_no_time_and_no_thread() -> None:
    async def compute() -> None:
        loop = asyncio.get_running_loop()
        begin_s, here = loop.time(), threading.get_ident()
        assert await asyncio.to_thread(threading.get_ident) == here
        await asyncio.to_thread(time.sleep, 0.05)
        assert loop.time() == begin_s
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    virtual(compute())


def test_what_keeps_real_time_is_refused() -> None:
    async def other_process() -> None:
        await asyncio.create_subprocess_exec("true", stdin=subprocess.DEVNULL)

    async def datagrams() -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol)

    for work in (other_process(), datagrams()):
        with pytest.raises(OSError, match="virtual run"):
            virtual(work)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_a_connection_carries_bytes_and_its_end() -> None:
    async def talk() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        payload = bytes(range(256)) * 4000  # far above the limits of flow control
        sending = asyncio.create_task(_send(writer, payload))
        assert await reader.readexactly(len(payload)) == payload
        await sending
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b""

    virtual(talk())


async def _send(writer: asyncio.StreamWriter, payload: bytes) -> None:
    for at in range(0, len(payload), 10_000):
        writer.write(payload[at : at + 10_000])
        await writer.drain()


def test_a_reader_that_pauses_makes_the_writer_wait() -> None:
    async def stuck() -> int:
        async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(100.0)
            writer.transport.abort()

        server = await asyncio.start_server(never_read, "127.0.0.1", 0)
        place = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*place)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10.0):
                await _send(writer, bytes(1 << 20))
        waiting = writer.transport.get_write_buffer_size()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        return waiting

    assert 1 << 16 < virtual(stuck()) < 1 << 18


def _digest(*, late_s: float = 0.0, text: bytes = b"hello") -> str:
    async def talk(loop: VirtualLoop) -> str:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await asyncio.sleep(late_s)
        writer.write(text)
        await reader.readexactly(len(text))
        writer.close()
        return loop.network.digest()

    with virtual_runner() as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(talk(loop))


def test_the_digest_knows_bytes_and_times() -> None:
    assert _digest() == _digest()
    assert _digest(text=b"hellO") != _digest()
    assert _digest(late_s=1e-6) != _digest()


# ---- a user's bench ------------------------------------------------------------------------------


async def _idn_and_counts(bench: Any) -> list[str]:
    from photonlink.hal.links import make_stream

    said = []
    link = make_stream(bench.addresses["bob-spd-h"])
    await link.open(5.0)
    for minute in range(3):
        await asyncio.sleep(60.0)
        await link.write(b"*IDN?\r\n", 5.0)
        answer = await link.read_until(b"\n", 5.0)
        said.append(f"{minute} {answer!r}")
    await link.close()
    return said


DETECTOR = """
name = "one detector"
[devices]
bob-spd-h = { model = "sfifteen-irspd1", place = "bob.h" }
"""


def test_a_users_software_runs_on_the_bench_s_time(photonlink_bench: Any) -> None:
    runs = []
    for seed in (7, 7, 8):
        bench = photonlink_bench(DETECTOR, virtual=True, seed=seed)
        said = bench.run(_idn_and_counts(bench))
        assert bench.virtual_s == pytest.approx(180.0, abs=1.0)
        runs.append((said, bench.wire_digest))
    assert runs[0] == runs[1]
    assert runs[2] != runs[0]  # another serial number


def test_faults_strike_a_virtual_bench(photonlink_bench: Any) -> None:
    bench = photonlink_bench(DETECTOR, virtual=True)

    async def ask() -> None:
        from photonlink.hal.errors import LinkTimeout

        bench.fault("bob-spd-h", "silent", count=1)
        with pytest.raises(LinkTimeout):
            await _idn_and_counts(bench)

    bench.run(ask())
    with pytest.raises(RuntimeError, match="while run"):
        bench.fault("bob-spd-h", "silent")


def test_an_instrument_behind_a_library_is_refused_by_name() -> None:
    config = BenchConfig(devices={"tagger": DeviceEntry(model="picoquant-multiharp150")})
    with pytest.raises(NotVirtual, match=r"tagger \(picoquant-multiharp150\) is reached over lib"):
        in_memory(config)


async def test_memory_addresses_exist_in_a_virtual_run_only(tmp_path: Path) -> None:
    from photonlink.firmware_sim.wires.factory import make_wire
    from photonlink.hal.errors import LinkNotFound
    from photonlink.hal.links import make_stream

    with pytest.raises(LinkNotFound, match="no wires in memory"):
        await make_stream("mem://tagger").open(1.0)

    async def serve(session: object) -> None: ...

    with pytest.raises(OSError, match="no wires in memory"):
        await make_wire("mem://tagger", serve, tmp_path / "x").plug()
