"""Emulated Viavi MAP-200 mVOA-C1: attenuators with beam blocks, on SCPI.

The channel is the first argument: ``:OUTPut:ATTenuation 1,12.34`` (one public driver). Evidence:
manual, and thin. Unverified: ``*IDN?``, ports, beam block open at power-on, error numbers, power in
dBm, the text of an under-range, the motor's pace. Channel 1 stands on the optical table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registers import Refusal, Register, command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

CHANNELS = (1, 2)
STEP_S = 0.02
WORDS = {
    "OUTPut:ATTenuation": (0.0, 0.0, 70.0, ".4f"),
    "OUTPut:BBLock": (0, 0, 1, ""),
    "OUTPut:WAVelength": (1550.0, 1260.0, 1650.0, ".2f"),
    "OUTPut:POWer:OFFSet": (0.0, -100.0, 100.0, ".4f"),
    "SENSe:POWer:ATIMe": (100, 2, 5000, ""),
    "SENSe:POWer:OFFSet": (0.0, -100.0, 100.0, ".4f"),
}


@dataclass
class MvoaSettings(DeviceSettings):
    """db_per_s: of the motor.  input_dbm: at the inputs.  floor_dbm: below it, under-range."""

    db_per_s: float = 200.0
    input_dbm: float = -10.0
    floor_dbm: float = -80.0


class Mvoa(ScpiDevice):
    Settings = MvoaSettings
    WIRES = ("tcp", "serial")
    IDENTITY = "VIAVI,mVOA-C1,{serial},1.00"
    TICK_S = STEP_S
    REGISTERS = tuple(
        Register(f"{word} {n}", *figures) for n in CHANNELS for word, figures in WORDS.items()
    )

    def setup(self) -> None:
        super().setup()
        self._stuck = False
        self._at_db = dict.fromkeys(CHANNELS, 0.0)
        self.tick()

    def tick(self) -> None:
        step = self.config.db_per_s * STEP_S
        for n in CHANNELS:
            wanted = self.registers[f"OUTPut:ATTenuation {n}"]
            if not self._stuck:
                self._at_db[n] += min(max(wanted - self._at_db[n], -step), step)
        self.place.put("attenuation_db", self._at_db[1])
        self.place.put("blocked", float(self.registers["OUTPut:BBLock 1"]))

    def applied(self, name: str) -> None:
        self.tick()

    def state(self) -> dict[str, Any]:
        return {f"attenuation{n}_db": self._at_db[n] for n in CHANNELS}

    def dispatch(self, header: str, argument: str, session: Session) -> Any:
        """``HEADER channel,value`` and ``HEADER? channel``."""
        try:
            name, _ = self.find(header)
        except Refusal:
            return super().dispatch(header, argument, session)
        word = name.rpartition(" ")[0] or name
        if word not in WORDS:
            return super().dispatch(header, argument, session)
        channel, _, value = argument.partition(",")
        full = f"{word} {channel.strip()}"
        if full not in self.registers:
            raise Refusal("range", "no such channel")
        if header.endswith("?"):
            return self.registers.show(full)
        if not value.strip():
            raise Refusal("missing", header)
        self.change(full, value.strip())
        return None

    @command("FETCh:POWer:OUTPut?")
    def _power(self, argument: str, _: Session) -> str:
        n = int(argument) if argument.strip().isdigit() else 0
        if n not in CHANNELS:
            raise Refusal("range", "no such channel")
        dbm = self.config.input_dbm - self._at_db[n]
        if self.registers[f"OUTPut:BBLock {n}"]:
            dbm = -math.inf
        return f"{self.faults.drift(dbm):.4f}" if dbm > self.config.floor_dbm else "-----"

    @fault("motor-stuck", "the attenuators do not move")
    def _motor_stuck(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stuck = True
        return lambda: setattr(self, "_stuck", False)


REGISTRATION = Registration(
    "viavi-mvoa", "attenuator", Mvoa, "Viavi MAP-200 mVOA-C1, attenuators with beam blocks"
)
