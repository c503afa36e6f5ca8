"""The order of writes to the disk and messages on the wire, by the kernel's calls (strace).

    python tests/reliability/store_order.py [--keep FILE]

Two nodes with stores make a block and deliver it, under strace; every message leaves a mark in the
trace. The trace must show the order of writes that docs/ledger.md specifies, and no call on a file
of the store that fail_nth.c does not cover. Exits with 1 when something is out of order. Needs
strace and the right to trace (a container may forbid it): exits with 77 without.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))

MARK = "/photonlink-mark/"
LETS_FAIL = {"openat", "read", "write", "pwrite64", "fsync", "ftruncate", "rename", "unlink",
             "newfstatat", "stat", "mkdir"}  # fmt: skip
# close reports no error that fsync has not reported; the lock is taken before the store is used;
# the others query an open descriptor
HARMLESS = {"close", "flock", "lseek", "fstat", "getdents64", "fcntl", "ioctl", "lstat", "readlink"}
_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (\S+)")
_NUMBERED = re.compile(r"^\d+<([^>]*)>")
SLOTS = ("1024", "2048")


@dataclass(frozen=True, slots=True)
class Call:
    """One call that succeeded. path: of the file; rest: arguments, for the offset of a write."""

    name: str
    path: str
    rest: str


def conversation(folder: Path) -> None:
    """The traced program: a block, its delivery, and the end."""
    from link import BENCH, SMALL, Node, Wire, feed, message_of, narrow_clock_search
    from stores import place

    from photonlink.pipeline.keys.delivery import deliver
    from photonlink.pipeline.keys.node_store import NodeStore
    from photonlink.pipeline.keys.psk import create_psk
    from photonlink.pipeline.protocol.setup import Effect, Role, Send

    def mark(text: str) -> None:
        Path(MARK + text).exists()

    create_psk(folder / "link.psk", 4096)
    stores = {role: NodeStore.open(place(folder / role, role)) for role in Role}
    nodes = {}
    for role, store in stores.items():
        psk = store.psk(folder / "link.psk")
        nodes[role] = Node(role, psk, replace(SMALL, block_sifted_bits=4_000),
                           ledger=store.ledger, store=store.keys)  # fmt: skip

    class Marked(Wire):
        def _take(self, role: Role, effects: list[Effect]) -> None:
            for effect in effects:
                if isinstance(effect, Send):
                    mark(f"{role}/{type(message_of(effect.data)).__name__}")
            super()._take(role, effects)

    wire = Marked(nodes[Role.ALICE], nodes[Role.BOB])
    with narrow_clock_search():
        wire.connect()
        feed(wire, replace(BENCH, duration_s=1.2))
    for role, store in stores.items():
        mark(f"{role}/deliver")
        deliver(store.ledger, store.keys, 1, folder / role / "out", allow_marked=True)
        mark(f"{role}/close")
        nodes[role].psk.close()
        store.close()


def traced(folder: Path, output: Path) -> None:
    """Run the conversation under strace. Raises CalledProcessError, also without the right."""
    command = ["strace", "-f", "-y", "-s", "0", "-e", "trace=%file,%desc", "-e", "quiet=all",
               "-o", str(output), sys.executable, __file__, "--inside", str(folder)]  # fmt: skip
    subprocess.run(
        command, check=True, timeout=300, capture_output=True,
        env=os.environ | {"PHOTONLINK_SECRET_MEMORY": "unlocked", "PHOTONLINK_DEBUGGER": "allowed"},
    )  # fmt: skip


def calls(trace: Path, folder: Path) -> Iterator[Call]:
    """Calls on the stores' files, and marks, in their order; failed calls are left out."""
    for line in trace.read_text(errors="replace").splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        name, arguments, result = found.groups()
        if MARK in arguments:
            yield Call("mark", arguments.partition(MARK)[2].partition('"')[0], "")
            continue
        numbered = _NUMBERED.match(arguments)
        named = re.findall(r'"([^"]*)"', arguments)
        path = numbered[1] if numbered else (named[-1] if named else "")
        if path.startswith(f"{folder}/") and not result.startswith("-"):
            yield Call(name, path, arguments)


def foreign(found: list[Call], folder: Path) -> set[str]:
    """Calls on files of a store or an anchor that fail_nth.c does not cover."""
    inside = [c for c in found if re.match(rf"{folder}/\w+/state", c.path)]
    return {c.name for c in inside} - LETS_FAIL - HARMLESS


