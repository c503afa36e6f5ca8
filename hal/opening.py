"""From a station file to opened instruments, with the reason for each choice of address.

Nothing that the station file does not name is touched: no scan, no probe, no default port.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from photonlink.hal.errors import (
    BenchError,
    IdentityError,
    LinkClosed,
    LinkDesync,
    LinkNotFound,
    LinkTimeout,
    PhotonlinkError,
    StationError,
)
from photonlink.hal.facets import Facet, Identity, Instrument, SafetyStep, StreamsTags
from photonlink.hal.foreign import ours
from photonlink.hal.params import Value
from photonlink.hal.registry import load_driver
from photonlink.hal.station import EMULATOR_NAME, BenchStation, InstrumentEntry, Match
from photonlink.hal.tags import Provenance

F = TypeVar("F", bound=Facet)

BenchTap = Callable[[str, str, bytes], None]
"""Called with the instrument's name, the direction (``">"`` to it, ``"<"`` from it), the bytes."""

Chosen = Literal["real", "emulator"]
_BY_ADDRESS: dict[Chosen, Provenance] = {"emulator": Provenance.EMULATED}

ABSENT_OR_SILENT = (LinkNotFound, LinkTimeout, LinkClosed, LinkDesync, IdentityError)
"""What lets ``auto`` turn to the emulator. A port that is held by another program or that this
user may not open is a *present* instrument: that is an error, not an absence."""

SAFE_STATE_TIMEOUT_S = 12.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address that was tried: ``outcome`` is ``opened`` or the error's class name."""

    address: str
    outcome: str
    reason: str
    ms: float


@dataclass(frozen=True, slots=True)
class Resolution:
    """What was opened for one entry of the station file, and why."""

    name: str
    driver: str
    chosen: Chosen
    address: str
    provenance: Provenance
    identity: Identity
    attempts: tuple[Attempt, ...]


@dataclass
class Bench:
    """The opened instruments of a station."""

    instruments: dict[str, Instrument]
    resolutions: dict[str, Resolution]
    entries: dict[str, InstrumentEntry] = field(default_factory=dict)

    def having(self, facet: type[F]) -> dict[str, F]:
        """The instruments that have a facet, by name: ``bench.having(Emits)``."""
        found = {name: i for name, i in self.instruments.items() if isinstance(i, facet)}
        return cast(dict[str, F], found)

    @property
    def tagger_name(self) -> str:
        """The one time tagger; StationError when there is none or more than one."""
        taggers = self.having(StreamsTags)
        if len(taggers) != 1:
            raise StationError(
                f"a node needs exactly one time tagger, the station names {len(taggers)}",
                seen=", ".join(taggers),
            )
        return next(iter(taggers))

    @property
    def tagger(self) -> StreamsTags:
        """As ``tagger_name``, the instrument."""
        return self.having(StreamsTags)[self.tagger_name]

    @property
    def emulated(self) -> bool:
        """True when anything on this bench is not real."""
        return any(r.provenance is not Provenance.REAL for r in self.resolutions.values())

    async def snapshot(self) -> dict[str, Mapping[str, Value]]:
        """Readings of every instrument. One that fails says so and hides no other."""

        async def one(name: str) -> Mapping[str, Value]:
            try:
                return await self.instruments[name].snapshot()
            except Exception as error:  # noqa: BLE001 - the other instruments are read too
                return {"error": str(ours(error, name, "snapshot"))}

        names = list(self.instruments)
        values = await asyncio.gather(*(one(name) for name in names))
        return dict(zip(names, values, strict=True))

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        """Every instrument made safe, rank by rank (light first), whatever it is; those of one
        rank at once. Every step runs even when an earlier one fails."""
        steps: list[SafetyStep] = []
        for rank in sorted({i.safety_rank for i in self.instruments.values()}):
            group = {n: i for n, i in self.instruments.items() if i.safety_rank == rank}
            done = await asyncio.gather(*(_make_safe(n, i) for n, i in group.items()))
            steps += [step for one in done for step in one]
        return tuple(steps)

    async def close(self) -> tuple[SafetyStep, ...]:
        """Safe state, then give every device back. Never raises for an instrument's failure."""
        steps = await self.safe_state()
        await asyncio.gather(*(_close_quietly(i) for i in self.instruments.values()))
        return steps


async def _make_safe(name: str, instrument: Instrument) -> tuple[SafetyStep, ...]:
    try:
        async with asyncio.timeout(SAFE_STATE_TIMEOUT_S):
            return await instrument.safe_state()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other steps must run
        return (SafetyStep(f"{name}: safe state", False, str(error) or type(error).__name__),)


