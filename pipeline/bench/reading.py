"""Reads and sets one instrument that a running process may hold.

Reading switches nothing: the instrument is identified and queried. When a process of this project
owns it, the query goes to that process. Setting needs exclusive access to the instrument.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from photonlink.hal.control import ask_owner
from photonlink.hal.driver import Driver
from photonlink.hal.errors import LimitError
from photonlink.hal.facets import Identity, Instrument
from photonlink.hal.links.base import StreamLink
from photonlink.hal.opening import candidates, look_at
from photonlink.hal.ownership import Owner, owner_of
from photonlink.hal.params import Param, Value, expand
from photonlink.hal.registry import load_driver
from photonlink.hal.station import EMULATOR_NAME, InstrumentEntry

OWNER_S = 6.0


class Reader(Protocol):
    """Reads parameters of one instrument; ``how``: in words, which way the readings come."""

    how: str

    async def read(self, parameters: Sequence[str]) -> dict[str, Value]:
        """These parameters, or all (none named)."""
        ...


class _Own:
    def __init__(self, instrument: Instrument, address: str) -> None:
        self._instrument, self.how = instrument, f"at {address}"

    async def read(self, parameters: Sequence[str]) -> dict[str, Value]:
        if not parameters or not isinstance(self._instrument, Driver):
            return dict(await self._instrument.snapshot())
        return {name: await self._instrument.get(name) for name in parameters}


class _Others:
    def __init__(self, owner: Owner) -> None:
        self._owner, self.how = owner, f"through {owner}"

    async def read(self, parameters: Sequence[str]) -> dict[str, Value]:
        request = {"read": self._owner.instrument, "parameters": list(parameters)}
        values: dict[str, Value] = (await ask_owner(self._owner, request, OWNER_S))["values"]
        return values


def owner_of_entry(entry: InstrumentEntry) -> Owner | None:
    """The other process that has this instrument open, if one has."""
    for _, address in candidates(entry):
        owner = None if address.startswith(EMULATOR_NAME) else owner_of(address)
        if owner is not None and owner.pid != os.getpid():
            return owner
    return None


@contextlib.asynccontextmanager
async def reading(name: str, entry: InstrumentEntry) -> AsyncIterator[Reader]:
    """A reader of one instrument; PhotonlinkError as ``look_at``."""
    owner = owner_of_entry(entry)
    if owner is not None:
        yield _Others(owner)
        return
    async with look_at(name, entry) as (instrument, resolution):
        yield _Own(instrument, resolution.address)


async def identify(name: str, entry: InstrumentEntry) -> tuple[Identity, str]:
    """(identification, the way by which it was read)."""
    owner = owner_of_entry(entry)
    if owner is not None:
        found = (await ask_owner(owner, {"identify": True}, OWNER_S))["instruments"]
        return Identity(**found[owner.instrument]), f"through {owner}"
    async with look_at(name, entry) as (_, resolution):
        return resolution.identity, f"{resolution.provenance} at {resolution.address}"


def parameters_of(entry: InstrumentEntry) -> dict[str, Param]:
    """The driver's parameters by name, without opening anything."""
    kind: Any = load_driver(entry.driver)
    return {param.name: param for param in expand(getattr(kind, "PARAMS", ()))}


def live_parameters(entry: InstrumentEntry) -> list[str]:
    """The parameters of a monitor without names: numbers that change by themselves."""
    return [
        p.name
        for p in parameters_of(entry).values()
        if p.get and p.numeric and p.poll == "fast" and p.unit != "s"
    ]


@dataclass(frozen=True, slots=True)
class PlannedSet:
    """One parameter to be set. ``data``: what goes over the wire, b"" where no bytes do."""

    instrument: str
    param: Param
    value: Value
    data: bytes

    def __str__(self) -> str:
        unit = f" {self.param.unit}" if self.param.unit else ""
        return f"{self.instrument}.{self.param.name} = {self.value}{unit}"


def plan_changes(name: str, entry: InstrumentEntry, wanted: Mapping[str, str]) -> list[PlannedSet]:
    """Check texts against kind, choices and both limits; nothing is opened.

    LimitError: no such parameter, not settable, outside a limit, or it would switch light, bias or
    an output on, which is done under a lease only.
    """
    driver = _unopened(name, entry)
    changes = []
    for key, text in wanted.items():
        param = driver.params[key]
        if not param.set:
            raise LimitError(f"{key} can only be read", where=name)
        value = value_of(param, text, name)
        param.check(value, driver.params.limits.get(key), where=name)
        _refuse_on(driver, key, value)
        wired = isinstance(getattr(driver.codec, "link", None), StreamLink)
        changes.append(
            PlannedSet(name, param, value, driver.command_bytes(param, value) if wired else b"")
        )
    return changes


def _unopened(name: str, entry: InstrumentEntry) -> Driver:
    """The driver object, not opened, for its limits and its encoding."""
    kind = load_driver(entry.driver)
    settings = kind.Settings.model_validate(entry.settings)
    addresses = [a for _, a in candidates(entry) if not a.startswith(EMULATOR_NAME)]
    if not addresses:
        raise LimitError("its emulator is not running", where=name, hint="Start it, or use --sim")
    driver = kind(name, addresses[-1], settings, limits=entry.limits)
    if not isinstance(driver, Driver):
        raise LimitError("this instrument has no parameters that can be set", where=name)
    return driver


def _refuse_on(driver: Driver, key: str, value: Value) -> None:
    for step in driver.OFF:
        if step.param == key and value != step.value:
            raise LimitError(
                f"{key} = {value} would switch it on past the light guard", where=driver.name,
                hint="Use photonlink light: on under a lease, off with read-back",
            )  # fmt: skip


def value_of(param: Param, text: str, where: str = "") -> Value:
    """A typed text as a value of the parameter's kind. LimitError when it is not one."""
    word = text.strip()
    if param.choices is not None:
        return next((c for c in param.choices if str(c) == word), word)
    try:
        if param.kind is bool:
            return {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}[
                word.lower()
            ]
        if param.kind is int:
            return int(word, 0)
        if param.kind is float:
            return float(word)
    except (KeyError, ValueError):
        wanted = {bool: "on or off", int: "a whole number", float: "a number"}[param.kind]
        raise LimitError(f"{param.name} must be {wanted}", where=where, seen=word) from None
    return word


async def apply_changes(
    name: str, entry: InstrumentEntry, changes: Sequence[PlannedSet]
) -> list[str]:
    """Set them in order, each read back. Returns one line each; the first failure is raised."""
    told = []
    async with look_at(name, entry) as (instrument, _):
        for change in changes:
            assert isinstance(instrument, Driver)  # noqa: S101 - plan_changes has seen to it
            await instrument.set(change.param.name, change.value)
            back = await instrument.get(change.param.name) if change.param.get else "not readable"
            told.append(f"{change}, reads back {back}")
    return told
