"""Emulated OZ Optics EPC: four fibre squeezers on a serial line.

Commands are those of ``pylablib`` 1.4.5 (EPC04) and QMI 0.54.2 (``epc_driver.py``, which quotes
replies). Evidence: manual. Unverified, chosen here: what a set answers before ``Done`` (the command
itself), the text of ``VF?``, that scrambling turns each squeezer about its voltage by ±5 V, the
squeezers' axes (0°, 45°, 0°, 45°) and ``deg_per_v``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.devices.ozoptics.oz import OzLine
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registers import Refusal, Register
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

CHANNELS = (1, 2, 3, 4)
TOP_MV, BOTTOM_MV = 5000, -5000


@dataclass
class EpcSettings(DeviceSettings):
    """deg_per_v: retardance of a squeezer per volt."""

    deg_per_v: float = 90.0


class Epc(OzLine):
    """Voltages (DC) or scrambling (AC), per channel when DC-in-AC is enabled."""

    Settings = EpcSettings
    TICK_S = 0.01
    REGISTERS = (
        *(Register(f"v{n}", 0, BOTTOM_MV, TOP_MV, unit="mV") for n in CHANNELS),
        *(Register(f"f{n}", 0, 0, 100, unit="Hz") for n in CHANNELS),
        *(Register(f"dc{n}", False) for n in CHANNELS),
        Register("mode", "DC", choices=("DC", "AC")),
        Register("waveform", "Sine", choices=("Sine", "Triangle")),
        Register("dc-in-ac", False),
    )

    def setup(self) -> None:
        for n in CHANNELS:
            self.place.put(f"angle{n}_deg", 0.0 if n % 2 else 45.0)
        self._dead = 0
        self.tick()

    def _scrambles(self, n: int) -> bool:
        r = self.registers
        return bool(r["mode"] == "AC" and not (r["dc-in-ac"] and r[f"dc{n}"]))

    def tick(self) -> None:
        for n in CHANNELS:
            volts = self.registers[f"v{n}"] / 1000.0
            if self._scrambles(n):
                phase = (self.clock.now_s() * self.registers[f"f{n}"]) % 1.0
                swing = math.sin(2.0 * math.pi * phase)
                if self.registers["waveform"] == "Triangle":
                    swing = 1.0 - 4.0 * abs(phase - 0.5)
                volts = 5.0 * swing
            if n != self._dead:
                self.place.put(f"retardance{n}_deg", volts * self.config.deg_per_v)

    def applied(self, name: str) -> None:
        self.tick()

    def state(self) -> dict[str, Any]:
        return {f"voltage{n}_v": self.registers[f"v{n}"] / 1000.0 for n in CHANNELS}

    def answer(self, line: str, session: Session) -> str:
        word, r = line.upper(), self.registers
        if word == "V?":
            return "Voltage(mV): " + " ".join(
                f"CH{n} {round(self.faults.drift(r[f'v{n}'])):+05d}" for n in CHANNELS
            )
        if word == "F?":
            return "Frequency(Hz): " + "  ".join(f"CH{n} {r[f'f{n}']:03d}" for n in CHANNELS)
        if word == "M?":
            return f"Operating Mode: {r['mode']}"
        if word == "WF?":
            return f"AC Waveform: {r['waveform']}"
        if word == "VF?":
            state = "enabled" if r["dc-in-ac"] else "disabled"
            kinds = " ".join(f"CH{n}-{'V' if r[f'dc{n}'] else 'F'}" for n in CHANNELS)
            return f"DC in AC mode {state}: {kinds}"
        self._obey(word)
        return line

    def _obey(self, word: str) -> None:
        fixed = {
            "MAC": ("mode", "AC"), "MDC": ("mode", "DC"), "WF1": ("waveform", "Sine"),
            "WF2": ("waveform", "Triangle"), "ENVF1": ("dc-in-ac", True),
            "ENVF0": ("dc-in-ac", False),
        }  # fmt: skip
        if word in fixed:
            self.change(*fixed[word])
        elif found := re.fullmatch(r"([VF])([1-4]),([+-]?\d{1,6})", word):
            self.change(f"{found[1].lower()}{found[2]}", int(found[3]))
        elif found := re.fullmatch(r"V([HLZ])([1-4])", word):
            self.change(f"v{found[2]}", {"H": TOP_MV, "L": BOTTOM_MV, "Z": 0}[found[1]])
        elif found := re.fullmatch(r"VF([1-4])", word):
            self.change(f"dc{found[1]}", not self.registers[f"dc{found[1]}"])
        elif word == "SAVE":
            self.registers.save()
        else:
            raise Refusal("unknown", "unknown command")

    @fault("squeezer-dead", "squeezer `channel` does not follow its voltage", "channel")
    def _squeezer(self, order: Mapping[str, Any]) -> Callable[[], object]:
        self._dead = int(order.get("channel", 1))
        return lambda: setattr(self, "_dead", 0)


REGISTRATION = Registration(
    "ozoptics-epc", "waveplates", Epc, "OZ Optics EPC, electric polarization controller"
)
