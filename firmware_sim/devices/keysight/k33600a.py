"""Emulated Keysight 33600A: two-channel waveform generator on SCPI (TCP 5025).

Commands: Keysight's 33500/33600 series programming guide as ``pymeasure`` 0.16.0 uses it
(``Agilent33500``). Evidence: manual. Unverified, chosen here: the error number of a name that
exists, arbitrary waveforms as text only (no binary blocks), no bursts, triggers or modulation:
those words are accepted where pymeasure has them and change nothing. Channel
``modulator_channel``, into 50 ohm behind an amplifier, drives the modulator at its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.registers import Refusal, Register, command, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

CHANNELS = (1, 2)
FEWEST, MOST, FULL_SCALE = 8, 65_536, 32_767
OPEN_OHM = 9.9e37
SHAPES = ("SIN", "SQU", "TRI", "RAMP", "PULS", "PRBS", "NOIS", "ARB", "DC")


@dataclass
class K33600aSettings(DeviceSettings):
    """modulator_channel: the output that drives it.  amplifier: volts per volt in between."""

    modulator_channel: int = 1
    amplifier: float = 1.0


def _channel(n: int) -> tuple[Register, ...]:
    source = f"SOURce{n}"
    return (
        Register(f"{source}:FUNCtion", "SIN", choices=SHAPES),
        Register(f"{source}:FREQuency", 1e3, 1e-6, 120e6, ".6E", "Hz"),
        Register(f"{source}:VOLTage", 0.1, 1e-3, 10.0, ".6E", "V"),
        Register(f"{source}:VOLTage:UNIT", "VPP", choices=("VPP", "VRMS", "DBM")),
        Register(f"{source}:VOLTage:OFFSet", 0.0, -5.0, 5.0, ".6E", "V"),
        Register(f"{source}:PHASe", 0.0, -360.0, 360.0, ".6E"),
        Register(f"{source}:FUNCtion:ARBitrary:SRATe", 40e3, 1e-6, 1e9, ".6E"),
        Register(f"{source}:FUNCtion:ARBitrary:ADVance", "SRAT", choices=("TRIG", "SRAT")),
        Register(f"{source}:FUNCtion:ARBitrary:FILTer", "NORM", choices=("NORM", "STEP", "OFF")),
        Register(f"{source}:BURSt:STATe", 0, 0, 1),
        Register(f"{source}:BURSt:NCYCles", 1.0, 1.0, 1e8, ".6E"),
        Register(f"OUTPut{n}[:STATe]", 0, 0, 1),
    )


class K33600a(ScpiDevice):
    Settings = K33600aSettings
    WIRES = ("tcp", "serial")
    IDENTITY = "Keysight Technologies,33622A,{serial},A.02.03-3.15-03-64-02"
    COMMAND_LIMIT = 1 << 20
    REGISTERS = tuple(register for n in CHANNELS for register in _channel(n))

    def make_serial(self, seed: int) -> str:
        return f"MY{seed % 10**8:08}"

    def setup(self) -> None:
        super().setup()
        self.booted()
        self.applied("")

    def booted(self) -> None:
        self.waveforms: dict[int, dict[str, list[float]]] = {n: {} for n in CHANNELS}
        self.selected = dict.fromkeys(CHANNELS, "EXP_RISE")
        self.load_ohm = dict.fromkeys(CHANNELS, 50.0)
        for n in CHANNELS:
            self.registers.put(f"OUTPut{n}[:STATe]", 0)

    def safe_off(self) -> None:
        for n in CHANNELS:
            self.registers.put(f"OUTPut{n}[:STATe]", 0)
        self.applied("")

    def state(self) -> dict[str, Any]:
        on = {f"output{n}": bool(self.registers[f"OUTPut{n}[:STATe]"]) for n in CHANNELS}
        return on | {"output": any(on.values())}

    # ---- light ---------------------------------------------------------------------------------

    def samples(self, n: int) -> list[float]:
        """One period of what channel n plays, ±1."""
        shape = self.registers[f"SOURce{n}:FUNCtion"]
        if shape == "ARB":
            return self.waveforms[n].get(self.selected[n], [0.0])
        turns = [i / 64 for i in range(64)]
        if shape == "SIN":
            return [math.sin(2.0 * math.pi * t) for t in turns]
        if shape in ("SQU", "PULS", "PRBS"):
            return [1.0, -1.0]
        return [0.0] if shape == "DC" else [2.0 * t - 1.0 for t in turns]

    def applied(self, name: str) -> None:
        """The amplitude is meant into LOAD; the modulator's input has 50 ohm."""
        n, r = self.config.modulator_channel, self.registers
        if not r[f"OUTPut{n}[:STATe]"]:
            self.place.play(())
            self.place.put("drive_v", 0.0)
            return
        into = (self.load_ohm[n] + 50.0) / self.load_ohm[n] / 2.0
        gain = self.config.amplifier * into
        half_v, offset_v = r[f"SOURce{n}:VOLTage"] / 2.0, r[f"SOURce{n}:VOLTage:OFFSet"]
        self.place.play((1.0, gain * (half_v * x + offset_v)) for x in self.samples(n))

    # ---- words ---------------------------------------------------------------------------------

    @staticmethod
    def _known(n: int) -> int:
        if n not in CHANNELS:
            raise Refusal("unknown", "no such channel")
        return n

    @command("OUTPut#:LOAD")
    def _set_load(self, argument: str, _: Session, n: int) -> None:
        word = argument.strip().upper()
        try:
            ohm = OPEN_OHM if word.startswith("INF") else float(word)
        except ValueError:
            raise Refusal("type", "no impedance") from None
        if not (1.0 <= ohm <= 10e3 or ohm == OPEN_OHM):
            raise Refusal("range", "1 ohm … 10 kohm, INF")
        if not self.faults.use("ignore-sets"):
            self.load_ohm[self._known(n)] = ohm
            self.applied("")

    @reading("OUTPut#:LOAD")
    def _get_load(self, n: int) -> str:
        return f"{self.load_ohm[self._known(n)]:.6E}"

    @command("SOURce#:DATA:VOLatile:CLEar")
    def _clear(self, _: str, __: Session, n: int) -> None:
        self.waveforms[self._known(n)].clear()
        self.applied("")

    @command("SOURce#:DATA:ARBitrary")
    def _floats(self, argument: str, _: Session, n: int) -> None:
        self._store(n, argument, 1.0)

    @command("SOURce#:DATA:ARBitrary:DAC")
    def _dac(self, argument: str, _: Session, n: int) -> None:
        self._store(n, argument, FULL_SCALE)

    def _store(self, n: int, argument: str, full: float) -> None:
        name, *numbers = (word.strip() for word in argument.split(","))
        if name in self.waveforms[self._known(n)]:
            raise Refusal("range", "Specified arb waveform already exists", 786)
        try:
            points = [float(word) / full for word in numbers]
        except ValueError:
            raise Refusal("type", "no point") from None
        if not FEWEST <= len(points) <= MOST or not all(-1.0 <= x <= 1.0 for x in points):
            raise Refusal("range", "8…65536 points within full scale")
        self.waveforms[n][name] = points

    @command("SOURce#:FUNCtion:ARBitrary")
    def _select(self, argument: str, _: Session, n: int) -> None:
        name = argument.strip().strip("\"'")
        if name not in self.waveforms[self._known(n)]:
            raise Refusal("range", "Specified arb waveform does not exist", 785)
        self.selected[n] = name
        self.applied("")

    @reading("SOURce#:FUNCtion:ARBitrary")
    def _selected(self, n: int) -> str:
        return f'"{self.selected[self._known(n)]}"'

    @command("SYSTem:BEEPer", "*TRG")
    def _beep(self, _: str, __: Session) -> None:
        return None


REGISTRATION = Registration(
    "keysight-33600a", "modulator", K33600a, "Keysight 33600A, two-channel waveform generator"
)
