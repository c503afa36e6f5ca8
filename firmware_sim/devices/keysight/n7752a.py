"""Emulated Keysight N7752A: two attenuators with shutters and two power meters, on SCPI.

Commands: two public drivers of the instrument agree on them; no client was tried. Evidence: manual,
and thin. Unverified: port 5025, ranges, shutter open at power-on, that a meter reads in dBm by
default, what each meter sees (5: behind attenuator 1, 6: behind attenuator 3, of ``input_w``).
Attenuator ``channel`` stands on the optical table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registers import Refusal, Register, command, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

VOAS, METERS = (1, 3), (5, 6)
STEP_S = 0.02
FLOOR_W = 1e-12


@dataclass
class N7752aSettings(DeviceSettings):
    """channel: the attenuator on the table.  db_per_s: its motor.  input_w: light of the meters."""

    channel: int = 1
    db_per_s: float = 200.0
    input_w: float = 1e-6


def _voa(n: int) -> tuple[Register, ...]:
    return (
        Register(f"INPut{n}:ATTenuation", 0.0, 0.0, 45.0, ".6E", "dB"),
        Register(f"INPut{n}:OFFSet", 0.0, -200.0, 200.0, ".6E", "dB"),
        Register(f"INPut{n}:WAVelength", 1.55e-6, 1.26e-6, 1.64e-6, ".8E", "m"),
        Register(f"OUTPut{n}[:STATe]", 1, 0, 1),
        Register(f"OUTPut{n}:POWer:OFFSet", 0.0, -200.0, 200.0, ".6E", "dB"),
    )


def _meter(n: int) -> tuple[Register, ...]:
    return (
        Register(f"SENSe{n}:POWer:UNIT", 0, 0, 1),
        Register(f"SENSe{n}:CORRection", 0.0, -200.0, 200.0, ".6E", "dB"),
        Register(f"SENSe{n}:POWer:WAVelength", 1.55e-6, 1.26e-6, 1.64e-6, ".8E", "m"),
    )


class N7752a(ScpiDevice):
    Settings = N7752aSettings
    WIRES = ("tcp", "serial")
    IDENTITY = "Agilent Technologies,N7752A,{serial},1.16"
    TICK_S = STEP_S
    REGISTERS = (*(r for n in VOAS for r in _voa(n)), *(r for n in METERS for r in _meter(n)))

    def make_serial(self, seed: int) -> str:
        return f"DE{seed % 10**8:08}"

    def setup(self) -> None:
        super().setup()
        self._stuck = False
        self._at_db = dict.fromkeys(VOAS, 0.0)
        self.tick()

    def tick(self) -> None:
        """The filters turn; shutters obey at once."""
        step = self.config.db_per_s * STEP_S
        for n in VOAS:
            wanted = self.registers[f"INPut{n}:ATTenuation"]
            if not self._stuck:
                self._at_db[n] += min(max(wanted - self._at_db[n], -step), step)
        n = self.config.channel
        self.place.put("attenuation_db", self._at_db[n])
        self.place.put("blocked", float(not self.registers[f"OUTPut{n}[:STATe]"]))

    def applied(self, name: str) -> None:
        self.tick()

    def state(self) -> dict[str, Any]:
        return {f"attenuation{n}_db": self._at_db[n] for n in VOAS}

    @reading("FETCh#:POWer")
    def _power(self, n: int) -> str:
        if n not in METERS:
            raise Refusal("unknown", "no meter there")
        voa = VOAS[METERS.index(n)]
        open_ = bool(self.registers[f"OUTPut{voa}[:STATe]"])
        watts = self.config.input_w * math.pow(10.0, -self._at_db[voa] / 10.0) * open_ + FLOOR_W
        watts = self.faults.drift(watts)
        if self.registers[f"SENSe{n}:POWer:UNIT"] == 0:
            return f"{10.0 * math.log10(watts * 1e3):+.6E}"
        return f"{watts:+.6E}"

    @command("*OPT?")
    def _options(self, _: str, __: Session) -> str:
        return "N7752A,  ,  ,  "

    @fault("motor-stuck", "the attenuators do not move")
    def _motor_stuck(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stuck = True
        return lambda: setattr(self, "_stuck", False)


REGISTRATION = Registration(
    "keysight-n7752a", "attenuator", N7752a, "Keysight N7752A, two attenuators and power meters"
)
