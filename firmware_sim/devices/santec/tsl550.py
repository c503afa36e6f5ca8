"""Emulated Santec TSL-550: as the TSL-570, with nm and THz only and any speed up to 100 nm/s.

Commands: pymeasure 0.16.0 (``instruments/santec/tsl550.py``). Evidence: manual. Unverified: all
that is not said there and taken from the TSL-570.
"""

from __future__ import annotations

from photonlink.firmware_sim.devices.santec.tsl570 import EmulatedTsl570
from photonlink.firmware_sim.kit.registers import Refusal, Register
from photonlink.firmware_sim.kit.registration import Registration


class EmulatedTsl550(EmulatedTsl570):
    """No choice of the command set."""

    IDENTITY = "SANTEC,TSL-550,{serial},0001.000.0001"
    REGISTERS = tuple(
        Register(r.name, 10.0, 0.5, 100.0, ".1f") if r.name == "WAVelength:SWEep:SPEed" else r
        for r in EmulatedTsl570.REGISTERS
    )

    def find(self, header: str) -> tuple[str, tuple[int, ...]]:
        found = super().find(header)
        if found[0] == "SYSTem:COMMunicate:CODe":
            raise Refusal("unknown", header)
        return found


REGISTRATION = Registration(
    "santec-tsl550", "pump", EmulatedTsl550, "Santec TSL-550, tunable laser"
)
