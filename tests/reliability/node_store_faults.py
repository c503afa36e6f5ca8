"""Every call of a running node's store fails once, with EIO and with ENOSPC, at either end.

    python tests/reliability/node_store_faults.py [--every N] [--outage CALLS] [--only EIO]

Two real nodes make small blocks on an emulated bench. In one of them the n-th call on its store or
anchor fails (fail_nth.c), for n = 1, 2, ... up to more calls than a block and its consequences
need; with --outage, that many calls in a row fail, as on a disk that is away for a while. Nothing
is restarted: both ends must make key again by themselves. At the end both stores are emptied: no
key may differ or be delivered twice, no pad may be used for two tags. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import errno
import mmap
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_link import SIDES, Link, small_link
from store_faults import PAGE, build


class Plan:
    """The faults planned for one node, and its count of calls; shared with the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(PAGE.pack(0, 0, 1, 0, 0))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), PAGE.size)

    @property
    def seen(self) -> int:
        return int(PAGE.unpack(self._page[:])[3])

    @property
    def failed(self) -> int:
        return int(PAGE.unpack(self._page[:])[4])

    def fail(self, number: int, code: int, calls: int) -> None:
        """Let the ``number``-th call from now fail, and ``calls`` - 1 after it."""
        self._page[:] = PAGE.pack(0, code, calls, 0, 0)
        self._page[:8] = PAGE.pack(number, 0, 0, 0, 0)[:8]

    def heal(self) -> None:
        self._page[:8] = bytes(8)


@dataclass
class Outcome:
    faults: int = 0
    recovery_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)


def start(link: Link, folder: Path, shim: Path) -> dict[str, Plan]:
    plans = {}
    for side in SIDES:
        plans[side] = Plan(folder / f"{side}.control")
        os.environ |= {
            "LD_PRELOAD": str(shim),
            "FAIL_FOLDER": str(folder / f"{side}-state"),  # prefix of the anchor, too
            "FAIL_CONTROL": str(plans[side].path),
        }
        link.start(side)
        for name in ("LD_PRELOAD", "FAIL_FOLDER", "FAIL_CONTROL"):
            del os.environ[name]
    return plans


def one(link: Link, plan: Plan, side: str, number: int, code: int, outage: int) -> float:
    """Seconds from the fault to the next block at both ends; 0: too few calls were made."""
    plan.fail(number, code, outage)
    deadline = time.monotonic() + 120.0
    while plan.failed < outage and time.monotonic() < deadline:
        if (ended := link.nodes[side].process.poll()) is not None:
            raise AssertionError(f"{side} has ended with {ended}: {link.said(side)}")
        time.sleep(0.02)
    failed = plan.failed
    plan.heal()
    return link.wait_for_key(time.time()) if failed else 0.0


def cases(
    calls: dict[str, int], every: int, seed: int, codes: tuple[int, ...]
) -> Iterator[tuple[str, int, int]]:
    for code in codes:
        for side in SIDES:
            first = 1 + (seed + 7 * code) % every
            for number in range(first, calls[side] + 1, every):
                yield side, number, code


def run(every: int, outage: int, seed: int, codes: tuple[int, ...]) -> Outcome:
    done = Outcome()
    with (
        tempfile.TemporaryDirectory(prefix="photonlink-disk-") as name,
        small_link(Path(name), seed, 16_000) as link,
    ):
        folder = Path(name)
        plans = start(link, folder, build(folder))
        link.wait_for_key(0.0)
        before = {side: plan.seen for side, plan in plans.items()}
        link.wait_for_key(time.time())
        # twice the calls of a block, because a fault causes further calls
        done.calls = {side: 2 * (plan.seen - before[side]) for side, plan in plans.items()}
        for side, number, code in cases(done.calls, every, seed, codes):
            try:
                took = one(link, plans[side], side, number, code, outage)
            except AssertionError as error:
                raise AssertionError(f"{side}, call {number}, {errno.errorcode[code]}") from error
            done.faults += 1
            done.recovery_s.append(took)
            print(f"{done.faults}: {side}, call {number}, {errno.errorcode[code]}: back after "
                  f"{took:.2f} s", flush=True)  # fmt: skip
        link.end()
        done.wrong = link.outcome.wrong
        if not link.outcome.compared:
            done.wrong.append("no key was compared")
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--outage", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("EIO", "ENOSPC"))
    options = parser.parse_args()
    names = [options.only] if options.only else ["EIO", "ENOSPC"]
    codes = tuple(getattr(errno, name) for name in names)
    done = run(options.every, options.outage, options.seed, codes)
    print(f"{done.faults} faults of {options.outage} in a row, of up to {done.calls} calls; "
          f"{len(done.wrong)} wrong; key again after {statistics.median(done.recovery_s):.1f} s "
          f"(median), {max(done.recovery_s):.1f} s (longest)")  # fmt: skip
    for text in done.wrong:
        print(f"wrong: {text}")
    return int(bool(done.wrong))


if __name__ == "__main__":
    sys.exit(main())
