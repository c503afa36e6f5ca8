"""All readings of a bench in one file; differences of two files; restoring."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.foreign import ours
from photonlink.hal.params import Value
from photonlink.hal.registry import load_driver
from photonlink.hal.regular_file import FileError, read_text
from photonlink.hal.station import InstrumentEntry
from photonlink.pipeline.bench.reading import (
    PlannedSet,
    identify,
    parameters_of,
    plan_changes,
    reading,
)
from photonlink.pipeline.bench.target import Target

VERSION = 1
MAX_BYTES = 16 << 20


class SnapshotError(PhotonlinkError, ValueError):
    """A file that is no snapshot, or one of another bench."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One instrument's readings. error: why it could not be read; "" when it was read."""

    driver: str
    identity: Mapping[str, str]
    values: Mapping[str, Value]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """taken_at: UTC, ISO 8601."""

    station: str
    taken_at: str
    instruments: Mapping[str, Taken]

    def to_json(self) -> str:
        return json.dumps({"snapshot": VERSION} | asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Snapshot:
        """SnapshotError: not one of ours."""
        try:
            data = json.loads(read_text(path, at_most=MAX_BYTES))
            if data.pop("snapshot") != VERSION:
                raise ValueError(f"its version is not {VERSION}")
            taken = {n: Taken(**found) for n, found in data.pop("instruments").items()}
            return cls(instruments=taken, **data)
        except FileError as error:
            raise SnapshotError(error.what, where=error.where, hint=error.hint) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SnapshotError(
                f"this is no snapshot: {error}", where=str(path),
                hint="photonlink snapshot take writes one",
            ) from error  # fmt: skip


async def take(target: Target) -> Snapshot:
    """Read every instrument at once. A failure is recorded and does not affect other
    instruments.
    """
    found = await asyncio.gather(*(_one(n, e) for n, e in target.entries.items()))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Snapshot(target.station.name, now, dict(zip(target.entries, found, strict=True)))


async def _one(name: str, entry: InstrumentEntry) -> Taken:
    try:
        identity, _ = await identify(name, entry)
        async with reading(name, entry) as reader:
            values = await reader.read([])
    except Exception as error:  # noqa: BLE001 - the other instruments are read too
        return Taken(entry.driver, {}, {}, str(ours(error, name, "snapshot")))
    return Taken(entry.driver, asdict(identity), values)


@dataclass(frozen=True, slots=True)
class SnapshotDifference:
    """One value that is not the same; None: there was none."""

    instrument: str
    parameter: str
    old: Value | None
    new: Value | None

    def __str__(self) -> str:
        return f"{self.instrument}.{self.parameter}: {_shown(self.old)} → {_shown(self.new)}"


def _shown(value: Value | None) -> str:
    return "none" if value is None else str(value)


def differences(
    old: Snapshot, new: Snapshot, *, settings_only: bool = False
) -> list[SnapshotDifference]:
    """What differs beyond each parameter's tolerance. settings_only: of what can be set."""
    found = []
    for name in dict.fromkeys([*old.instruments, *new.instruments]):
        before, after = old.instruments.get(name), new.instruments.get(name)
        table = _table((before or after).driver) if before or after else {}  # type: ignore[union-attr]
        was = _facts(before)
        now = _facts(after)
        for key in dict.fromkeys([*was, *now]):
            param = table.get(key)
            if settings_only and (param is None or not param.set):
                continue
            a, b = was.get(key), now.get(key)
            same = a == b
            if param is not None and a is not None and b is not None and param.numeric:
                same = param.agrees(a, b)
            if not same:
                found.append(SnapshotDifference(name, key, a, b))
    return found


def _table(driver: str) -> Mapping[str, Any]:
    return parameters_of(InstrumentEntry(driver=driver, address="tcp://none:1"))


def _facts(taken: Taken | None) -> dict[str, Value]:
    if taken is None:
        return {"present": False}
    if taken.error:
        return {"present": False, "error": taken.error}
    identity = {f"identity.{k}": v for k, v in taken.identity.items()}
    return {"present": True} | identity | dict(taken.values)


def plan_restore(old: Snapshot, now: Snapshot, target: Target) -> dict[str, list[PlannedSet]]:
    """The settings that restore ``old``, checked against all limits; nothing is sent.

    Light, bias and outputs are never among it: they stay as they are. SnapshotError: there is an
    instrument with another serial number now.
    """
    plan: dict[str, list[PlannedSet]] = {}
    for name, entry in target.entries.items():
        before, after = old.instruments.get(name), now.instruments.get(name)
        if before is None or before.error:
            continue
        if after is None or after.error:
            why = after.error if after else "it is not in the station"
            raise SnapshotError(f"{name} cannot be compared: {why}")
        if before.identity["serial"] != after.identity["serial"]:
            raise SnapshotError(
                f"the snapshot is of serial number {before.identity['serial']}, "
                f"{after.identity['serial']} is there now", where=name,
            )  # fmt: skip
        kept = {step.param for step in getattr(load_driver(entry.driver), "OFF", ())}
        one = {name: before}, {name: after}
        wanted = {
            d.parameter: _text(d.old)
            for d in differences(
                Snapshot(old.station, old.taken_at, one[0]),
                Snapshot(now.station, now.taken_at, one[1]),
                settings_only=True,
            )
            if d.old is not None and d.parameter not in kept
        }
        if wanted:
            plan[name] = plan_changes(name, entry, wanted)
    return plan


def _text(value: Value | None) -> str:
    return {True: "on", False: "off"}.get(value, "") if isinstance(value, bool) else str(value)
