"""Emulated Pure Photonics PPCL: an OIF-ITLA module with low-noise modes and a clean sweep.

Registers beyond OIF-ITLA-MSA: ``pytla`` 0.2.0 (``pplaser.py``, ``registers_pp.yaml``). Evidence:
manual. Unverified, chosen here: the sweep is a triangle of 2 s, refused in mode 0 with EXF (8);
what is stored in 0xE0 to 0xF1 has no other effect.
"""

from __future__ import annotations

from typing import ClassVar

from photonlink.firmware_sim.devices.oif.itla import EXF, EmulatedItla, register
from photonlink.firmware_sim.kit.laser import thz_of
from photonlink.firmware_sim.kit.registers import Refusal, Register
from photonlink.firmware_sim.kit.registration import Registration

SWEEP_S = 2.0
OTHERS = (0xD0, 0xD1, 0xD2, 0xE0, 0xE6, 0xE9, 0xEA, 0xEB, 0xEC, 0xED, 0xF1)


class EmulatedPpcl(EmulatedItla):
    """0x90: noise mode; 0xE4: width of the sweep, GHz; 0xE5: sweep on."""

    STRINGS: ClassVar[dict[int, str]] = {
        **EmulatedItla.STRINGS, 0x02: "Pure Photonics", 0x03: "PPCL550"
    }  # fmt: skip
    REGISTERS: ClassVar[tuple[Register, ...]] = (
        *EmulatedItla.REGISTERS,
        register(0x90, 0, 0, 2),
        register(0xE4, 10, 0, 50),
        register(0xE5, 0, 0, 1),
        *(register(number, 0) for number in OTHERS),
    )

    def _write(self, number: int, data: int) -> int:
        if number == 0xE5 and data and not self.registers["90"]:
            raise Refusal("level", "sweep", EXF)
        return super()._write(number, data)

    def asked(self) -> tuple[float, float]:
        power_mw, nm = super().asked()
        if not (power_mw and self.registers["e5"]):
            return power_mw, nm
        phase = self.clock.now_s() / SWEEP_S % 1.0
        share = 2 * abs(phase - 0.5) - 0.5  # triangle, +1/2 to -1/2 and back
        return power_mw, thz_of(thz_of(nm) + share * self.registers["e4"] * 1e-3)

    def extinguish(self) -> None:
        super().extinguish()
        self.registers.put("e5", 0)


REGISTRATION = Registration(
    "purephotonics-ppcl", "pump", EmulatedPpcl, "Pure Photonics PPCL, low-noise tunable laser"
)
