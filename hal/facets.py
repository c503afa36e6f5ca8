"""The abilities of instruments as small contracts, which drivers implement and callers test for.

A driver is an :class:`Instrument` and any number of facets: a laser ``Emits``, a counting module
``CountsPhotons`` and is ``Biased``, a bench supply ``HasOutput``. Bench, supervisor, safe state,
command line and documentation walk instruments by facets; a facet defined elsewhere (a subclass of
:class:`Facet` in a driver's own package) is walked like those below.

Each facet has its place in the safe state, ``safety_rank``: lower ranks are made safe first,
equal ones at once. Light is first: it can harm, and sources switch off at once.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from photonlink.hal.foreign import Mapped
from photonlink.hal.tags import (
    AcquisitionStart,
    Provenance,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)

Reading = float | int | bool | str

LIGHT, DRIVE, PATH, BIAS, LAST = 10, 20, 30, 40, 90
"""Ranks: emission, what drives sources and modulators, what lets light pass, bias, the rest."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identification that the device reports."""

    vendor: str
    model: str
    serial: str
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class SafetyStep:
    """One step of making an instrument safe: what was done and what it reads back."""

    action: str
    ok: bool
    readback: str


@dataclass(frozen=True, slots=True)
class DarkCommand:
    """The command that ends light, bias and outputs from another process, in any state.

    Bytes that are sent to ``address`` (``tcp``, ``serial``, ``udp``); or, where no bytes reach the
    instrument, the arguments of ``python -m photonlink.hal.dark``.
    """

    address: str
    data: bytes
    program: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """A present condition in the instrument's readings that stops light or measurement.

    code: stable name, lower_snake_case. text: what it is and what to do.
    """

    code: str
    text: str


class Facet(abc.ABC):  # noqa: B024 - its subclasses have the methods
    """Base of all facets. ``needs_off``: a driver with it must declare how it is switched off."""

    safety_rank: ClassVar[int] = LAST
    needs_off: ClassVar[bool] = False


class Instrument(Mapped, abc.ABC):
    """Common to all: open, identify, configure, snapshot, make safe, close.

    No I/O in the constructor: ``open`` talks to the device for the first time, identifies it and
    raises a named error; ``close`` leaves it safe. All waits carry a deadline. What a public
    coroutine of an instrument raises is an error of ``hal.errors``, whatever its libraries raise.
    """

    name: str = ""
    safety_rank: ClassVar[int] = LAST
    """Its place in the safe state: by default the earliest of its facets."""

    def __init_subclass__(cls, **more: object) -> None:
        super().__init_subclass__(**more)
        if "safety_rank" not in cls.__dict__:
            ranks = [facet.safety_rank for facet in facets_of(cls)]
            cls.safety_rank = min(ranks, default=LAST)

    @abc.abstractmethod
    async def open(self) -> Identity: ...

    async def look(self) -> Identity:
        """As ``open``, for reading only: where the driver can, it switches nothing off."""
        return await self.open()

    async def leave(self) -> None:
        """The end of ``look``: give the device back as it is."""
        await self.close()

    async def configure(self) -> None:
        """Apply the station's settings and read them back. Light and bias stay off."""
        return

    @property
    def provenance(self) -> Provenance:
        """EMULATED when the wire itself reports it (a stand-in vendor library), else REAL."""
        return Provenance.REAL

    @property
    def gone(self) -> asyncio.Event | None:
        """Set while the instrument is known to be gone; None when only a question can tell."""
        return None

    @abc.abstractmethod
    async def close(self) -> None: ...

    @abc.abstractmethod
    async def snapshot(self) -> Mapping[str, Reading]:
        """Readings and settings, units in the names (``current_ma``, ``temperature_c``)."""

    @property
    def of_clicks(self) -> frozenset[str]:
        """Readings that reveal a detector's clicks: not published while key is made from the
        clicks.
        """
        return frozenset()

    def deviation(self, readings: Mapping[str, Reading]) -> str:
        """How a snapshot differs from the requested settings, in words; "" if it agrees.

        A difference means that the instrument restarted, or that another program set it.
        """
        return ""

    def conditions(self, readings: Mapping[str, Reading]) -> tuple[Condition, ...]:
        """Conditions in a snapshot that a person must know: an open interlock, light that ended."""
        return ()

    async def notices(self) -> AsyncIterator[str]:
        """Unrequested messages of the instrument, in sentences (an interlock that opened).

        Ends at once when it sends none; LinkError when it is lost.
        """
        return
        yield ""

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        """Light, bias, outputs off, read back. Every step runs even when an earlier one fails."""
        return ()

    def dark_command(self) -> DarkCommand | None:
        """The command for another process to end light and bias; None when there is neither.

        Asked after ``open``, before any light. It must work on a fresh connection and may come in
        the middle of a command that this process left unfinished.
        """
        return None

    def emergency_off(self) -> None:
        """Send "off" without the event loop, from another thread, waiting for nothing long.

        Used by the watchdog when the loop does not run; nothing is read back.
        """
        return


