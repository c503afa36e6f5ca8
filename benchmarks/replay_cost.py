"""Cost of a click: CPU of ``photonlink replay``, bytes of the whole classical channel.

python benchmarks/replay_cost.py [--against PYTHON] [--pairs-hz 1000000] [--json]

CPU: short and long recordings in a1 words are distilled; a quarter as many lone clicks as pairs at
each side. The slope is the cost of a tag, without the start of the interpreter. ``--against``: the
interpreter of another checkout, which distils the same recordings in turn. Bytes: all frames of
both directions, handshake to Bye, of a session in this process, per event that Bob announced.
Goals: 3 bytes per event, no more CPU than the other checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

if not __package__:  # run as a script: make the modules beside it importable by full name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from benchmarks.measure import machine
from photonlink.hal.tags import TagBlock
from photonlink.pipeline.attacks.link import Line, LinkEnd
from photonlink.pipeline.attacks.transcript import WireTranscript
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.native.quiet import announced_events
from photonlink.pipeline.protocol.messages import Announcement, Request, decode
from photonlink.pipeline.protocol.setup import Role
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.agreed_times import agreed_times
from photonlink.pipeline.stages.bench_constants import ideal

PS = 10**12
STEP_PS = PS // 10
JITTER_PS, ERRORS = 130.0, 0.02
GOAL_BYTES = 3.0
HEADER, MAC = 4, 16
Clicks = tuple[np.ndarray, np.ndarray]


def clicks(pairs_hz: float, lone_hz: float, seconds: float, seed: int = 1) -> tuple[Clicks, Clicks]:
    """Times (ps) and detectors 0..3 of both sides."""
    rng = np.random.default_rng(seed)
    span = seconds * PS
    emitted = rng.uniform(0, span, rng.poisson(pairs_hz * seconds))
    basis = rng.integers(0, 2, (2, len(emitted)))
    bit = rng.integers(0, 2, (2, len(emitted)))
    same = basis[0] == basis[1]
    bit[1, same] = bit[0, same] ^ (rng.random(int(same.sum())) < ERRORS)
    sides = []
    for k in range(2):
        lone = rng.uniform(0, span, rng.poisson(lone_hz * seconds))
        time = np.concatenate([emitted + rng.normal(0, JITTER_PS, len(emitted)), lone])
        detector = np.concatenate([basis[k] * 2 + bit[k], rng.integers(0, 4, len(lone))])
        order = np.argsort(time)
        sides.append((np.maximum(time[order], 0).astype(np.int64), detector[order]))
    return sides[0], sides[1]


# ---- CPU ----


def record(path: Path, side: Clicks) -> None:
    """Write as qcrypto's readevents: 64-bit words, times of 1/256 ns, a bit per detector."""
    time_ps, detector = side
    ticks = (time_ps * 32 // 125).astype(np.uint64)
    words = ticks << np.uint64(10) | np.uint64(1) << detector.astype(np.uint64)
    path.write_bytes(words.astype("<u8").tobytes())


def cpu_of(python: str, alice: Path, bob: Path) -> tuple[float, dict[str, object]]:
    """User and system seconds of one replay, and its output."""
    words = [python, "-m", "photonlink.pipeline.cli", "replay", "--alice", str(alice), "--bob",
             str(bob), "--json"]  # fmt: skip
    before = os.times()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    after = os.times()
    used = after.children_user - before.children_user
    used += after.children_system - before.children_system
    if done.returncode:
        raise RuntimeError(f"{python} failed: {done.stderr[-600:]}")
    return used, json.loads(done.stdout.strip().splitlines()[-1])


def cpu(pythons: list[str], pairs_hz: float, seconds: float, turns: int) -> dict[str, object]:
    """ns per tag of one node, sorted over the turns, for each interpreter."""
    with tempfile.TemporaryDirectory(prefix="photonlink-replay-") as name:
        files, tags = {}, {}
        for length in (0.6 * seconds, seconds):  # longer than the start phase
            sides = clicks(pairs_hz, pairs_hz / 4, length)
            tags[length] = sum(len(side[0]) for side in sides)
            pair = [Path(name) / f"{who}-{length}.a1" for who in ("alice", "bob")]
            for path, side in zip(pair, sides, strict=True):
                record(path, side)
            files[length] = pair
        short, long = files
        found: dict[str, object] = {"tags": tags[long]}
        for python in pythons:
            slopes, said = [], {}
            for _ in range(turns):
                low, _ = cpu_of(python, *files[short])
                high, said = cpu_of(python, *files[long])
                slopes.append((high - low) / (tags[long] - tags[short]) * 1e9)
            kept = ("secret_bits", "blocks", "qber", "aborts")
            found[python] = {
                "ns_per_tag": sorted(round(s) for s in slopes), **{k: said[k] for k in kept}
            }  # fmt: skip
        return found


# ---- bytes ----


class _Counting(WireTranscript):
    """Bytes by message, and the events that Bob announced."""

    def __init__(self, parameters: AgreedParameters) -> None:
        super().__init__(parameters, ideal())
        self.rule = agreed_times(parameters, ideal()).rule
        self.bytes: dict[str, int] = {}
        self.events = 0
        self._asked: dict[int, int] = {}

    def feed(self, sender: str, frame: bytes) -> None:
        kind = frame[0]
        name = "handshake"
        if kind > 0x04:
            message = decode(kind, frame[HEADER:-MAC])
            name = type(message).__name__
            if isinstance(message, Request):
                self._asked[message.slot] = message.start_ps
            elif isinstance(message, Announcement) and message.body:
                slot = self.rule.slot(self._asked.pop(message.slot), message.end_ps)
                self.events += announced_events(message.body, slot)
        self.bytes[name] = self.bytes.get(name, 0) + len(frame)


def channel(pairs_hz: float, lone_hz: float, seconds: float) -> dict[str, object]:
    """Bytes of both directions per announced event, of whole blocks."""
    parameters = AgreedParameters(hardware_hold_off=1, q_tol=0.05, multi_click_limit=0.05)
    psk = PreSharedKey.generate(1 << 16)
    ends = [
        LinkEnd(role, key, ideal(), parameters, 1)
        for role, key in ((Role.ALICE, psk), (Role.BOB, psk.copy()))
    ]
    counted = _Counting(parameters)
    line = Line(ends[0], ends[1], counted)
    line.play(iter(_pieces(clicks(pairs_hz, lone_hz, seconds), seconds)))
    total = sum(counted.bytes.values())
    by_message = sorted(counted.bytes.items(), key=lambda entry: -entry[1])
    return {
        "pairs_hz": pairs_hz,
        "lone_hz": lone_hz,
        "events": counted.events,
        "bytes_per_event": round(total / counted.events, 3),
        "by_message": {name: round(n / counted.events, 4) for name, n in by_message[:8]},
        "bytes_per_sifted_bit": round(
            total / max(sum(report.sifted_bits for _, report in ends[0].reports), 1), 3
        ),
        "net_bits": sum(report.net_bits for _, report in ends[0].reports),
        "aborts": [report.abort for _, report in ends[0].reports if report.abort],
    }


def _pieces(sides: tuple[Clicks, Clicks], seconds: float) -> list[tuple[TagBlock, TagBlock]]:
    cut = []
    for time_ps, detector in sides:
        edges = np.arange(0, round(seconds * 10) + 1) * STEP_PS
        at = np.searchsorted(time_ps, edges)
        cut.append(
            [
                TagBlock(
                    time_ps[at[k] : at[k + 1]].copy(),
                    (detector[at[k] : at[k + 1]] + 1).astype(np.uint8),
                    int(edges[k]), int(edges[k + 1]),
                )
                for k in range(len(edges) - 1)
            ]
        )  # fmt: skip
    return list(zip(*cut, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", help="interpreter of another checkout")
    parser.add_argument("--pairs-hz", type=float, default=1e6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    pythons = [sys.executable, *([args.against] if args.against else [])]
    found = {
        "machine": machine(),
        "channel": [
            channel(20_000.0, 80_000.0, 12.0),
            channel(args.pairs_hz, args.pairs_hz / 4, 2.0),
        ],
        "cpu": cpu(pythons, args.pairs_hz, args.seconds, args.turns),
    }
    print(json.dumps(found, indent=1))
    return int(any(c["bytes_per_event"] > GOAL_BYTES for c in found["channel"]))  # type: ignore[operator]


if __name__ == "__main__":
    sys.exit(main())
