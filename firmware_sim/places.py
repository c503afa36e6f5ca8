"""The interface between device emulators and the optical table: a device's place.

Everything here is called from the one event loop of the emulator program, never from another
thread. A place outlives a device's connections: unplugging a cable does not stop light.

The table owns the *physics* (light, clicks, clocks, FIFO); a device owns its *dialect and settings*
and writes their effect to its place. A tagger calls ``TaggerPlace.configure`` with the figures of
its hardware; the bench file may override them.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class PumpPlace(Protocol):
    """Laser device → bench."""

    def set_optical_power_mw(self, power_mw: float) -> None:
        """Light now leaving the laser; 0 when emission is off. Takes effect in the next slice."""

    def set_wavelength_nm(self, wavelength_nm: float) -> None:
        """Pump wavelength; pairs fade as it leaves the crystal's phase matching."""


class DetectorPlace(Protocol):
    """Single-photon detector device ↔ bench. Starts without bias: no clicks until it is set."""

    def set_excess_bias_v(self, excess_v: float) -> None:
        """Bias above breakdown in volts; ≤ 0: no avalanches. Nominal 2 V unless the bench says so.

        Sets efficiency, dark counts and afterpulsing.
        """

    def set_temperature_c(self, temperature_c: float) -> None:
        """Temperature of the diode: dark counts grow with it, afterpulsing shrinks."""

    def set_threshold_mv(self, threshold_mv: float) -> None:
        """Discriminator level (magnitude): too high loses pulses, too low counts noise."""

    def set_dead_time_s(self, dead_time_s: float) -> None:
        """Hold-off after each click."""

    def clicks_total(self) -> int:
        """Clicks since the program started, up to the last finished slice (20 ms). A gated count
        is the difference of two readings."""

    def stage_k(self) -> float | None:
        """Temperature of the cold stage it is on; None without a controller."""


class DetectorArrayPlace(Protocol):
    """A device with all four detectors of a side ↔ bench; ``channels`` in the order H, V, D, A."""

    @property
    def channels(self) -> tuple[DetectorPlace, ...]: ...


class TagRead(NamedTuple):
    """The result of one read of a tagger's memory; times in this tagger's own clock since start.

    A read ends at the first loss, which lies directly behind the returned events.
    """

    time_ps: npt.NDArray[np.int64]  # not decreasing; multiples of the resolution, rounded down
    channel: npt.NDArray[np.uint8]  # 0-based input
    until_ps: int  # no later read holds an event before this
    lost: int  # events missing after these; an estimate when the host was too slow
    lost_from_ps: int  # they were in [lost_from_ps, lost_to_ps); both until_ps when none
    lost_to_ps: int
    overflow: bool  # the memory overran since start(); stays set until the next start()


class TaggerPlace(Protocol):
    """Time tagger device ← bench."""

    @property
    def resolution_ps(self) -> float: ...

    @property
    def inputs(self) -> int: ...

    @property
    def running(self) -> bool: ...

    def configure(
        self,
        *,
        inputs: int,
        resolution_ps: float,
        dead_time_ps: float = 0.0,
        fifo_tags: int = 1 << 20,
        jitter_ps: float = 0.0,
    ) -> None:
        """The hardware's figures: inputs, LSB, dead time per input, memory depth, rms jitter.

        Called once by the device's factory, before start. Values in the bench file have precedence.
        """

    def set_enabled(self, channel: int, enabled: bool) -> None:
        """Open or close one 0-based input."""

    def start(self) -> None:
        """Empty the memory and begin: this tagger's time 0 is (about) now."""

    def stop(self) -> None:
        """Stop storing events; stored ones can still be read."""

    def read(self, max_tags: int | None = None) -> TagRead:
        """Take up to ``max_tags`` events recorded so far. Never waits."""

    def rates_hz(self) -> tuple[float, ...]:
        """Rate meter of every enabled input over the last 100 ms, also when not running."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of an element that a bench file, a test or a device may write."""

    name: str
    unit: str
    value: float
    low: float
    high: float