class Order:
    """The steps of one node, and those that are out of order."""

    def __init__(self, found: list[Call], folder: Path, role: str) -> None:
        self.role = role
        own = f"{folder}/{role}/"
        self.wrong: list[str] = []
        self.steps: list[str] = []  # short names of the calls' effects
        for call in found:
            if call.name == "mark" and call.path.startswith(role):
                self.steps.append(f"say {call.path.partition('/')[2]}")
            elif call.name != "mark" and f"{call.path}/".startswith(own):
                self.steps += self._step(call, call.path.removeprefix(own[:-1]).lstrip("/"))

    @staticmethod
    def _step(call: Call, path: str) -> list[str]:
        path = re.sub(r"keys/block-\d+\.", "", path.removeprefix("state/"))
        offset = call.rest.rpartition(", ")[2]
        if call.name == "pwrite64" and path == "ledger.log":
            return ["slot" if offset in SLOTS else "record"]
        verbs = {"pwrite64": "write", "write": "write", "fsync": "sync", "rename": "rename",
                 "unlink": "unlink", "ftruncate": "cut"}  # fmt: skip
        verb = verbs.get(call.name)
        return [f"{verb} {path}"] if verb else []

    def expect(self, *wanted: str, before: str = "", after: str = "") -> None:
        """These steps must come in this order (others may be between them) after the first
        ``after`` and before the first ``before`` that follows."""
        begin = self.steps.index(after) + 1 if after else 0
        end = self.steps.index(before, begin) if before else len(self.steps)
        part, at = self.steps[begin:end], 0
        for step in wanted:
            if step not in part[at:]:
                self.wrong.append(
                    f"{self.role}: no {step!r} in its place between {after!r} and {before!r}: "
                    f"{part}"
                )
                return
            at = part.index(step, at) + 1

    def every_file_is_whole(self) -> None:
        """A file must be synced after its last write before it is renamed, and its folder before
        the next message."""
        for at, step in enumerate(self.steps):
            if step.startswith("rename "):
                new = step.removeprefix("rename ") + ".new"
                last = max(i for i, s in enumerate(self.steps[:at]) if s == f"write {new}")
                if f"sync {new}" not in self.steps[last:at]:
                    self.wrong.append(f"{self.role}: {new} is renamed before it is synced")
                rest = self.steps[at + 1 :]
                said = next((i for i, s in enumerate(rest) if s.startswith("say ")), len(rest))
                folders = {"sync keys", "sync state", "sync "}
                if not folders & set(rest[:said]):
                    self.wrong.append(f"{self.role}: the folder of {new} is not synced")

    def every_record_is_synced(self) -> None:
        """A record must be synced before the next record, any message and any wiping."""
        for at, step in enumerate(self.steps):
            if step == "record":
                following = self.steps[at + 1]
                if following != "sync ledger.log":
                    self.wrong.append(f"{self.role}: after a record comes {following!r}")


def check(found: list[Call], folder: Path) -> list[str]:
    """Check the order of docs/ledger.md at both ends."""
    wrong = []
    for role in ("alice", "bob"):
        order = Order(found, folder, role)
        order.every_file_is_whole()
        order.every_record_is_synced()
        anchored = ("record", "sync ledger.log", "write state.anchor", "sync state.anchor")
        stored = ("rename pad", "sync keys", "rename key", "sync keys", "record", "sync ledger.log")
        message = ("rename msg", "sync keys")
        first = next(
            s for s in order.steps if s.startswith("say ") and s[4:] not in ("Hello", "Proof")
        )
        order.expect(*anchored, after="say Proof", before=first)
        if role == "alice":
            order.expect("record", "sync ledger.log", after=first, before="say CloseBlock")
            order.expect(*stored, *anchored, *message, after="say Verify", before="say Amplify")
            order.expect("record", "sync ledger.log", after="say Amplify", before="say Commit")
        else:
            order.expect("record", "sync ledger.log", after=first, before="say BlockBases")
            order.expect(
                *anchored, *stored, *message, after="say VerifyResult", before="say Prepared"
            )
            order.expect("record", "sync ledger.log", "unlink msg", after="say Prepared")
        wiped = ("write out", "sync out", "write key", "sync key", "unlink key", "sync keys")
        order.expect(*anchored, *wiped, after="say deliver", before="say close")
        wrong += order.wrong
    return wrong


def run(folder: Path) -> list[str]:
    traced(folder, folder / "trace")
    found = list(calls(folder / "trace", folder))
    wrong = check(found, folder)
    left_out = foreign(found, folder)
    return [*wrong, *(f"no harness lets {name} fail" for name in sorted(left_out))]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, help="copy the trace there")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        conversation(options.inside)
        return 0
    with tempfile.TemporaryDirectory(prefix="photonlink-order-") as name:
        folder = Path(name)
        if not shutil.which("strace"):
            return 77
        wrong = run(folder)
        if options.keep:
            shutil.copy(folder / "trace", options.keep)
    for text in wrong:
        print(f"wrong: {text}")
    print(f"{len(wrong)} things out of order")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
