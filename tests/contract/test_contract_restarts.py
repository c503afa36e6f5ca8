"""Every instrument recovers from repeated restarts of its far end without a manual step.

Time taggers are watched by their stream: ``test_contract_taggers.py`` pulls their cables.

``PHOTONLINK_RESTARTS=100 pytest tests/contract/test_contract_restarts.py`` is the long run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

import contract_checks as checks
import pytest
from contract_cases import BENCHES, CASES

from photonlink.hal.opening import open_bench
from photonlink.hal.supervisor import BackOff, Found, Lost, Supervisor

RESTARTS = int(os.environ.get("PHOTONLINK_RESTARTS", "2"))
PATIENCE_S = 60.0
SPARE = 16
"""Device nodes beyond a bench's own that may be free: others are unplugged at the same time."""


class Watched:
    """The instruments of one bench under their supervisor."""

    def __init__(self, program: Any, names: list[str]) -> None:
        self.program, self.names = program, names
        self.lost, self.found = Counter[str](), Counter[str]()
        self.lines = {
            name: Path(address.removeprefix("serial://"))
            for name in names
            if (address := program.addresses[name]).startswith("serial://")
        }
        """The stable names of the serial lines: links to device nodes."""
        self.moved = set[str]()

    def event(self, event: Any) -> None:
        for kind, counter in ((Lost, self.lost), (Found, self.found)):
            if isinstance(event, kind):
                counter[event.name] += 1

    async def run(self) -> None:
        bench = await open_bench(self.program.station(*self.names, deadline_s=2.0, open_s=30.0))
        known = {name: await checks.still(bench.instruments[name]) for name in self.names}
        identities = {name: bench.resolutions[name].identity for name in self.names}
        supervisor = Supervisor(bench, self.event, poll_s=0.2, back_off=BackOff(0.1, 0.5))
        watching = asyncio.create_task(supervisor.run())
        try:
            for turn in range(1, RESTARTS + 1):
                await self._restart(turn)
                for name in self.names:
                    await checks.right(bench.instruments[name], known[name])
                    assert bench.resolutions[name].identity == identities[name]
            assert self.moved == set(self.lines), "a line had the same device node each time"
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await bench.close()

    async def _restart(self, turn: int) -> None:
        """Unplug every cable, occupy the names that are now free, plug in again: serial lines get
        other names, and are found again by their stable names as the same devices."""
        before = self._nodes()
        await self._all("unplug")
        with contextlib.ExitStack() as taken:
            await self._until(self.lost, turn)
            for _ in range(len(self.names) + SPARE):
                if all(node.exists() for node in before.values()):
                    break
                for fd in os.openpty():
                    taken.callback(os.close, fd)
            await self._all("replug")
            await self._until(self.found, turn)
        self.moved |= {name for name, node in self._nodes().items() if node != before[name]}

    def _nodes(self) -> dict[str, Path]:
        return {name: link.readlink() for name, link in self.lines.items()}

    async def _all(self, fault: str) -> None:
        for name in self.names:
            await asyncio.to_thread(self.program.fault, name, fault)

    async def _until(self, counter: Counter[str], turn: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while any(counter[name] < turn for name in self.names):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        missing = [name for name in self.names if counter[name] < turn]
        assert not missing, f"turn {turn}: {missing}"


def _watched(number: int) -> list[str]:
    return [name for name in BENCHES[number] if "StreamsTags" not in CASES[name].facets]


@pytest.mark.parametrize("first", range(0, len(_watched(0)), 12))
async def test_every_restart_is_noticed_and_survived(
    all_programs: dict[int, Any], first: int
) -> None:
    """Twelve of the first bench at a time; those of the other benches with the first twelve."""
    parts = [Watched(all_programs[0], _watched(0)[first : first + 12])]
    if not first:
        others = [(p, _watched(n)) for n, p in all_programs.items() if n]
        parts += [Watched(p, names) for p, names in others if names]
    for at in range(0, len(parts), 6):
        said = await asyncio.gather(
            *(part.run() for part in parts[at : at + 6]), return_exceptions=True
        )
        assert not any(said), "\n".join(repr(text) for text in said if text)
