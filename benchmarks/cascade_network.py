"""Cascade between two processes over loopback TCP, with a delay added each way.

python benchmarks/cascade_network.py [--delay-ms 0 0.1 1 5] [--frames 64 2048] [--seconds S]

Each process needs a core of its own. The delay is added in user space (delayed_link.py). Frames
of 2^16 bits at 2 % errors are corrected in pieces of several; the table shows how many are in
flight. The last corrected block is compared with Alice's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.delayed_link import DelayedLink, LinkClosed
from benchmarks.measure import Effort, Row
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.reconcile_many import Block, ManyAnswerers, ManyCorrectors

FRAME_BITS = 1 << 16
ERROR_RATE = 0.02
DELAYS_MS = (0.0, 0.1, 1.0, 5.0)
ONE_FRAME = (1, 1)
GOAL_RATIO, GOAL_DELAY_MS = 0.8, 1.0
TURNS = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """``slots`` pieces of ``frames`` frames each are in flight, ``delay_ms`` each way."""

    delay_ms: float
    frames: int
    slots: int
    seconds: float
    percent: float = 100 * ERROR_RATE
    fewer_rounds: bool = False

    @property
    def block_bits(self) -> int:
        return self.frames * self.slots * FRAME_BITS

    @property
    def window(self) -> tuple[int, int, bool]:
        return self.frames, self.slots, self.fewer_rounds

    @property
    def batches(self) -> int:
        return 8 if self.delay_ms else 4

    @property
    def in_flight(self) -> int:
        return self.frames * self.slots


@dataclass(slots=True)
class Result:
    setting: Setting
    mbps: float
    cpu_share: tuple[float, float]  # of a core: Alice, Bob
    memory_mib: tuple[float, float]  # growth: Alice, Bob


def keys(n_bits: int, rate: float) -> tuple[bytearray, bytearray]:
    """Alice's and Bob's keys; the same pair in both processes."""
    rng = np.random.default_rng(3)
    alice = rng.integers(0, 256, n_bits // 8, np.uint8)
    errors = rng.random(n_bits, np.float32) < rate
    return bytearray(alice), bytearray(alice ^ np.packbits(errors))


def rss_mib() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def block_seed(number: int) -> bytes:
    return number.to_bytes(32, "little")


def alice_end(port: int, setting: Setting, report: multiprocessing.connection.Connection) -> None:
    """Answer until the other end closes the connection."""
    with SecretBits.take(keys(setting.block_bits, setting.percent / 100)[0]) as key:
        before = rss_mib()
        link = DelayedLink(socket.create_connection(("127.0.0.1", port)), setting.delay_ms / 1e3)
        ends = ManyAnswerers(setting.slots, batches=setting.batches)
        known = 0
        started, cpu = time.monotonic(), time.process_time()
        try:
            while True:
                while known < 3 or ends.finished:
                    if ends.finished:
                        ends.finished.popleft()
                    known += 1
                    ends.add(Block(known, key, block_seed(known), setting.frames * FRAME_BITS))
                used, written = ends.step(link.data(), link.room())
                link.use(used)
                link.commit(written)
                link.pump(not used and not written)
        except LinkClosed:
            share = (time.process_time() - cpu) / (time.monotonic() - started)
            report.send((share, rss_mib() - before))
        ends.close()


def bob_end(link: DelayedLink, setting: Setting, truth: SecretBits, noisy: SecretBits) -> Result:
    """Corrects block after block, until the time is over; the last whole one is compared."""
    corrected = [SecretBits(setting.block_bits) for _ in range(3)]
    before = rss_mib()
    ends = ManyCorrectors(setting.slots, fewer_rounds=setting.fewer_rounds, batches=setting.batches)
    known = 0
    piece_bits = setting.frames * FRAME_BITS
    marks: list[float] = []  # when each piece ended
    ended, cpu, begun = 0, time.process_time(), time.monotonic()
    while True:
        while ends.pieces_waiting < setting.slots:
            known += 1
            ends.add(
                Block(known, noisy, block_seed(known), piece_bits, setting.percent / 100,
                      corrected[known % 3])
            )  # fmt: skip
        used, written = ends.step(link.data(), link.room())
        link.use(used)
        link.commit(written)
        link.pump(not used and not written)
        now = time.monotonic()
        marks += [now] * (ends.pieces_finished - ended)
        ended = ends.pieces_finished
        warm = 2 * setting.slots
        if ended > warm + setting.slots and now - marks[warm - 1] > setting.seconds:
            break
    share = (time.process_time() - cpu) / (time.monotonic() - begun)
    grown = rss_mib() - before
    last = ends.finished[-1]
    if last.corrected is None or not last.corrected.equals(truth):
        raise AssertionError("cascade-network: the corrected key differs")
    spent = marks[-1] - marks[warm - 1]
    rate = (ended - warm) * piece_bits / spent / 1e6
    ends.close()
    for secret in corrected:
        secret.close()
    return Result(setting, rate, (0.0, share), (0.0, grown))


def measure(setting: Setting) -> Result:
    """One cell of the table: this process is Bob, a child is Alice."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    plain, dirty = keys(setting.block_bits, setting.percent / 100)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        SecretBits.take(plain) as truth,
        SecretBits.take(dirty) as noisy,
    ):
        server.settimeout(60)
        child = context.Process(target=alice_end, args=(server.getsockname()[1], setting, theirs))
        child.start()
        connection, _ = server.accept()
        link = DelayedLink(connection, setting.delay_ms / 1e3)
        try:
            result = bob_end(link, setting, truth, noisy)
        finally:
            link.close()
            told = mine.recv() if mine.poll(20) else (0.0, 0.0)
            child.join(10)
    result.cpu_share = told[0], result.cpu_share[1]
    result.memory_mib = told[1], result.memory_mib[1]
    return result


