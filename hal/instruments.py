"""What an instrument can do. Drivers implement these contracts; the pipeline sees only them.

Drivers do no I/O in ``__init__``: ``open`` talks to the device for the first time, identifies
it and raises a named error; ``close`` leaves light and bias off. All waits carry a deadline.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from photonlink.hal.tags import LostInterval, Provenance, TagBlock


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answered: as the device itself says it."""

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
    """Bytes that end light and bias when they are sent to ``address``, whatever came before."""

    address: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds now and stops light or measurement, as the instrument's readings say it.

    code: stable name, lower_snake_case. text: what it is and what to do.
    """

    code: str
    text: str


class Instrument(abc.ABC):
    """Common to all: open, identify, snapshot, make safe, close."""

    @abc.abstractmethod
    async def open(self) -> Identity: ...

    async def configure(self) -> None:
        """Apply the station's settings and read them back. Light and bias stay off."""
        return

    @property
    def provenance(self) -> Provenance:
        """EMULATED when the wire itself says so (a stand-in vendor library), else REAL."""
        return Provenance.REAL

    @abc.abstractmethod
    async def close(self) -> None: ...

    @abc.abstractmethod
    async def snapshot(self) -> Mapping[str, float | int | bool | str]:
        """Readings and settings, units in the names (``current_ma``, ``temperature_c``)."""

    def deviation(self, readings: Mapping[str, float | int | bool | str]) -> str:
        """How a snapshot differs from what was asked of the instrument, in words; "" if it agrees.

        A difference means that it restarted, or that somebody else set it.
        """
        return ""

    def conditions(self, readings: Mapping[str, float | int | bool | str]) -> tuple[Condition, ...]:
        """What a snapshot says that a person must know: an open interlock, light that ended."""
        return ()

    async def notices(self) -> AsyncIterator[str]:
        """What the instrument says by itself, in sentences (an interlock that opened).

        Ends when it never says anything; LinkError when it is lost.
        """
        return
        yield ""

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        """Light and bias off, read back. Every step runs even when an earlier one fails."""
        return ()

    def dark_command(self) -> DarkCommand | None:
        """What another process must send to end light and bias; None when there is neither.

        Asked after ``open``, before any light. It must work on a fresh connection and may come in
        the middle of a command that this process left unfinished.
        """
        return None

    def emergency_off(self) -> None:
        """Send "off" without the event loop, from another thread, waiting for nothing long.

        The last resort of the watchdog when the loop is dead; nothing is read back.
        """
        return


class Laser(Instrument):
    """A pump laser. Emission is off after ``open`` until it is asked for."""

    @abc.abstractmethod
    async def set_emission(self, on: bool) -> None: ...

    @abc.abstractmethod
    async def emission(self) -> bool: ...

    @abc.abstractmethod
    async def set_current_ma(self, value: float) -> None: ...


@dataclass(frozen=True, slots=True)
class DetectorReading:
    """counts: clicks in ``gate_s`` seconds."""

    counts: int
    gate_s: float


class SinglePhotonDetector(Instrument):
    """A single-photon avalanche detector with bias, threshold and cooling."""

    @abc.abstractmethod
    async def count(self, gate_s: float) -> DetectorReading: ...

    @abc.abstractmethod
    async def set_bias(self, on: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class TaggerCapabilities:
    """channels: numbers a TagBlock may carry. resolution_ps: size of one time bin."""

    channels: tuple[int, ...]
    resolution_ps: float
    max_rate_hz: float


@dataclass(frozen=True, slots=True)
class WireFormat:
    """Names a decoder of ``hal.decode`` and its parameters: enough to read the bytes again."""

    name: str
    parameters: Mapping[str, float | int | bool | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WireChunk:
    """Bytes as they came from the tagger, with what the driver knows beside them.

    lost: gaps known from outside the records (FIFO flags, reconnects), in the tagger's clock;
          a gap whose end is not known yet ends at -1 and is closed by the next decoded record.
    """

    data: bytes = field(repr=False)  # of a key-making run: raw key
    lost: tuple[LostInterval, ...] = ()


@dataclass(frozen=True, slots=True)
class AcquisitionStart:
    """host_time_s: UNIX time at which the tagger's time zero lies, good to ``uncertainty_s``."""

    host_time_s: float
    uncertainty_s: float


class TimeTagger(Instrument):
    """A time tagger hands out the bytes of its wire; a decoder of ``hal.decode`` reads them.

    Bytes and decoder are kept apart so that a session can be recorded and replayed bit for bit.
    """

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


class TagDecoder(abc.ABC):
    """Wire bytes in, TagBlocks out; rollovers and loss are kept between calls."""

    @abc.abstractmethod
    def feed(self, chunk: WireChunk) -> TagBlock:
        """Decode a chunk (a record may be split over chunks). The block may be empty."""
