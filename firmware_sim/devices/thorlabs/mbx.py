"""Emulated Thorlabs MBX: bias controller of a modulator, with a variable attenuator.

Commands, ranges and errors: Thorlabs' remote guide of the MX, MBX and TLX series (TTN116413-D04 rev
E), ``pymeasure`` 0.16.0. Evidence: manual. ``ack``: which sets are answered with ``1``: all (the
guide), those that pymeasure waits for, or none. Unverified, chosen here: the identity texts, the
time of a calibration, that hold modes keep the voltage of the lock, the tap powers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register, command, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import pattern
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

OFF, PEAK, NULL, QUAD_POS, QUAD_NEG, HOLD_POS, HOLD_NEG, MANUAL, POWER_POS, POWER_NEG = range(10)
ERRORS = {
    "unknown": "Undefined header", "range": "Data out of range", "type": "Data type error",
    "absent": "Feature not present",
}  # fmt: skip
ABSENT = ("LAS", "AMP")


@dataclass
class MbxSettings(DeviceSettings):
    """ack: all, pymeasure or none.  reply_end: of replies.  input_mw: light at the input.
    calibration_s: of a new bias mode."""

    ack: str = "all"
    reply_end: str = "\n"
    input_mw: float = 1.0
    calibration_s: float = 0.3


class Mbx(LineDevice):
    Settings = MbxSettings
    WIRES = ("serial", "tcp")
    TICK_S = 0.05
    WORLD = (("drift_v", float),)
    REGISTERS = (
        Register("MZM:MODE", OFF, 0, 9),
        Register("MZM:HOLD:VOLTAGE", 0, -10_000, 10_000, unit="mV"),
        Register("MZM:HOLD:RATIO", 1000, 250, 10_000),
        Register("MZM:Dither:AMPL", 200, 20, 2000, unit="mV"),
        Register("MZM:Dither:FREQ", 3000, 1000, 10_000, unit="Hz"),
        Register("VOA:POWER", 0, 0, 1),
        Register("VOA:MODE", 0, 0, 1),
        Register("VOA:ATTEN", 0.5, 0.5, 20.0, ".2f", "dB"),
        Register("VOA:OUTPUT:MW", 0.1, 0.01, 100.0, ".4f", "mW"),
        Register("RGB:POWER", 2, 0, 2),
        *(Register(f"RGB:{colour}", 50, 0, 100) for colour in ("RED", "GREEN", "BLUE", "WHITE")),
        Register("SYStem:WAVElength", 1550, choices=(1310, 1550, 1590)),
    )

    def setup(self) -> None:
        self._headers = [
            (pattern(name), name) for name in (*self.registers, *self._readings, *self._commands)
        ]
        self.drift_v = 0.0
        self._unlocked = False
        self.booted()
        self.applied("")

    def booted(self) -> None:
        self._ready_s, self._locked_v = self.clock.now_s(), 0.0

    def safe_off(self) -> None:
        self.registers.put("MZM:MODE", OFF)

    def state(self) -> dict[str, Any]:
        return {"mode": self.registers["MZM:MODE"], "attenuation_db": self._attenuation_db()}

    # ---- light ---------------------------------------------------------------------------------

    def _attenuation_db(self) -> float:
        """Without drive the attenuator falls to its minimum."""
        r = self.registers
        if not r["VOA:POWER"]:
            return 0.5
        if r["VOA:MODE"] == 0:
            return float(r["VOA:ATTEN"])
        wanted = 10.0 * math.log10(self.config.input_mw / r["VOA:OUTPUT:MW"])
        return min(max(wanted, 0.5), 20.0)

    def applied(self, name: str) -> None:
        if name in ("MZM:MODE", "MZM:HOLD:RATIO"):
            self._ready_s = self.clock.now_s() + self.config.calibration_s
        self.tick()

    def tick(self) -> None:
        """The modulator drifts; the automatic modes follow it."""
        mode = self.registers["MZM:MODE"]
        vpi_v, peak_v = self.place.get("vpi_v"), self.drift_v
        self.place.put("peak_v", peak_v)
        ratio = min(100.0 / self.registers["MZM:HOLD:RATIO"], 1.0)
        from_power = 2.0 * vpi_v / math.pi * math.acos(math.sqrt(ratio))
        away = {PEAK: 0.0, NULL: vpi_v, QUAD_POS: vpi_v / 2, QUAD_NEG: -vpi_v / 2,
                POWER_POS: from_power, POWER_NEG: -from_power}  # fmt: skip
        if mode in away and not self._unlocked:
            self._locked_v = peak_v + away[mode]
        elif mode == MANUAL:
            self._locked_v = self.registers["MZM:HOLD:VOLTAGE"] / 1000.0
        elif mode == OFF:
            self._locked_v = 0.0
        self.place.put("bias_v", min(max(self._locked_v, -10.0), 10.0))
        self.place.put("insertion_db", self._attenuation_db())

    @fault("unlocked", "the bias no longer follows the modulator")
    def _unlock(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._unlocked = True
        return lambda: setattr(self, "_unlocked", False)

    # ---- grammar -------------------------------------------------------------------------------

    def encode(self, reply: str) -> bytes:
        return f"{reply}{self.config.reply_end}".encode("utf-8", "replace")

    def refused(self, refusal: Refusal, line: str, session: Session) -> str:
        return f"Err: {ERRORS.get(refusal.kind, 'Execution error')}"

    def answer(self, line: str, session: Session) -> Any:
        if line.endswith("?"):
            name = self._find(line[:-1])
            if name in self._commands:
                raise Refusal("unknown", line)
            return self.show(name)
        head, _, argument = line.rpartition(":")
        try:
            name = self._find(line)
            argument = ""
        except Refusal:
            name = self._find(head)
        if name in self._commands:
            getattr(self, self._commands[name])(argument, session)
        elif argument.strip():
            self.change(name, argument.strip())
        else:
            raise Refusal("type", line)
        acked = {"all": True, "pymeasure": name in ("VOA:MODE", "MZM:RESET")}
        return "1" if acked.get(self.config.ack) else None

    def _find(self, header: str) -> str:
        plain = ":" + header.strip().upper()
        if plain[1:4] in ABSENT:
            raise Refusal("absent", header)
        for form, name in self._headers:
            if form.match(plain):
                return str(name)
        raise Refusal("unknown", header)

    @command("MZM:RESET")
    def _calibrate(self, _: str, __: Session) -> None:
        self._ready_s = self.clock.now_s() + self.config.calibration_s

    @command("SYStem:SLEEP", "SYStem:WAKE")
    def _sleep(self, _: str, __: Session) -> None:
        return None

    @command("SYStem:RESTART")
    def _restart(self, _: str, __: Session) -> None:
        self.reboot()

    @reading("SYStem:MODEL")
    def _model(self) -> str:
        return "MBX1550"

    @reading("SYStem:SERial")
    def _serial_text(self) -> str:
        return self.serial_number

    @reading("SYStem:FIRMware")
    def _firmware(self) -> str:
        return "1.9.4"

    @reading("SYStem:HARDware")
    def _hardware(self) -> str:
        return "A"

    @reading("MZM:CALIBRATING")
    def _calibrating(self) -> str:
        return str(int(self.clock.now_s() < self._ready_s))

    @reading("MZM:SETPOINT")
    def _locked(self) -> str:
        good = self.registers["MZM:MODE"] != OFF and not self._unlocked
        return str(int(good and self.clock.now_s() >= self._ready_s))

    @reading("MZM:VOLTAGE")
    def _voltage(self) -> float:
        return float(self.place.get("bias_v"))

    @reading("MZM:TAP:MW")
    def _tap_mw(self) -> float:
        return float(self.config.input_mw * self.place.transmission(0.0))

    @reading("MZM:TAP:DBM")
    def _tap_dbm(self) -> float:
        return 10.0 * math.log10(max(self._tap_mw(), 1e-9))

    @reading("VOA:MEASURED")
    def _measured(self) -> float:
        return self._attenuation_db()

    @reading("VOA:ERROR")
    def _error(self) -> float:
        return 0.0

    @reading("VOA:SETPOINT")
    def _reached(self) -> str:
        return str(self.registers["VOA:POWER"])

    @reading("VOA:TAP:MW")
    def _voa_mw(self) -> float:
        return self._tap_mw() * math.pow(10.0, -self._attenuation_db() / 10.0)


REGISTRATION = Registration(
    "thorlabs-mbx", "modulator", Mbx, "Thorlabs MBX, modulator bias controller with attenuator"
)
