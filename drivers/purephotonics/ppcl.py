"""Pure Photonics PPCL: an OIF-ITLA module with low-noise modes and a clean sweep.

Registers beyond OIF-ITLA-MSA as ``pytla`` 0.2.0 (``pplaser.py``, ``registers_pp.yaml``) names them.
Not verified on hardware. ``pytla`` reports that a frequency out of range is not refused by the
module: the read-back finds it.
"""

from __future__ import annotations

from photonlink.drivers.oif.itla import PARAMS, ItlaModule
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="purephotonics.ppcl",
    title="Pure Photonics PPCL: tunable laser with low-noise modes",
    driver="Ppcl",
    facets=("Emits", "HasTemperature"),
    transports=("serial", "tcp"),
    evidence="manual",
    emulator="purephotonics-ppcl",
    settings={"frequency_thz": 193.4, "power_dbm": 10.0},
    case={"place": "", "steady": ("power_dbm", 10.0), "interlock": "interlock_open"},
)

SWEEP_START = 0xE5


class Ppcl(ItlaModule):
    """One PPCL. ``open`` clears its software enable."""

    PARAMS = (
        *PARAMS,
        Param("noise_mode", int, "0 normal, 1 no dither, 2 whisper", "90", "90", limits=(0, 2),
              setting="noise_mode"),
        Param("sweep_range_ghz", int, "width of the clean sweep in GHz", "e4", "e4",
              limits=(0, 50), poll="slow"),
    )  # fmt: skip

    async def start_sweep(self) -> None:
        """The clean sweep about the present frequency; needs a ``noise_mode`` other than 0."""
        await self._put(SWEEP_START, 1)

    async def stop_sweep(self) -> None:
        await self._put(SWEEP_START, 0)
