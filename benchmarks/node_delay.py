"""The same link over a line with delay: two real nodes and a relay between them.

A stream of 1 M pairs/s in real time (0.5 Mb/s sifted; the goal names 5 Mb/s), 2 % errors; the
relay forwards every byte after half of the round trip. Rates are compared with the same run
without delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Effort, Row
from benchmarks.node_link import PARAMETERS, ROLES, Ran, gather, start, stations
from photonlink.pipeline.status.broker import free_port

PIECE, WAITING = 1 << 16, 4096  # bytes per piece, most pieces under way
GOALS = {0.001: 0.99, 0.02: 0.99, 0.25: 0.9}  # share of the rate without delay, by round trip (s)


async def _hand_on(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, delay_s: float
) -> None:
    late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING)

    async def deliver() -> None:
        while True:
            due, data = await late.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            target.write(data)
            await target.drain()
            if not data:
                return

    delivering = asyncio.create_task(deliver())
    try:
        while data := await source.read(PIECE):
            await late.put((time.monotonic() + delay_s, data))
    finally:
        delivering.cancel()
        target.close()


async def _relay(port: int, to: int, delay_s: float, done: asyncio.Event) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            other = await asyncio.open_connection("127.0.0.1", to)
            await asyncio.gather(
                _hand_on(reader, other[1], delay_s), _hand_on(other[0], writer, delay_s),
                return_exceptions=True,
            )  # fmt: skip

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        await done.wait()


@contextlib.contextmanager
def relay(to: int, delay_s: float) -> Iterator[int]:
    """A port that forwards to port ``to`` and back, each way after ``delay_s``."""
    port, loop, done = free_port(), asyncio.new_event_loop(), asyncio.Event()
    work = threading.Thread(target=loop.run_until_complete, args=(_relay(port, to, delay_s, done),))
    work.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(done.set)
        work.join()
        loop.close()


def run(round_trip_s: float, seconds: float) -> Ran:
    """Run one link in real time."""
    with stations() as made:
        bob = Path(made[0]["bob"])
        text = bob.read_text()
        found = re.search(r'connect = "127\.0\.0\.1:(\d+)"', text)
        if found is None:
            raise RuntimeError("node-delay: no address of the peer in Bob's station file")
        with relay(int(found[1]), round_trip_s / 2) as port:
            bob.write_text(text.replace(found[0], f'connect = "127.0.0.1:{port}"'))
            orders = {"seconds": seconds, "pace": 1.0, "stages": False, "parameters": PARAMETERS}
            ends = [start(made[0], role, **orders) for role in ROLES]
            return Ran(tuple(gather(ends, seconds)))


def node_delay(name: str, effort: Effort) -> Row:
    seconds = max(6.0, 40 * effort.size)
    plain = run(0.0, seconds).rate("sifted_bits")
    shares = {rtt: run(rtt, seconds).rate("sifted_bits") / plain for rtt in GOALS}
    text = ", ".join(f"{1e3 * rtt:g} ms {100 * share:.0f} %" for rtt, share in shares.items())
    return Row(
        name, 100 * min(shares.values()), "% of the rate",
        "no loss at 1 and 20 ms, ≥ 90 % at 250 ms",
        all(shares[rtt] >= least for rtt, least in GOALS.items()),
        note=f"{text} of {plain / 1e6:.2f} Mb/s sifted without delay; load "
        f"{os.getloadavg()[0]:.0f}",
        details={"shares": {f"{1e3 * rtt:g} ms": share for rtt, share in shares.items()}},
    )  # fmt: skip
