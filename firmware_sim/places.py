"""What a device emulator sees of the optical bench, and what the bench sees of a device.

Protocols only. Everything here is called from the one event loop of the emulator program, never
from another thread. A port outlives a device's connections: unplugging a cable does not stop light.

The bench owns the *physics* (light, clicks, clocks, FIFO); a device owns its *dialect and settings*
and tells its port what the settings mean. A factory calls ``TaggerPlace.configure`` with the figures
of its hardware; the bench file may override them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

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


class TagRead(NamedTuple):
    """What one read of a tagger's memory returns; times in this tagger's own clock since start.

    A read ends at the first loss: what was lost comes right after the events returned with it.
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

        Called once by the device's factory, before start. What the bench file sets wins.
        """

    def set_enabled(self, channel: int, enabled: bool) -> None:
        """Open or close one 0-based input."""

    def start(self) -> None:
        """Empty the memory and begin: this tagger's time 0 is (about) now."""

    def stop(self) -> None:
        """No more events are stored; what is in the memory can still be read."""

    def read(self, max_tags: int | None = None) -> TagRead:
        """Take up to ``max_tags`` events recorded so far. Never waits."""

    def rates_hz(self) -> tuple[float, ...]:
        """Rate meter of every enabled input over the last 100 ms, also when not running."""


Port = PumpPlace | DetectorPlace | TaggerPlace


class Device(Protocol):
    """An emulated instrument: state and dialect on a wire."""

    name: str
    address: str
    """After start: ``tcp://127.0.0.1:PORT``, ``serial:///RUN_DIR/NAME`` (a stable symlink) or
    ``lib:///RUN_DIR/NAME/libmh150.so``."""

    async def start(self, run_dir: Path) -> None:
        """Open the wire; set ``address``."""

    async def stop(self) -> None:
        """Close the wire. Called after :meth:`safe_off`; must not raise for a dead client."""

    def safe_off(self) -> None:
        """Light and bias off, at once, whatever state the wire is in. Idempotent."""

    def status(self) -> dict[str, Any]:
        """JSON-able state; a laser has at least ``emission`` (bool) and ``power_mw`` (float)."""

    def control(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """One command of the control socket meant for this device: ``{"fault": "unplug", …}`` or
        ``{"set": {…}}``. Returns JSON; raises ValueError with a clear text for what it does not
        know."""


Factory = Callable[[str, Mapping[str, Any], Any, int], Device]
"""``create(name, config, port, seed)``: ``config`` is the device's own settings from the bench
file; unknown keys are refused with a ValueError that names them."""


@dataclass(frozen=True, slots=True)
class Model:
    """A device model: which kind of port it plugs into and the module with its ``create``."""

    kind: str  # "pump", "detector" or "tagger"
    module: str

    def factory(self) -> Factory:
        """Import the model's module (only when a bench uses it)."""
        create: Factory = importlib.import_module(self.module).create
        return create


_DEVICES = "photonlink.firmware_sim.devices"
DEVICES: dict[str, Model] = {
    "toptica-dlc-pro": Model("pump", f"{_DEVICES}.toptica.dlc_pro"),
    "sfifteen-irspd1": Model("detector", f"{_DEVICES}.sfifteen.irspd1"),
    "sfifteen-tdc1": Model("tagger", f"{_DEVICES}.sfifteen.tdc1"),
    "picoquant-multiharp150": Model("tagger", f"{_DEVICES}.picoquant.multiharp150"),
}
"""Registry of models; add a line for a new device, nothing else."""
