"""Santec TSL-550: the TSL-570's predecessor. Wavelengths are always nm; any speed up to 100 nm/s.

Dialect: pymeasure 0.16.0 (``instruments/santec/tsl550.py``). Not verified on hardware: everything
that its docstring does not state, the alerts among it.
"""

from __future__ import annotations

from photonlink.drivers.santec.tsl570 import Tsl570, params
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="santec.tsl550",
    title="Santec TSL-550: tunable laser",
    driver="Tsl550",
    facets=("Emits",),
    transports=("tcp", "serial"),
    evidence="manual",
    emulator="santec-tsl550",
    emulator_wire="serial",
    settings={"wavelength_nm": 1550.0, "power_dbm": 0.0},
    case={"place": "", "steady": ("wavelength_nm", 1550.0), "interlock": "interlock_open"},
)

SPEED = Param("sweep_speed_nm_per_s", float, "speed of a continuous sweep", ":WAV:SWE:SPE?",
              ":WAV:SWE:SPE {}", limits=(0.5, 100.0), tolerance=0.05, poll="slow")  # fmt: skip


class Tsl550(Tsl570):
    """One TSL-550. ``open`` switches the diode off and closes the shutter."""

    MODEL = "TSL-550"
    PARAMS = params(SPEED)

    async def _scpi_units(self) -> bool:
        return False
