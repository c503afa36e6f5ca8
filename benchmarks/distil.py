"""The whole distillation at one end, with a live peer on the other core, for a minute.

python benchmarks/distil.py [--seconds S] [--bits N] [--slots K] [--piece-frames F]

Sifted key at 1 % errors in, secret key on disk out, at both ends; see distil_end.py for what
happens on the way. Bits count as distilled when both ends have released their block. Sifted key
is taken from memory, two blocks in turn. Needs about 0.3 GB of locked memory per end.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.delayed_link import DelayedLink, LinkClosed
from benchmarks.distil_end import Plan, Release, store_place
from benchmarks.distil_roles import Alice, Bob
from benchmarks.measure import Effort, Row
from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.keys.psk import create_psk
from photonlink.pipeline.keys.store_key import create_key_file
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.finite_key import binary_entropy

GOAL_MBPS = 150.0
POOL = 2  # blocks of sifted key, taken in turn
WARM_BLOCKS = 4
PSK_BYTES = 1 << 20


@dataclass(slots=True)
class Sample:
    """One process: time, resident memory, memory allocated by malloc, count of page faults."""

    time_s: float
    rss_mib: float
    malloc_mib: float
    faults: int


@dataclass(slots=True)
class Account:
    """What one end used between its last release of the warm-up and its last release."""

    releases: list[Release]
    samples: list[Sample]

    @property
    def blocks(self) -> int:
        return len(self.releases) - 1

    @property
    def wall_s(self) -> float:
        return self.releases[-1].time_s - self.releases[0].time_s

    @property
    def cpu_s(self) -> float:
        return self.releases[-1].cpu_s - self.releases[0].cpu_s

    @property
    def secret_bits(self) -> int:
        return sum(each.secret_bits for each in self.releases[1:])

    def stage(self, name: str) -> float:
        """CPU seconds."""
        first, last = self.releases[0].stages, self.releases[-1].stages
        return last.get(name, 0.0) - first.get(name, 0.0)


class _MallInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost",
    )]  # fmt: skip


def malloc_mib() -> float:
    """Memory allocated by malloc, large blocks included (glibc)."""
    info = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if info is None:
        return 0.0
    info.restype = _MallInfo
    now = info()
    return (int(now.uordblks) + int(now.hblkhd)) / 2**20


def sample() -> Sample:
    text = Path("/proc/self/status").read_text()
    rss = int(text.partition("VmRSS:")[2].split()[0]) / 1024
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return Sample(time.monotonic(), rss, malloc_mib(), faults)


def sifted(plan: Plan, rate: float) -> list[SecretBits]:
    """Sifted keys, the same in both processes; Bob's have errors."""
    pool = []
    for number in range(POOL):
        rng = np.random.default_rng([7, number])
        key = rng.integers(0, 256, plan.block_bits // 8, np.uint8)
        if rate:
            for at in range(0, len(key), 1 << 20):
                piece = key[at : at + (1 << 20)]
                piece ^= np.packbits(rng.random(8 * len(piece), np.float32) < rate)
        pool.append(SecretBits.take(bytearray(key)))
    return pool


def drive(end: Alice | Bob, seconds: float) -> Account:
    """Run until ``seconds`` after the warm-up are over, or the peer closes the connection."""
    samples: list[Sample] = []
    until = float("inf")
    with contextlib.suppress(LinkClosed):
        while (now := time.monotonic()) < until:
            end.turn_once()
            if len(end.released) < WARM_BLOCKS:
                continue
            if not samples and isinstance(end, Bob):
                until = now + seconds
            if not samples or now - samples[-1].time_s >= 1:
                samples.append(sample())
    if len(end.released) <= WARM_BLOCKS:
        raise RuntimeError("distil: the time was over before a block was, after the warm-up")
    return Account(end.released[WARM_BLOCKS - 1 :], samples)


def alice_process(
    port: int, plan: Plan, directory: Path, report: multiprocessing.connection.Connection
) -> None:
    pool = sifted(plan, 0.0)
    report.send("ready")
    link = DelayedLink(socket.create_connection(("127.0.0.1", port)))
    end = Alice(plan, link, directory, pool)
    report.send(drive(end, 0.0))
    end.close()


@dataclass(slots=True)
class Outcome:
    alice: Account
    bob: Account
    plan: Plan
    f: float
    load: tuple[float, float]  # of the machine, before and after
    seed_share: float  # seed bytes per sifted byte
    burnt: int  # blocks that verification refused, not counted as sifted

    @property
    def gbit(self) -> float:
        """Sifted key by Bob's count."""
        return self.bob.blocks * self.plan.block_bits / 1e9

    @property
    def mbps(self) -> float:
        return 1e3 * self.gbit / self.bob.wall_s

    @property
    def core_s_per_gbit(self) -> float:
        """CPU of both ends together, all stages included."""
        return sum(
            each.cpu_s / each.blocks for each in (self.alice, self.bob)
        ) / self.plan.block_bits * 1e9  # fmt: skip


def run(plan: Plan, seconds: float) -> Outcome:
    """Both ends for ``seconds`` after a warm-up."""
    directory = Path(tempfile.mkdtemp(prefix="photonlink-distil-"))
    before = os.getloadavg()[0]
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    try:
        create_psk(directory / "psk", PSK_BYTES)
        for role in ("alice", "bob"):
            create_key_file(directory / f"{role}.key")
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(120)
            child = context.Process(
                target=alice_process, args=(server.getsockname()[1], plan, directory, theirs)
            )
            child.start()
            pool = sifted(plan, plan.error_rate)
            connection, _ = server.accept()
        bob = Bob(plan, DelayedLink(connection), directory, pool)
        mine.recv()
        ours = drive(bob, seconds)
        bob.link.close()
        if not mine.poll(60):
            raise RuntimeError("distil: Alice's process does not answer")
        peers: Account = mine.recv()
        child.join(60)
        check_keys(directory, bob)
        keyed = bob.blocks_verified * plan.block_bits
        ideal = keyed * binary_entropy(bob.errors / keyed)
        outcome = Outcome(
            peers, ours, plan, bob.leak_bits / ideal, (before, os.getloadavg()[0]),
            bob.seed_bytes * 8 / keyed, bob.burnt,
        )  # fmt: skip
        bob.close()
        return outcome
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def check_keys(directory: Path, bob: Bob) -> None:
    """Both stores hold the same keys. Alice's process has ended."""
    with NodeStore.open(store_place(directory, "alice")) as alice:
        for each in bob.released:
            sides = [
                end.get_key(each.number, entry.net_bits, entry.key_seal)
                for end, ledger in ((alice.keys, alice.ledger), (bob.store, bob.ledger))
                if (entry := ledger.state.blocks[each.number]).net_bits
            ]
            if len(sides) != 2 or not sides[0].equals(sides[1]):
                raise AssertionError(f"distil: the keys of block {each.number} differ")
            for side in sides:
                side.close()


# ---- memory ----


def slope_mib_per_minute(samples: list[Sample]) -> float:
    """Least squares over the samples."""
    times = np.array([each.time_s for each in samples])
    sizes = np.array([each.rss_mib for each in samples])
    if len(samples) < 3:
        return 0.0
    return float(np.polyfit(times - times[0], sizes, 1)[0]) * 60


def growth(part: Account) -> tuple[float, float, float]:
    """Resident memory in MiB per minute, malloc in MiB, page faults per block."""
    first, last = part.samples[0], part.samples[-1]
    faults = (last.faults - first.faults) / max(1, part.blocks)
    return slope_mib_per_minute(part.samples), last.malloc_mib - first.malloc_mib, faults


# ---- rows ----

_cache: dict[float, Outcome] = {}  # `distil` and `memory` show the same run


def _outcome(effort: Effort) -> Outcome:
    if effort.size not in _cache:
        small = effort.size < 1
        plan = Plan(block_bits=8 << 18, piece_bits=1 << 18, slots=4) if small else Plan()
        _cache[effort.size] = run(plan, max(2.0, 60 * effort.size))
    return _cache[effort.size]


def stages(outcome: Outcome) -> dict[str, tuple[float, float]]:
    """Core-seconds per Gbit of sifted key: Alice, Bob."""
    parts = (outcome.alice, outcome.bob)
    a_gbit, b_gbit = (part.blocks * outcome.plan.block_bits / 1e9 for part in parts)
    names = dict.fromkeys(name for part in parts for name in part.releases[-1].stages)
    table = {
        name: (outcome.alice.stage(name) / a_gbit, outcome.bob.stage(name) / b_gbit)
        for name in names
    }
    known = [sum(column) for column in zip(*table.values(), strict=True)]
    table["all else"] = (
        outcome.alice.cpu_s / a_gbit - known[0], outcome.bob.cpu_s / b_gbit - known[1]
    )  # fmt: skip
    return table


def distil(name: str, effort: Effort) -> Row:
    outcome = _outcome(effort)
    table = stages(outcome)
    text = ", ".join(f"{stage} {a:.2f} + {b:.2f}" for stage, (a, b) in table.items())
    return Row(
        name, outcome.mbps, "Mb/s", f"≥ {GOAL_MBPS:g} Mb/s sifted, both ends on two cores, 60 s",
        outcome.mbps >= GOAL_MBPS,
        note=f"{outcome.core_s_per_gbit:.2f} core-seconds per Gbit at both ends (Alice + Bob: "
        f"{text}); seeds take {outcome.seed_share:.2f} bit per sifted bit; "
        f"{outcome.burnt} blocks refused by verification; load "
        f"{outcome.load[0]:.1f} before, {outcome.load[1]:.1f} after",
        details={
            "f": outcome.f, "blocks": outcome.bob.blocks, "burnt": outcome.burnt,
            "seconds": outcome.bob.wall_s,
            "secret_mbps": outcome.bob.secret_bits / outcome.bob.wall_s / 1e6,
            "core_s_per_gbit": outcome.core_s_per_gbit,
            "seed_mbps": outcome.seed_share * outcome.mbps,
            "load": list(outcome.load),
        },
    )  # fmt: skip


def memory(name: str, effort: Effort) -> Row:
    outcome = _outcome(effort)
    alice, bob = growth(outcome.alice), growth(outcome.bob)
    rss = [part.samples[-1].rss_mib for part in (outcome.alice, outcome.bob)]
    worst, faults = max(alice[0], bob[0]), max(alice[2], bob[2])
    return Row(
        name, sum(rss), "MiB", "flat: < 1 MiB per minute, < 64 new pages per block",
        worst < 1 and faults < 64,
        note=f"resident {rss[0]:.0f} + {rss[1]:.0f} MiB (Alice + Bob), growing by {alice[0]:.2f} "
        f"+ {bob[0]:.2f} MiB per minute, malloc {alice[1]:+.2f} + {bob[1]:+.2f} MiB, pages first "
        f"touched per block {alice[2]:.0f} + {bob[2]:.0f}",
        details={"mib_per_minute": worst, "pages_per_block": faults},
    )  # fmt: skip


def show(outcome: Outcome) -> None:
    bob = outcome.bob
    print(f"{outcome.mbps:.1f} Mb/s sifted ({bob.blocks} blocks in {bob.wall_s:.1f} s), "
          f"{bob.secret_bits / bob.wall_s / 1e6:.1f} Mb/s secret, f {outcome.f:.4f}")  # fmt: skip
    cores = [each.cpu_s / each.wall_s for each in (outcome.alice, bob)]
    print(f"cores {cores[0]:.2f} + {cores[1]:.2f}, {outcome.core_s_per_gbit:.2f} core-s per Gbit: "
          f"two free cores would reach {2e3 / outcome.core_s_per_gbit:.0f} Mb/s; "
          f"load {outcome.load[0]:.1f} before, {outcome.load[1]:.1f} after")  # fmt: skip
    first, last = bob.releases[0], bob.releases[-1]
    traffic = [(last.received - first.received) * 8e-6 / bob.wall_s,
               (last.sent - first.sent) * 8e-6 / bob.wall_s]  # fmt: skip
    print(f"seeds: {outcome.seed_share:.3f} bit per sifted bit, "
          f"{outcome.seed_share * outcome.mbps:.0f} Mb/s from Alice to Bob; all traffic "
          f"{traffic[0]:.0f} Mb/s to Bob, {traffic[1]:.0f} Mb/s to Alice")  # fmt: skip
    print("core-seconds per Gbit    Alice    Bob")
    for stage, (a, b) in stages(outcome).items():
        print(f"  {stage:20s} {a:8.3f} {b:8.3f}")
    for role, part in (("Alice", outcome.alice), ("Bob", bob)):
        slope, given, faults = growth(part)
        print(f"{role}: {part.samples[0].rss_mib:.1f} MiB after warm-up, "
              f"{part.samples[-1].rss_mib:.1f} at the end ({slope:+.2f} MiB/min), malloc "
              f"{given:+.3f} MiB, {faults:.0f} pages first touched per block")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default: Any = Plan()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pieces", type=int, default=default.block_bits // default.piece_bits)
    parser.add_argument("--piece-frames", type=int, default=default.piece_bits >> 16)
    parser.add_argument("--slots", type=int, default=default.slots)
    options = parser.parse_args()
    piece = options.piece_frames << 16
    outcome = run(Plan(options.pieces * piece, piece, options.slots), options.seconds)
    show(outcome)
    return 0 if outcome.mbps >= GOAL_MBPS else 1


if __name__ == "__main__":
    sys.exit(main())
