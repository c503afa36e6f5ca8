"""A link of two real nodes with small blocks, an observer on its wire, and checks of its key.

Shared by the commands of this folder. Violations are collected in ``Outcome.wrong``.
"""

from __future__ import annotations

import contextlib
import json
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from observed_wire import ObservedWire
from running import PHOTONLINK, Running, emulated_bench, node

from photonlink.pipeline.demo.files import DemoFiles
from photonlink.pipeline.keys.delivery import deliver, stored_blocks
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.station import load_node_station

SIDES = ("alice", "bob")
SLOW_S = 25.0  # beyond it, the events of both ends are printed
AMPLIFY, PREPARED = 0x40, 0x41  # docs/protocol.md
_AMPLIFY, _PREPARED = struct.Struct("<QIIQQQ16s"), struct.Struct("<QQ16s")


@dataclass
class Pads:
    """Pad positions seen on the wire: none may be used for two tags."""

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
    slow: dict[int, str] = field(default_factory=dict)  # by kill: events of both ends
    wrong: list[str] = field(default_factory=list)
    given: dict[str, dict[int, bytes]] = field(default_factory=lambda: {s: {} for s in SIDES})
    cut_off: dict[str, set[int]] = field(default_factory=lambda: {s: set() for s in SIDES})
    compared: int = 0
    pads: int = 0


class Link:
    """Both nodes of one link, and faults for them."""

    def __init__(
        self, files: DemoFiles, folder: Path, rng: random.Random, wire: ObservedWire, port: int
    ) -> None:
        self.files, self.folder, self.rng = files, folder, rng
        self.wire, self.port = wire, port  # the relay to Alice, and her own port
        self.nodes: dict[str, Running] = {}
        self.outcome = Outcome()
        self._taken = 0

    def start(self, *sides: str) -> float:
        """Start nodes; the wall-clock time, as in the nodes' events."""
        now = time.time()
        for side in sides:
            self.nodes[side] = Running(*node(self.files.stations[side]))
        return now

    def wait_for_key(self, since: float) -> float:
        """Seconds from ``since`` until both have released a later block."""
        try:
            found = [
                self.nodes[side].wait_for(event="block", abort=None, ts=lambda ts: ts > since)["ts"]
                for side in SIDES
            ]
        except AssertionError as error:
            said = "".join(f"\n{side}: {self.said(side)}" for side in SIDES)
            raise AssertionError(f"no key came back{said}") from error
        return float(max(found)) - since

    def said(self, side: str) -> str:
        """The last events of an end, except its figures, and its exit status."""
        node = self.nodes[side]
        told = [e for e in node.events if e["event"] not in ("state", "instrument")][-20:]
        lines = "".join(f"\n  {json.dumps(event)[:300]}" for event in told)
        errors = node.errors[-2000:].decode(errors="replace")
        return f"ended with {node.process.poll()}{lines}\n{errors}"

    def kill(self, side: str) -> None:
        process = self.nodes[side].process
        process.kill()
        process.wait()
        self.nodes.pop(side).stop()

    def take(self, side: str) -> None:
        """Deliver a block of the dead node; half of the times kill that command as well."""
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
        """Record a delivery; no byte of a key may leave twice, even if the delivery was cut off."""
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
        if took > SLOW_S:
            said = "".join(f"\n{side}: {self.said(side)}" for side in SIDES)
            self.outcome.slow[len(self.outcome.recovery_s)] = said
        self.outcome.recovery_s.append(took)
        self.outcome.victims.append("+".join(victims))

    def end(self) -> None:
        """Stop both nodes and compare the keys of both stores."""
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
        """All keys delivered here, with the remaining ones, which are delivered now."""
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
def small_link(folder: Path, seed: int, block_bits: int) -> Iterator[Link]:
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
            head, _, rest = text.partition("[mqtt]")  # without broker
            # multi-clicks of so few pairs scatter, and their limit is not tested here
            rest = rest[rest.index("[sim]") :].replace(
                "[protocol]", "[protocol]\nmulti_click_limit = 0.02"
            )
            path.write_text(head + rest)
        link = Link(files, folder, random.Random(seed), wire, int(port))
        try:
            yield link
            link.outcome.wrong += pads.twice
            link.outcome.pads = len(pads.seen)
        finally:
            link.stop()