def show(result: Result) -> str:
    s = result.setting
    return (
        f"{s.delay_ms:5.1f} ms  {s.in_flight:5d} frames ({s.slots} x {s.frames})"
        f"{' fewer rounds' if s.fewer_rounds else ''}  "
        f"{result.mbps:8.2f} Mb/s  cores {result.cpu_share[0]:.2f} + {result.cpu_share[1]:.2f}  "
        f"memory {result.memory_mib[0]:.0f} + {result.memory_mib[1]:.0f} MiB"
    )


def cell(
    delay_ms: float, shape: tuple[int, int], seconds: float, fewer_rounds: bool = False
) -> Result:
    result = measure(Setting(delay_ms, *shape, seconds, fewer_rounds=fewer_rounds))
    print(show(result), file=sys.stderr, flush=True)
    return result


# frames per piece, pieces in flight, fewer rounds
WAYS = (
    (32, 4, False),
    (64, 8, False),
    (32, 4, True),
    (64, 4, True),
    (64, 16, True),
    (64, 24, True),
)


def table(
    ways: Sequence[tuple[int, int, bool]], delays: Sequence[float], seconds: float
) -> list[Result]:
    """Every way at every delay. The delays of the goal are measured in several turns of
    the whole table; medians count, because the host's speed changes from minute to minute."""
    turns: dict[Setting, list[Result]] = {}
    for turn in range(TURNS):
        for frames, slots, fewer in ways:
            for delay in (0.0, GOAL_DELAY_MS) if turn else delays:
                result = cell(delay, (frames, slots), seconds, fewer)
                turns.setdefault(result.setting, []).append(result)
    return [sorted(each, key=lambda r: r.mbps)[len(each) // 2] for each in turns.values()]


def network(name: str, effort: Effort) -> Row:
    """Figure: the best rate at 1 ms each way, against the best one without delay, whatever the
    frames in flight; the note also has it against the same frames without delay. Medians."""
    small = effort.size < 1
    ways = ((2, 2, False),) if small else WAYS
    delays = (0.0, GOAL_DELAY_MS) if small else DELAYS_MS
    seconds = 2 * min(effort.size, 1.0)
    results = table(ways, delays, seconds)
    single = cell(GOAL_DELAY_MS, ONE_FRAME, seconds)
    undelayed = {r.setting.window: r.mbps for r in results if r.setting.delay_ms == 0}
    best = max((r for r in results if r.setting.delay_ms == GOAL_DELAY_MS), key=lambda r: r.mbps)
    ratio = best.mbps / max(undelayed.values())
    return Row(
        name, best.mbps, "Mb/s", f"≥ {GOAL_RATIO:.0%} of the rate without delay at 1 ms",
        ratio >= GOAL_RATIO, "one frame in flight", single.mbps, best.mbps / single.mbps,
        f"1 ms each way, {best.setting.in_flight} frames in flight: {ratio:.0%} of the best rate "
        f"without delay ({max(undelayed.values()):.0f} Mb/s), "
        f"{best.mbps / undelayed[best.setting.window]:.0%} of that with as many frames; "
        f"memory {best.memory_mib[0]:.0f} + {best.memory_mib[1]:.0f} MiB (Alice + Bob)",
        {"cells": [(r.setting.delay_ms, *r.setting.window, round(r.mbps, 2)) for r in results],
         "load": os.getloadavg()[0]},
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--delay-ms", type=float, nargs="*", default=DELAYS_MS)
    shapes = [f"{frames}x{slots}" for frames, slots in (ONE_FRAME, (32, 4), (64, 8), (64, 16))]
    parser.add_argument(
        "--shape", nargs="*", default=shapes, help="frames per piece x pieces in flight"
    )
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--fewer-rounds", action="store_true")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}")
    for shape in options.shape:
        frames, slots = map(int, shape.split("x"))
        for delay in options.delay_ms:
            cell(delay, (frames, slots), options.seconds, options.fewer_rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
