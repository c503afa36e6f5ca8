"""kill -9 of real nodes at random moments: keys stay equal, nothing is given twice, key comes back.

    python tests/reliability/kills.py [--kills 200] [--seed 1] [--block-bits 8000] [--json]

Two nodes on an emulated bench make small blocks. Again and again Alice, Bob or both are killed at a
random moment and started again; now and then a block is taken from the dead node's store first,
and now and then that command is killed too. An observer of the wire sees to it that no pad goes with
two tags. In the end both stores are opened: every block that both hold is the same key, and no block
was given twice at one end. Prints how long it took from the start of the killed node to the next
block at both ends. Exits with 1 when anything went wrong or the 95th percentile is over --p95.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))
sys.path.insert(0, str(HERE))

from observed_wire import ObservedWire
from running import PHOTONLINK, Running, emulated_bench, node

from photonlink.pipeline.demo.files import DemoFiles
from photonlink.pipeline.keys.delivery import deliver, stored_blocks
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.station import load_node_station

SIDES = ("alice", "bob")
AMPLIFY, PREPARED = 0x40, 0x41  # docs/protocol.md
_AMPLIFY, _PREPARED = struct.Struct("<QIIQQQ16s"), struct.Struct("<QQ16s")


@dataclass
class Pads:
    """What the wire shows of pads: no position may ever go with two tags."""

    seen: dict[tuple[int, int], bytes] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)

    def frame(self, kind: int, payload: bytes) -> None:
        if kind not in (AMPLIFY, PREPARED):
            return
        layout = _AMPLIFY if kind == AMPLIFY else _PREPARED
        *_, pad, tag = layout.unpack_from(payload)
        if self.seen.setdefault((kind, pad), tag) != tag:
            self.twice.append(f"the pad at {pad} of {kind:#x} went with two tags")


@dataclass
class Outcome:
    """recovery_s: of each kill, from the killed node's start to the next block at both ends."""

    recovery_s: list[float] = field(default_factory=list)
    victims: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    given: dict[str, dict[int, bytes]] = field(default_factory=lambda: {s: {} for s in SIDES})
    cut_off: dict[str, set[int]] = field(default_factory=lambda: {s: set() for s in SIDES})
    compared: int = 0
    pads: int = 0