def facets_of(kind: type) -> tuple[type[Facet], ...]:
    """The facets of an instrument's class, in alphabetical order."""
    found = [c for c in kind.__mro__ if issubclass(c, Facet) and Facet in c.__bases__]
    return tuple(sorted(found, key=lambda facet: facet.__name__))


class Emits(Facet):
    """Emits light. Off after ``open`` until requested, under a lease (``hal.safety``)."""

    safety_rank = LIGHT
    needs_off = True

    @abc.abstractmethod
    async def set_emission(self, on: bool) -> None: ...

    @abc.abstractmethod
    async def emission(self) -> bool: ...

    @abc.abstractmethod
    async def safe_state(self) -> tuple[SafetyStep, ...]:
        """Like every instrument's; it also ends the lease."""


class HasOutput(Facet):
    """An electrical output that can be switched: a supply, an amplifier, a generator."""

    safety_rank = DRIVE
    needs_off = True

    @property
    def output_channels(self) -> tuple[int, ...]:
        return (1,)

    @abc.abstractmethod
    async def set_output(self, on: bool, channel: int = 1) -> None: ...

    @abc.abstractmethod
    async def output(self, channel: int = 1) -> bool: ...


class GeneratesPatterns(Facet):
    """Plays digital (and analog) patterns, as modulators and pulsed lasers need them."""

    safety_rank = DRIVE
    needs_off = True

    @abc.abstractmethod
    async def load_pattern(self, steps: Sequence[PatternStep]) -> None: ...

    @abc.abstractmethod
    async def play(self, runs: int) -> None:
        """Play the loaded pattern ``runs`` times; 0 is endless."""

    @abc.abstractmethod
    async def halt(self) -> None:
        """Outputs at rest."""


class Attenuates(Facet):
    """A variable optical attenuator. Its safe state is the highest attenuation, or its shutter."""

    safety_rank = PATH
    needs_off = True

    @abc.abstractmethod
    async def set_attenuation_db(self, value: float, channel: int = 1) -> None: ...

    @abc.abstractmethod
    async def attenuation_db(self, channel: int = 1) -> float: ...