class Element:
    """An element at a place, which acts on the light. Subclasses are in ``elements/``.

    A device writes with :meth:`put` and reads with :meth:`get` or methods of the subclass; the
    same quantities are set by the path ``place.quantity`` (``alice.attenuator.attenuation_db``).
    """

    QUANTITIES: ClassVar[tuple[Quantity, ...]] = ()

    def __init__(self, table: Any, place: str) -> None:
        self.table, self.place = table, place
        self.side = place.partition(".")[0]
        self._values = {q.name: q.value for q in self.QUANTITIES}

    def get(self, name: str) -> float:
        """A quantity's present value. KeyError for an unknown name."""
        return self._values[name]

    def put(self, name: str, value: float) -> None:
        """Write a quantity; it acts from the next slice on. ValueError outside its range."""
        quantity = next((q for q in self.QUANTITIES if q.name == name), None)
        if quantity is None:
            known = ", ".join(self._values) or "none"
            raise ValueError(f"{self.place} has no quantity {name!r}; it has: {known}")
        if not quantity.low <= float(value) <= quantity.high:  # a NaN fails too
            raise ValueError(
                f"{self.place}.{name}: {value} lies outside {quantity.low} … {quantity.high} "
                f"{quantity.unit}"
            )
        if self._values[name] != float(value):
            self._values[name] = float(value)
            self.table.touch()

    def loss_db(self, side: str) -> float:
        """Its loss in one arm."""
        return 0.0

    def pump_loss_db(self) -> float:
        """Its loss in the pump light."""
        return 0.0

    def background_hz(self, side: str) -> float:
        """Unpolarized photons per second it adds at the analyser of one arm."""
        return 0.0

    def delay_ps(self, side: str) -> float:
        """Its delay in one arm."""
        return 0.0

    def rotation(self, side: str) -> npt.NDArray[np.float64] | None:
        """Rotation (3, 3) it adds to one arm's polarization on the Poincaré sphere."""
        return None


@dataclass(frozen=True, slots=True)
class PlaceKind:
    """A kind of place: a file of ``elements/`` has one as KIND (or several as KINDS).

    names: regular expression of the places' names.  create: ``(table, place)`` → what a device
    gets as its place.  covers: places of the same side that it takes too (``h``: ``alice.h``).
    """

    kind: str
    names: str
    create: Callable[[Any, str], Any]
    covers: tuple[str, ...] = ()


@functools.cache
def kinds() -> dict[str, PlaceKind]:
    """Every kind that ``elements/`` declares."""
    from photonlink.firmware_sim import elements

    found: dict[str, PlaceKind] = {}
    for module in pkgutil.iter_modules(elements.__path__, f"{elements.__name__}."):
        loaded = importlib.import_module(module.name)
        for kind in getattr(loaded, "KINDS", (loaded.KIND,) if hasattr(loaded, "KIND") else ()):
            found[kind.kind] = kind
    return found


def place_kind(place: str) -> PlaceKind:
    """The kind of a place by its name. ValueError names what there is."""
    for kind in kinds().values():
        if re.fullmatch(kind.names, place):
            return kind
    raise ValueError(
        f"no place {place!r}; there are: {', '.join(k.names for k in kinds().values())}"
    )


def taken_by(place: str) -> frozenset[str]:
    """All places that a device at this one takes. ValueError: no such place."""
    side = place.partition(".")[0]
    return frozenset({place, *(f"{side}.{part}" for part in place_kind(place).covers)})


def example_place(kind: str) -> str:
    """A place of this kind: the first name that its pattern allows. KeyError: no such kind."""
    text = kinds()[kind].names
    while "(" in text:
        head, _, rest = text.partition("(")
        choices, _, tail = rest.partition(")")
        text = head + choices.split("|")[0] + tail
    return re.sub(r"\[(.)[^]]*\]", r"\1", text)