class Link:
    """Both nodes of one link, and what is done to them."""

    def __init__(self, files: DemoFiles, folder: Path, rng: random.Random) -> None:
        self.files, self.folder, self.rng = files, folder, rng
        self.nodes: dict[str, Running] = {}
        self.outcome = Outcome()
        self._taken = 0

    def start(self, *sides: str) -> float:
        """When, on the wall clock of the nodes' events."""
        now = time.time()
        for side in sides:
            self.nodes[side] = Running(*node(self.files.stations[side]))
        return now

    def wait_for_key(self, since: float) -> float:
        """Seconds after ``since`` until both have released a block that came later."""
        found = [
            self.nodes[side].wait_for(event="block", abort=None, ts=lambda ts: ts > since)["ts"]
            for side in SIDES
        ]
        return float(max(found)) - since

    def kill(self, side: str) -> None:
        process = self.nodes[side].process
        process.kill()
        process.wait()
        self.nodes.pop(side).stop()

    def take(self, side: str) -> None:
        """A block of the dead node is delivered; half the time the command is killed as well."""
        with open_store(load_node_station(self.files.stations[side])) as store:
            free = [b.block for b in stored_blocks(store.ledger) if not b.delivered]
        if not free:
            return
        block, self._taken = self.rng.choice(free), self._taken + 1
        out = self.folder / f"taken-{self._taken}"
        command = [*PHOTONLINK, "key", "take", str(self.files.stations[side]), str(block), str(out)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if self.rng.random() < 0.5:
            time.sleep(self.rng.uniform(0.2, 1.5))
            process.kill()
        _, errors = process.communicate(timeout=60)
        given = out.read_bytes() if out.exists() else b""
        if process.returncode == 0 and not given:
            self.outcome.wrong.append(f"{side}: block {block} was taken and nothing was given")
        elif process.returncode > 0:
            self.outcome.wrong.append(f"{side}: key take: {errors.decode()[-300:]}")
        self.note(side, block, given, whole=process.returncode == 0)

    def note(self, side: str, block: int, key: bytes, *, whole: bool) -> None:
        """A byte that left twice is a byte too many, whole key or not."""
        done = self.outcome
        if key and (block in done.given[side] or block in done.cut_off[side]):
            done.wrong.append(f"{side}: block {block} was given twice")
        if whole:
            done.given[side][block] = key
        elif key:
            done.cut_off[side].add(block)

    def kill_once(self) -> None:
        time.sleep(self.rng.uniform(0.0, 4.0))
        victims = self.rng.choices([("alice",), ("bob",), SIDES], (2, 2, 1))[0]
        for side in victims:
            self.kill(side)
        if self.rng.random() < 0.2:
            self.take(self.rng.choice(victims))
        since = self.start(*victims)
        took = self.wait_for_key(since)
        self.outcome.recovery_s.append(took)
        self.outcome.victims.append("+".join(victims))

    def end(self) -> None:
        """Both nodes stop as asked; the account of both stores."""
        for side in SIDES:
            self.nodes[side].interrupt()
        for side in SIDES:
            self.nodes[side].finish()
            self.nodes.pop(side).stop()
        keys = {side: self._empty(side) for side in SIDES}
        for block in sorted(keys["alice"].keys() & keys["bob"].keys()):
            self.outcome.compared += 1
            if keys["alice"][block] != keys["bob"][block]:
                self.outcome.wrong.append(f"block {block} has two keys")

    def _empty(self, side: str) -> dict[int, bytes]:
        """Everything that was ever given here, and all that is left, given now."""
        with open_store(load_node_station(self.files.stations[side])) as store:
            for block in stored_blocks(store.ledger):
                if not block.delivered:
                    out = self.folder / f"{side}-{block.block}"
                    deliver(store.ledger, store.keys, block.block, out, allow_marked=True)
                    self.note(side, block.block, out.read_bytes(), whole=True)
            doubt = store.ledger.state.pending()
            if len(doubt) > 1:
                self.outcome.wrong.append(f"{side}: {len(doubt)} blocks are in doubt")
        return self.outcome.given[side]

    def stop(self) -> None:
        for each in self.nodes.values():
            each.stop()


@contextlib.contextmanager
def _link(folder: Path, seed: int, block_bits: int) -> Any:
    pads = Pads()
    with (
        emulated_bench(folder, block_bits=block_bits) as (files, _),
        ObservedWire(pads.frame) as wire,
    ):
        alice, bob = (files.stations[side] for side in SIDES)
        port = alice.read_text().partition('listen = "127.0.0.1:')[2].partition('"')[0]
        wire.to(int(port))
        bob.write_text(bob.read_text().replace(f"127.0.0.1:{port}", f"127.0.0.1:{wire.port}"))
        for path in (alice, bob):
            text = path.read_text().replace(
                "allow_emulated_keys = false", "allow_emulated_keys = true"
            )
            head, _, rest = text.partition("[mqtt]")  # no broker is here
            path.write_text(head + rest[rest.index("[sim]") :])
        link = Link(files, folder, random.Random(seed))
        try:
            yield link
            link.outcome.wrong += pads.twice
            link.outcome.pads = len(pads.seen)
        finally:
            link.stop()


def run(kills: int, seed: int, block_bits: int, tell: Any = None) -> Outcome:
    with (
        tempfile.TemporaryDirectory(prefix="photonlink-kills-") as name,
        _link(Path(name), seed, block_bits) as link,
    ):
        link.wait_for_key(link.start(*SIDES))
        for number in range(kills):
            link.kill_once()
            if tell:
                tell(number + 1, link.outcome)
        link.end()
    outcome: Outcome = link.outcome
    return outcome


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--block-bits", type=int, default=8_000)
    parser.add_argument("--p95", type=float, default=8.0)
    options = parser.parse_args()

    def tell(number: int, outcome: Outcome) -> None:
        print(f"{number}: {outcome.victims[-1]} back after {outcome.recovery_s[-1]:.2f} s, load "
              f"{os.getloadavg()[0]:.1f}", *outcome.wrong, flush=True)  # fmt: skip

    outcome = run(options.kills, options.seed, options.block_bits, tell)
    p95 = percentile(outcome.recovery_s, 0.95)
    twice = sum("given twice" in w for w in outcome.wrong)
    differing = sum("two keys" in w for w in outcome.wrong)
    print(
        f"{len(outcome.recovery_s)} kills: {outcome.compared} keys compared, {differing} differ, "
        f"{twice} given twice, {outcome.pads} pads seen; next block at both ends after "
        f"{statistics.median(outcome.recovery_s):.1f} s (median), {p95:.1f} s (95 %), "
        f"{max(outcome.recovery_s):.1f} s (longest)"
    )
    for text in outcome.wrong:
        print(f"wrong: {text}")
    return int(bool(outcome.wrong) or p95 > options.p95)


if __name__ == "__main__":
    sys.exit(main())