async def _close_quietly(instrument: Instrument) -> None:
    try:
        async with asyncio.timeout(SAFE_STATE_TIMEOUT_S):
            await instrument.close()
    except Exception:  # noqa: BLE001, S110 - a device that is gone cannot be given back
        pass


async def open_bench(station: BenchStation, *, tap: BenchTap | None = None) -> Bench:
    """Open all instruments of a station at once.

    BenchError lists every instrument that failed, address by address; those that opened are
    closed again.
    """
    bench = Bench({}, {}, dict(station.instruments))
    failures: dict[str, str] = {}

    async def one(name: str, entry: InstrumentEntry) -> None:
        try:
            instrument, resolution = await _open_one(name, entry, tap)
        except Exception as error:  # noqa: BLE001 - one tree names every instrument that failed
            failures[name] = str(ours(error, name, "open"))
        else:
            bench.instruments[name], bench.resolutions[name] = instrument, resolution

    try:
        async with asyncio.TaskGroup() as group:
            for name, entry in station.instruments.items():
                group.create_task(one(name, entry), name=f"open {name}")
        if failures:
            raise BenchError.of(station.name, dict(sorted(failures.items())))
    except BaseException:
        await bench.close()
        raise
    order = list(station.instruments)
    bench.instruments = {name: bench.instruments[name] for name in order}
    bench.resolutions = {name: bench.resolutions[name] for name in order}
    return bench


async def _open_one(
    name: str, entry: InstrumentEntry, tap: BenchTap | None
) -> tuple[Instrument, Resolution]:
    driver = load_driver(entry.driver)
    settings = driver.Settings.model_validate(entry.settings)
    link_tap = functools.partial(tap, name) if tap is not None else None
    attempts: list[Attempt] = []
    for chosen, address in _candidates(entry):
        if address.startswith(EMULATOR_NAME):
            attempts.append(Attempt(address, "LinkNotFound", f"{address} is not running", 0.0))
            continue
        instrument = driver(name, address, settings, limits=entry.limits, tap=link_tap)
        begin = time.monotonic()
        try:
            identity = await open_and_match(instrument, entry.match, name, entry.open_timeout_s)
        except Exception as caught:  # noqa: BLE001 - named with its address below
            error = ours(caught, name, "open")
            ms = (time.monotonic() - begin) * 1e3
            attempts.append(Attempt(address, type(error).__name__, str(error), ms))
            if isinstance(error, ABSENT_OR_SILENT):
                continue
            break
        ms = (time.monotonic() - begin) * 1e3
        attempts.append(Attempt(address, "opened", "", ms))
        try:
            await configure(instrument, name, entry.open_timeout_s)
        except BaseException:
            await _close_quietly(instrument)
            raise
        # The address says it, or the wire itself does (a stand-in library at a real address).
        provenance = _BY_ADDRESS.get(chosen, instrument.provenance)
        return instrument, Resolution(
            name, entry.driver, chosen, address, provenance, identity, tuple(attempts)
        )
    tried = "\n".join(f"    {a.outcome} after {a.ms:.0f} ms: {a.reason}" for a in attempts)
    raise BenchError(f"could not be opened ({entry.driver}, backend {entry.backend})\n{tried}")


def _candidates(entry: InstrumentEntry) -> list[tuple[Chosen, str]]:
    found: list[tuple[Chosen, str]] = []
    if entry.backend in ("real", "auto") and entry.address is not None:
        found.append(("real", entry.address))
    if entry.backend in ("auto", "emulator") and entry.emulator is not None:
        found.append(("emulator", entry.emulator))
    return found


async def open_and_match(
    instrument: Instrument, match: Match, name: str, timeout_s: float
) -> Identity:
    """Open, and refuse a device that is not the one the station names."""
    try:
        async with asyncio.timeout(timeout_s):
            identity = await instrument.open()
    except TimeoutError as error:
        await _close_quietly(instrument)
        if isinstance(error, PhotonlinkError):
            raise
        raise LinkTimeout(f"did not open within {timeout_s:g} s", where=name) from None
    for what, wanted, found in (
        ("serial number", match.serial, identity.serial),
        ("model", match.model, identity.model),
    ):
        if wanted is not None and wanted != found:
            await _close_quietly(instrument)
            raise IdentityError(
                f"{what} {wanted!r} is expected, but {found!r} answers",
                where=name,
                hint="Are two devices swapped? Correct the address or the match",
            )
    return identity


async def configure(instrument: Instrument, name: str, timeout_s: float) -> None:
    """Apply the station's settings. LinkTimeout when that hangs."""
    try:
        async with asyncio.timeout(timeout_s):
            await instrument.configure()
    except TimeoutError as error:
        if isinstance(error, PhotonlinkError):
            raise
        raise LinkTimeout(f"was not configured within {timeout_s:g} s", where=name) from None
