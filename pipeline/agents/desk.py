"""The bench as offered to an agent: each method is a tool.

Reading is free. Setting needs a rule ``--allow INSTRUMENT.PARAMETER``, and a real instrument
``--allow-real`` beside it. Every limit is checked before anything is sent, light, bias and outputs
are never switched on here, and every request is in the audit log before it has any effect.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from photonlink.hal.errors import LimitError, PhotonlinkError
from photonlink.hal.foreign import ours
from photonlink.hal.opening import candidates
from photonlink.hal.registry import registration
from photonlink.hal.station import InstrumentEntry
from photonlink.pipeline.agents.audit import AuditError, AuditLog
from photonlink.pipeline.bench.reading import (
    PlannedSet,
    apply_changes,
    identify,
    parameters_of,
    plan_changes,
    reading,
)
from photonlink.pipeline.bench.ready import standing
from photonlink.pipeline.bench.target import load_any_station
from photonlink.pipeline.node.simulated_station import with_emulator_addresses

T = TypeVar("T")
MAX_CHANGES = 32


class NotAllowed(PhotonlinkError):
    """The person who started the server has not allowed this."""


class Desk:
    """allow: patterns of ``instrument.parameter``. real: they hold for real instruments too."""

    def __init__(
        self, station: Path, allow: Sequence[str], log: AuditLog, *, real: bool = False
    ) -> None:
        self._path, self._allow, self._real, self._log = station, tuple(allow), real, log
        self._station = with_emulator_addresses(load_any_station(station))
        log.write("start", station=str(station), allow=list(allow), allow_real=real)

    async def instruments(self) -> dict[str, Any]:
        """The instruments of this bench: driver, what it is, which parameters may be set."""
        found = {}
        for name, entry in self._station.instruments.items():
            known = registration(entry.driver)
            found[name] = {
                "driver": entry.driver,
                "title": known.title if known is not None else "",
                "settable": [
                    p.name for p in parameters_of(entry).values()
                    if p.set and self._is_allowed(name, p.name)
                ],
            }  # fmt: skip
        return found

    async def parameters(self, instrument: str) -> dict[str, Any]:
        """The parameters of one instrument: unit, limits, choices, meaning."""
        entry = self._entry(instrument)
        return {
            p.name: {
                "unit": p.unit, "doc": p.doc, "limits": entry.limits.get(p.name, p.limits),
                "choices": sorted(map(str, p.choices)) if p.choices else None,
                "settable": bool(p.set) and self._is_allowed(instrument, p.name),
            }
            for p in parameters_of(entry).values()
        }  # fmt: skip

    async def identify(self, instrument: str) -> dict[str, Any]:
        """Who answers: vendor, model, serial number, firmware. Switches nothing."""
        who, how = await self._noted(
            "identify", identify(instrument, self._entry(instrument)), instrument=instrument
        )
        return dataclasses.asdict(who) | {"how": how}

    async def read(self, instrument: str, parameters: list[str] | None = None) -> dict[str, Any]:
        """Read parameters of one instrument; none named: all. Switches nothing."""
        entry = self._entry(instrument)
        for name in parameters or ():
            if name not in parameters_of(entry):
                raise LimitError(f"there is no parameter {name!r}", where=instrument)

        async def values() -> dict[str, Any]:
            async with reading(instrument, entry) as reader:
                return await reader.read(parameters or [])

        return await self._noted(
            "read", values(), instrument=instrument, parameters=parameters or []
        )

    async def readiness(self) -> dict[str, Any]:
        """Which calibration tasks of the bench are in date and in limits, and why not."""
        found = await self._noted("readiness", standing(self._station, self._path, lambda _: None))
        return {task.name: {"ok": task.ok, "why": task.why, "how": task.how} for task in found}

    async def plan(self, instrument: str, changes: dict[str, str]) -> list[dict[str, str]]:
        """What setting these would send, after all checks. Sends nothing."""
        planned = self._planned(instrument, changes)
        return [{"change": str(p), "bytes": p.data.hex(" "), "text": repr(p.data)} for p in planned]

    async def set(self, instrument: str, changes: dict[str, str]) -> list[str]:
        """Set parameters: checked against all limits first, read back afterwards."""
        planned = self._planned(instrument, changes)
        refused = [c.param.name for c in planned if not self._is_allowed(instrument, c.param.name)]
        if refused:
            self._log.write("refused", instrument=instrument, changes=changes, why="not allowed")
            raise NotAllowed(
                f"setting {', '.join(refused)} is not allowed", where=instrument,
                hint="Whoever starts photonlink mcp allows it: --allow INSTRUMENT.PARAMETER",
            )  # fmt: skip
        entry = self._only_emulated(instrument, changes)
        return await self._noted(
            "set", apply_changes(instrument, entry, planned), instrument=instrument,
            changes=changes, bytes=[p.data.hex() for p in planned],
        )  # fmt: skip

    # ---- inside ----
    def _planned(self, instrument: str, changes: Mapping[str, str]) -> list[PlannedSet]:
        entry = self._entry(instrument)
        if not 1 <= len(changes) <= MAX_CHANGES:
            raise LimitError(f"{len(changes)} changes at once", hint=f"1 to {MAX_CHANGES}")
        try:
            wanted = {key: str(value) for key, value in changes.items()}
            return plan_changes(instrument, entry, wanted)
        except PhotonlinkError as error:
            self._log.write("refused", instrument=instrument, changes=changes, why=str(error))
            raise

    def _only_emulated(self, instrument: str, changes: Mapping[str, str]) -> InstrumentEntry:
        """The entry, without its real address unless that is allowed."""
        entry = self._entry(instrument)
        if self._real:
            return entry
        if not any(chosen == "emulator" for chosen, _ in candidates(entry)):
            self._log.write("refused", instrument=instrument, changes=changes, why="it is real")
            raise NotAllowed(
                "only emulated instruments are set", where=instrument,
                hint="Whoever starts photonlink mcp allows real ones: --allow-real",
            )  # fmt: skip
        return entry.model_copy(update={"backend": "emulator"})

    def _entry(self, name: str) -> InstrumentEntry:
        found = self._station.instruments.get(name)
        if found is None:
            known = ", ".join(self._station.instruments)
            raise PhotonlinkError(f"there is no instrument {name!r}", hint=f"Known: {known}")
        return found

    def _is_allowed(self, instrument: str, parameter: str) -> bool:
        name = f"{instrument}.{parameter}"
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._allow)

    async def _noted(self, what: str, work: Awaitable[T], **about: Any) -> T:
        """Log a request before and after it is carried out. AuditError: the log failed, and nothing
        was done.
        """
        try:
            self._log.write(what, **about)
        except AuditError:
            close = getattr(work, "close", None)
            if close is not None:
                close()
            raise
        try:
            found = await work
        except Exception as error:
            told = ours(error, "bench", what)
            self._log.write("failed", of=what, why=str(told), **about)
            raise told from error
        self._log.write("done", of=what, result=found, **about)
        return found
