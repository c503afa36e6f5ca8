"""Rows about nodes, except the link's rate: bytes of the classical channel, start, one fast
stream, many links, delay."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import Effort, Row
from benchmarks.node_link import PARAMETERS, ROLES, gather, start, stations
from benchmarks.node_streams import Light, Loop
from benchmarks.replay_cost import ERRORS, channel
from photonlink.hal.decoders import decoder_for
from photonlink.hal.tags import WireChunk
from photonlink.pipeline.bench.tagging import LiveHistogram
from photonlink.pipeline.stages.finite_key import binary_entropy

GRID_S = 256e-12
GOAL_EVENT_BYTES, GOAL_SIFTED_BYTES = 2.5, 12.0
GOAL_STREAM_MHZ = 150.0
GOAL_REPLAY_S, GOAL_NODE_S = 0.5, 1.5
GOAL_LINKS, GOAL_LINK_MIB = 50, 20.0
LINK_SIFTED_BPS = 20_000.0


# ---- classical ----


def bounds(pairs_hz: float, lone_hz: float) -> tuple[float, float]:
    """Least bytes per announced event and per sifted bit for the information in the messages.

    Times of a Poisson stream on the grid (log2 e - log2 of events per step), whether an event has
    a partner, both bases and the announced detectors of a pair, the errors of the sifted bits.
    """
    events_hz = pairs_hz + lone_hz
    paired = pairs_hz / events_hz
    event_bits = math.log2(math.e / (events_hz * GRID_S)) + binary_entropy(paired)
    sifted_hz = pairs_hz / 2
    pair_bits = 2 + 1  # two bases; half of the pairs announce both detectors' bits
    key_bits = events_hz * event_bits + pairs_hz * pair_bits
    return event_bits / 8, (key_bits / sifted_hz + binary_entropy(ERRORS)) / 8


def classical(name: str, effort: Effort) -> Row:
    """Both links of replay_cost.py. Bytes per event: the worse link counts. Bytes per sifted bit:
    the bright link counts, as four lone clicks per pair alone cost more than the goal."""
    notes, events, sifted = [], [], []
    for pairs_hz, lone_hz, seconds in ((20_000.0, 80_000.0, 12.0), (1e6, 2.5e5, 2.0)):
        found = channel(pairs_hz, lone_hz, seconds)  # shorter runs close no block
        least = bounds(pairs_hz, lone_hz)
        per_event, per_sifted = found["bytes_per_event"], found["bytes_per_sifted_bit"]
        events.append(float(str(per_event)))
        sifted.append(float(str(per_sifted)))
        notes.append(
            f"{pairs_hz:g} pairs/s and {lone_hz:g} lone clicks/s a side: {per_event} bytes an "
            f"event (at least {least[0]:.2f}), {per_sifted} a sifted bit (at least {least[1]:.2f})"
        )
    met = max(events) <= GOAL_EVENT_BYTES and sifted[-1] <= GOAL_SIFTED_BYTES
    goal = f"≤ {GOAL_EVENT_BYTES:g} bytes an event, ≤ {GOAL_SIFTED_BYTES:g} a sifted bit"
    details = {"per_event": events, "per_sifted_bit": sifted}
    return Row(name, max(events), "bytes", goal, met, note="; ".join(notes), details=details)


# ---- node-stream ----


def node_stream(name: str, effort: Effort) -> Row:
    """One tagger of 4-byte records at 25 M tags/s: bytes are stored and decoded, two inputs are
    correlated live. One process, CPU time, pieces of 50 ms."""
    loop = Loop(Light(pairs_hz=1e5, singles_hz=25e6), 0, 1.0, "t2")
    decoder, live = decoder_for(loop.wire), LiveHistogram(1, 2, -20_000, 20_000, 500)
    chunks, tags, wall = loop.chunks(), 0, time.monotonic()
    folder = os.environ.get("TMPDIR")
    with tempfile.TemporaryFile(dir=folder) as disk:
        begin, spent = time.process_time(), {"disk": 0.0, "decode": 0.0, "histogram": 0.0}
        for _ in range(max(4, round(80 * effort.size))):
            chunk, marks = next(chunks), [time.process_time()]
            if disk.tell() > 1 << 28:
                disk.seek(0)  # the same 256 MiB again: enough to leave the caches
            disk.write(chunk)
            marks.append(time.process_time())
            block = decoder.feed(WireChunk(chunk))
            marks.append(time.process_time())
            live.add(block)
            marks.append(time.process_time())
            tags += len(block)
            for stage, seconds in zip(spent, np.diff(marks), strict=True):
                spent[stage] += float(seconds)
        used = time.process_time() - begin
    mhz = tags / used / 1e6
    parts = ", ".join(f"{stage} {1e9 * s / tags:.2f}" for stage, s in spent.items())
    return Row(
        name, mhz, "M tags/s", f"≥ {GOAL_STREAM_MHZ:g} M tags/s on one core",
        mhz >= GOAL_STREAM_MHZ,
        note=f"ns a tag: {parts}; {tags / (time.monotonic() - wall) / 1e6:.0f} M tags/s of wall "
        "time; the file is not synced",
        details={f"{stage}_ns": 1e9 * s / tags for stage, s in spent.items()},
    )  # fmt: skip


# ---- start ----


def _empty_run(folder: Path) -> list[str]:
    """Two recordings (a1) with one click of each detector: nothing to distil."""
    words = []
    for who in ROLES:
        path = folder / f"{who}.a1"
        clicks = [(k * 10**9) << 10 | 1 << k for k in range(4)]
        path.write_bytes(np.array(clicks, "<u8").tobytes())
        words += [f"--{who}", str(path)]
    return words


def started(words: list[str], turns: int) -> tuple[float, float]:
    """Least wall and CPU seconds of a command from its start to its end."""
    best = (math.inf, math.inf)
    for _ in range(turns):
        before, wall = os.times(), time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "photonlink.pipeline.cli", *words],
            capture_output=True,
            check=False,
        )
        after = os.times()
        cpu = after.children_user - before.children_user
        cpu += after.children_system - before.children_system
        best = min(best[0], time.monotonic() - wall), min(best[1], cpu)
    return best


def start_up(name: str, effort: Effort) -> Row:
    """``photonlink replay`` of an empty run, ``--help`` beside it."""
    turns = 1 + 2 * min(effort.repeats, 3)
    with tempfile.TemporaryDirectory(prefix="photonlink-start-") as folder:
        replay = started(["replay", *_empty_run(Path(folder)), "--json"], turns)
    plain = started(["--help"], turns)
    return Row(
        name, replay[0], "s", f"replay of an empty run ≤ {GOAL_REPLAY_S:g} s of wall time",
        replay[0] <= GOAL_REPLAY_S,
        note=f"least of {turns}: replay {replay[0]:.2f} s (CPU {replay[1]:.2f} s), --help "
        f"{plain[0]:.2f} s (CPU {plain[1]:.2f} s); load {os.getloadavg()[0]:.0f}. The time from "
        f"`photonlink node` to the first tag (goal {GOAL_NODE_S:g} s) has no row yet",
        details={"replay_cpu_s": replay[1], "help_cpu_s": plain[1], "load": os.getloadavg()[0]},
    )  # fmt: skip


# ---- node-links ----


def node_links(name: str, effort: Effort) -> Row:
    """Links of 20 kb/s sifted each, in real time, two processes per link; the CPU of one link gives
    the number that two cores could run."""
    count, seconds = (2, 20.0) if effort.size >= 1 else (1, 4.0)
    light = {"pairs_hz": 2 * LINK_SIFTED_BPS, "singles_hz": 8 * LINK_SIFTED_BPS}
    orders = {
        "seconds": seconds, "light": light, "pace": 1.0, "stages": False,
        "parameters": {**PARAMETERS, "first_block_sifted_bits": 25_000},
    }  # fmt: skip
    with stations(count) as made:
        running = [start(files, role, **orders) for files in made for role in ROLES]
        ends = gather(running, seconds)
    cores, memory = 0.0, 0.0
    for end in ends:
        first, last = end["moments"][0], end["moments"][-1]
        cores += (last["cpu_s"] - first["cpu_s"]) / (last["time_s"] - first["time_s"])
        memory += last["rss_mib"]
    links = 2 / (cores / count)
    mib = memory / count
    return Row(
        name, links, "links", f"≥ {GOAL_LINKS} on two cores, ≤ {GOAL_LINK_MIB:g} MiB a link",
        links >= GOAL_LINKS and mib <= GOAL_LINK_MIB,
        note=f"from {count} links run in real time: {100 * cores / count:.1f} % of a core and "
        f"{mib:.0f} MiB resident a link (two processes each, code and loops of wire bytes shared "
        "by none)",
        details={"core_share": cores / count, "mib": mib, "load": os.getloadavg()[0]},
    )  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(classical("classical", Effort(0.2, 1)).fields(), indent=1))
