"""From a station file to opened instruments, with the reason for each choice of address.

Nothing that the station file does not name is touched: no scan, no probe, no default port.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from photonlink.hal import machine
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
from photonlink.hal.interlock import InterlockRule, RuleState
from photonlink.hal.ownership import Claims
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
    missing: dict[str, str] = field(default_factory=dict)
    """Instruments that the station calls optional and that are not there, and why."""
    claims: Claims = field(default_factory=Claims)
    interlock: dict[InterlockRule, RuleState] = field(default_factory=dict)
    tap: BenchTap | None = None
    joining: list[Callable[[str, Instrument], Awaitable[None]]] = field(default_factory=list)
    """Who must know of an instrument before anybody can switch it on (``admit``)."""

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
        """Readings of every instrument. A failure is recorded and does not affect other
        instruments.
        """

        async def one(name: str) -> Mapping[str, Value]:
            try:
                return await self.instruments[name].snapshot()
            except Exception as error:  # noqa: BLE001 - the other instruments are read too
                return {"error": str(ours(error, name, "snapshot"))}

        names = list(self.instruments)
        values = await asyncio.gather(*(one(name) for name in names))
        return dict(zip(names, values, strict=True))

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        """Make every instrument safe, rank by rank (light first); those of one rank concurrently.
        Every step runs even when an earlier one fails.
        """
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
        self.claims.release()
        return steps

    async def take_in(self, name: str) -> Resolution:
        """Open an instrument that was missing, outputs off; raises why it cannot be opened.

        It joins the bench only after every callback in ``joining`` has accepted it.
        """
        entry = self.entries[name]
        instrument, resolution = await _open_one(name, entry, self.tap, self.claims)
        try:
            await self.admit(name, instrument)
        except BaseException:
            await _close_quietly(instrument)
            self.claims.release(resolution.address)
            raise
        self.instruments[name], self.resolutions[name] = instrument, resolution
        self.missing.pop(name, None)
        return resolution

    async def admit(self, name: str, instrument: Instrument) -> None:
        """An instrument that was opened, first or again, comes (back) to the bench: call those in
        ``joining``. An exception of one of them keeps it away.
        """
        for tell in self.joining:
            await tell(name, instrument)


async def _make_safe(name: str, instrument: Instrument) -> tuple[SafetyStep, ...]:
    try:
        async with asyncio.timeout(SAFE_STATE_TIMEOUT_S):
            return await instrument.safe_state()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other steps must run
        return (SafetyStep(f"{name}: safe state", False, str(error) or type(error).__name__),)


async def _close_quietly(instrument: Instrument, *, look: bool = False) -> None:
    try:
        async with asyncio.timeout(SAFE_STATE_TIMEOUT_S):
            await (instrument.leave() if look else instrument.close())
    except Exception:  # noqa: BLE001, S110 - a device that is gone cannot be given back
        pass


async def open_bench(
    station: BenchStation, *, tap: BenchTap | None = None, all_optional: bool = False
) -> Bench:
    """Open all instruments of a station at once.

    BenchError lists every instrument that failed, address by address; those that opened are
    closed again. Those that the station calls optional (or all) may fail: ``Bench.missing``.
    """
    rules = {rule: RuleState() for rule in station.interlock}
    bench = Bench({}, {}, dict(station.instruments), tap=tap, interlock=rules)
    failures: dict[str, PhotonlinkError] = {}

    async def one(name: str) -> None:
        try:
            await bench.take_in(name)
        except Exception as error:  # noqa: BLE001 - one tree names every instrument that failed
            told = ours(error, name, "open")
            if all_optional or station.instruments[name].optional:
                bench.missing[name] = str(told)
            else:
                failures[name] = told

    try:
        async with asyncio.TaskGroup() as group:
            for name in station.instruments:
                group.create_task(one(name), name=f"open {name}")
        if failures:
            raise BenchError.of(station.name, dict(sorted(failures.items())))
    except BaseException:
        await bench.close()
        raise
    order = [name for name in station.instruments if name in bench.instruments]
    bench.instruments = {name: bench.instruments[name] for name in order}
    bench.resolutions = {name: bench.resolutions[name] for name in order}
    return bench


async def _open_one(
    name: str, entry: InstrumentEntry, tap: BenchTap | None, claims: Claims, *, look: bool = False
) -> tuple[Instrument, Resolution]:
    driver = load_driver(entry.driver)
    settings = driver.Settings.model_validate(entry.settings)
    link_tap = functools.partial(tap, name) if tap is not None else None
    attempts: list[Attempt] = []
    causes: list[tuple[str, str, PhotonlinkError]] = []
    for chosen, address in candidates(entry):
        if address.startswith(EMULATOR_NAME):
            attempts.append(Attempt(address, "LinkNotFound", f"{address} is not running", 0.0))
            continue
        instrument = driver(name, address, settings, limits=entry.limits, tap=link_tap)
        begin = machine.monotonic_s()
        try:
            claims.claim(address, name)
            identity = await open_and_match(
                instrument, entry.match, name, entry.open_timeout_s, look=look
            )
        except Exception as caught:  # noqa: BLE001 - named with its address below
            error = ours(caught, name, "open")
            ms = (machine.monotonic_s() - begin) * 1e3
            claims.release(address)
            attempts.append(Attempt(address, type(error).__name__, str(error), ms))
            causes.append((entry.driver, address, error))
            if isinstance(error, ABSENT_OR_SILENT):
                continue
            break
        ms = (machine.monotonic_s() - begin) * 1e3
        attempts.append(Attempt(address, "opened", "", ms))
        try:
            if not look:
                await configure(instrument, name, entry.open_timeout_s)
        except BaseException:
            await _close_quietly(instrument)
            claims.release(address)
            raise
        # Known from the address, or from the wire itself (a stand-in library at a real address).
        provenance = _BY_ADDRESS.get(chosen, instrument.provenance)
        return instrument, Resolution(
            name, entry.driver, chosen, address, provenance, identity, tuple(attempts)
        )
    tried = "\n".join(f"    {a.outcome} after {a.ms:.0f} ms: {a.reason}" for a in attempts)
    failed = BenchError(f"could not be opened ({entry.driver}, backend {entry.backend})\n{tried}")
    failed.causes = tuple(causes)
    raise failed


@contextlib.asynccontextmanager
async def look_at(
    name: str, entry: InstrumentEntry, *, tap: BenchTap | None = None
) -> AsyncIterator[tuple[Instrument, Resolution]]:
    """One instrument for the body, as it is: identified, nothing switched, nothing configured.

    BenchError names every address that was tried.
    """
    claims = Claims()
    try:
        instrument, resolution = await _open_one(name, entry, tap, claims, look=True)
        try:
            yield instrument, resolution
        finally:
            await _close_quietly(instrument, look=True)
    finally:
        claims.release()


def candidates(entry: InstrumentEntry) -> list[tuple[Chosen, str]]:
    """The addresses of one instrument in the order in which they are tried."""
    found: list[tuple[Chosen, str]] = []
    if entry.backend in ("real", "auto") and entry.address is not None:
        found.append(("real", entry.address))
    if entry.backend in ("auto", "emulator") and entry.emulator is not None:
        found.append(("emulator", entry.emulator))
    return found


async def open_and_match(
    instrument: Instrument, match: Match, name: str, timeout_s: float, *, look: bool = False
) -> Identity:
    """Open (or look), and refuse a device that is not the one the station names."""
    try:
        async with asyncio.timeout(timeout_s):
            identity = await (instrument.look() if look else instrument.open())
    except TimeoutError as error:
        await _close_quietly(instrument, look=look)
        if isinstance(error, PhotonlinkError):
            raise
        raise LinkTimeout(f"did not open within {timeout_s:g} s", where=name) from None
    for what, wanted, found in (
        ("serial number", match.serial, identity.serial),
        ("model", match.model, identity.model),
    ):
        if wanted is not None and wanted != found:
            await _close_quietly(instrument, look=look)
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