class Switches(Facet):
    """An optical switch: one of ``positions``."""

    safety_rank = PATH

    @property
    @abc.abstractmethod
    def positions(self) -> tuple[int, ...]: ...

    @abc.abstractmethod
    async def set_position(self, position: int) -> None: ...

    @abc.abstractmethod
    async def position(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Retarder:
    """One axis as polarization sees it, at ``angle`` degrees of :class:`Rotates`.

    retardance_deg: of a plate or paddle that turns; its fast axis lies at angle + axis_deg. None: a
    squeezer, whose fast axis lies at axis_deg and whose retardance is the angle.
    low_deg, high_deg: its travel.
    """

    retardance_deg: float | None
    axis_deg: float
    low_deg: float
    high_deg: float


class Rotates(Facet):
    """Turns waveplates or paddles. Angles in degrees, as the mounts are marked."""

    safety_rank = PATH

    @property
    def retarders(self) -> tuple[Retarder, ...]:
        """What each axis does to polarization, in the order in which light meets them; nominal.
        Empty: the mounted optics are unknown."""
        return ()

    @property
    def axes(self) -> tuple[int, ...]:
        return (1,)

    @abc.abstractmethod
    async def home(self, axis: int = 1) -> None: ...

    @abc.abstractmethod
    async def move_to_deg(self, angle: float, axis: int = 1) -> None:
        """Return when it has arrived; a move that stalls is an InstrumentError."""

    @abc.abstractmethod
    async def angle_deg(self, axis: int = 1) -> float: ...

    @abc.abstractmethod
    async def stop_motion(self) -> None: ...


class DelaysLight(Facet):
    """A variable optical delay."""

    safety_rank = PATH

    @abc.abstractmethod
    async def set_delay_ps(self, value: float) -> None:
        """Return when it has arrived."""

    @abc.abstractmethod
    async def delay_ps(self) -> float: ...


class Biased(Facet):
    """A detector's bias, per channel. Off after ``open`` until requested."""

    safety_rank = BIAS
    needs_off = True

    @property
    def bias_channels(self) -> tuple[int, ...]:
        return (1,)

    @abc.abstractmethod
    async def set_bias(self, on: bool, channel: int | None = None) -> None:
        """Bias of the settings on, or off; of one channel or (None) of all."""


@dataclass(frozen=True, slots=True)
class PhotonCounts:
    """Clicks per channel in ``gate_s`` seconds."""

    counts: Mapping[int, int]
    gate_s: float

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class CountsPhotons(Facet):
    """Counts clicks itself, on ``count_channels``."""

    @property
    def count_channels(self) -> tuple[int, ...]:
        return (1,)

    @abc.abstractmethod
    async def count(self, gate_s: float) -> PhotonCounts: ...


class StreamsTags(Facet):
    """A time tagger hands out the bytes of its wire; a decoder of ``hal.decode`` reads them."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> TaggerCapabilities: ...

    @property
    @abc.abstractmethod
    def wire_format(self) -> WireFormat: ...

    @abc.abstractmethod
    async def start(self) -> AcquisitionStart: ...

    @abc.abstractmethod
    def chunks(self) -> AsyncIterator[WireChunk]:
        """Bytes from ``start`` on until ``stop``; a chunk at least every 0.2 s, empty or not."""

    @abc.abstractmethod
    async def stop(self) -> None: ...


class MeasuresPower(Facet):
    @property
    def power_channels(self) -> tuple[int, ...]:
        return (1,)

    @abc.abstractmethod
    async def power_w(self, channel: int = 1) -> float: ...


class MeasuresWavelength(Facet):
    @abc.abstractmethod
    async def wavelength_m(self, channel: int = 1) -> float:
        """Vacuum wavelength in metres."""


@dataclass(frozen=True, slots=True)
class PolarizationState:
    """Normalised Stokes parameters (unit sphere), degree of polarization 0…1, power in W."""

    s1: float
    s2: float
    s3: float
    degree: float
    power_w: float


class MeasuresPolarization(Facet):
    @abc.abstractmethod
    async def polarization(self) -> PolarizationState: ...


class GivesRandomness(Facet):
    @abc.abstractmethod
    async def fill_random(self, buffer: memoryview) -> None:
        """Fill all of ``buffer``; it may be a locked one, so no copy is kept."""


class HasTemperature(Facet):
    @abc.abstractmethod
    async def temperature_c(self, channel: int = 1) -> float: ...


class Cools(HasTemperature, Facet):
    """A temperature loop. It stays closed in the safe state: cooling a warm detector again takes
    hours.
    """

    @abc.abstractmethod
    async def set_cooling(self, on: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class ClockState:
    """locked: to ``source``. offset_s: from it, when the instrument reports it."""

    locked: bool
    source: str
    offset_s: float | None = None


class ReportsClock(Facet):
    @abc.abstractmethod
    async def clock_state(self) -> ClockState: ...


@dataclass(frozen=True, slots=True)
class PatternStep:
    """duration_ns, digital outputs as a bit mask, analog outputs in volts by channel."""

    duration_ns: int
    digital: int
    analog_v: Mapping[int, float] = field(default_factory=dict)
