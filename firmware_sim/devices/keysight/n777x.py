"""Emulated Keysight N7776C: a tunable laser on LAN, SCPI.

Commands: pymeasure 0.16.0, ``instruments/keysight/keysightN7776C.py``. Evidence: manual.
Unverified, chosen here: number formats, ranges, what a refused switch puts into the error queue
(-200), that an open interlock reads as laser off, that ``POW?`` answers in W or dBm after the unit,
points of the log.
"""

from __future__ import annotations

import struct
from typing import Any

from photonlink.firmware_sim.kit.laser import LaserDevice, dbm_of, mw_of
from photonlink.firmware_sim.kit.registers import Refusal, Register, command
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice, block, number
from photonlink.firmware_sim.kit.sweep import Sweep
from photonlink.firmware_sim.wires.session import Session

LOW_M, HIGH_M = 1480e-9, 1620e-9
CODE = "1234"
SWEEP = "SOURce#:WAVelength:SWEep"
CHECKS = {0: "OK", 368: "LambdaStop <= LambdaStart"}


def metres(name: str, value: float, low: float = LOW_M, high: float = HIGH_M) -> Register:
    return Register(name, value, low, high, "+.8E", "m")


class EmulatedN777x(LaserDevice, ScpiDevice):
    """Slot 0 is the laser."""

    IDENTITY = "Keysight Technologies,N7776C,{serial},1.000"
    WIRES = ("tcp",)
    REGISTERS = (
        Register("SOURce#:POWer:STATe", 0, 0, 1, volatile=True),
        Register("SOURce#:POWer:UNIT", 0, 0, 1),
        metres("SOURce#:WAVelength[:CW]", 1550e-9),
        metres(f"{SWEEP}:STARt", 1530e-9),
        metres(f"{SWEEP}:STOP", 1565e-9),
        metres(f"{SWEEP}:STEP[:WIDTh]", 1e-10, 1e-13, HIGH_M - LOW_M),
        metres(f"{SWEEP}:SPEed", 5e-8, 5e-10, 2e-7),
        Register(f"{SWEEP}:MODE", "STEP", choices=("STEP", "MAN", "CONT")),
        Register(f"{SWEEP}:REPeat", "ONEW", choices=("ONEW", "TWOW")),
        Register(f"{SWEEP}:LLOGging", 0, 0, 1),
        Register(f"{SWEEP}:CYCLes", 1, 0, 999),
        Register("TRIGger#:OUTPut", "DIS", choices=("DIS", "STF", "SWF", "SWST")),
        Register("TRIGger#:INPut", "IGN", choices=("IGN", "NEXT", "SWS")),
    )

    def setup(self) -> None:
        super().setup()
        self._power_dbm, self._locked = 0.0, False
        self._sweep_at_s, self._paused = -1.0, False
        self._log: list[float] = []

    def dispatch(self, header: str, argument: str, session: Session) -> Any:
        argument = argument.replace("nm/s", "NM").replace("NM/S", "NM").strip()
        return super().dispatch(header, argument, session)

    # ---- light ---------------------------------------------------------------------------------

    def asked(self) -> tuple[float, float]:
        lit = self.registers["SOURce#:POWer:STATe"]
        return mw_of(self._power_dbm) if lit else 0.0, self._swept_m() * 1e9

    def extinguish(self) -> None:
        self.registers.put("SOURce#:POWer:STATe", 0)
        self._sweep_at_s = -1.0

    def booted(self) -> None:
        self._power_dbm, self._locked, self._sweep_at_s = 0.0, False, -1.0

    def change(self, name: str, value: Any) -> None:
        on = name == "SOURce#:POWer:STATe" and str(value).strip() in ("1", "ON")
        if on and (self.blocked or self._locked):
            raise Refusal("level", "laser is locked", -200)
        super().change(name, value)

    @command("SOURce#:POWer[:LEVel][:IMMediate][:AMPLitude]")
    def _set_power(self, argument: str, _: Session, *__: int) -> None:
        text = argument.upper().replace(" ", "")
        try:
            if text.endswith("DBM"):
                dbm = float(text[:-3])
            elif text.endswith("W"):
                dbm = dbm_of(float(number(argument, "W")) * 1e3)
            else:
                watts = self.registers["SOURce#:POWer:UNIT"]
                dbm = dbm_of(float(text) * 1e3) if watts else float(text)
        except (ValueError, OverflowError):
            raise Refusal("type", argument) from None
        if not -20.0 <= dbm <= 13.0:
            raise Refusal("range", argument)
        if not self.faults.use("ignore-sets"):
            self._power_dbm = dbm
            self.shine()

    @command("SOURce#:POWer[:LEVel][:IMMediate][:AMPLitude]?")
    def _power(self, _: str, __: Session, *___: int) -> str:
        watts = self.registers["SOURce#:POWer:UNIT"]
        return f"{mw_of(self._power_dbm) * 1e-3 if watts else self._power_dbm:+.8E}"

    @command("LOCK")
    def _lock(self, argument: str, _: Session) -> None:
        state, _comma, code = argument.partition(",")
        if state.strip() not in ("0", "1") or code.strip() != CODE:
            raise Refusal("level", "wrong code", -200)
        if self.faults.use("ignore-sets"):
            return
        self._locked = state.strip() == "1"
        if self._locked:
            self.extinguish()
        self.shine()

    @command("LOCK?")
    def _is_locked(self, _: str, __: Session) -> str:
        return str(int(self._locked))

    # ---- sweep ---------------------------------------------------------------------------------

    def _swept_m(self) -> float:
        """Where the sweep is now; without one, the wavelength that was set."""
        r = self.registers
        start, stop, speed = r[f"{SWEEP}:STARt"], r[f"{SWEEP}:STOP"], r[f"{SWEEP}:SPEed"]
        if self._sweep_at_s < 0:
            return float(r["SOURce#:WAVelength[:CW]"])
        now_m, _, ended = Sweep(start, stop, speed).at(self.clock.now_s() - self._sweep_at_s)
        if ended:
            self._sweep_at_s = -1.0
            r.put("SOURce#:WAVelength[:CW]", stop)
            step = r[f"{SWEEP}:STEP[:WIDTh]"]
            points = min(int((stop - start) / step + 1.5), 100_000)
            self._log = [start + i * step for i in range(points)]
        return now_m

    def _check(self) -> int:
        return 368 if self.registers[f"{SWEEP}:STOP"] <= self.registers[f"{SWEEP}:STARt"] else 0

    @command(f"{SWEEP}[:STATe]")
    def _sweep(self, argument: str, _: Session, *__: int) -> None:
        if argument.upper() not in ("0", "1", "2", "STOP", "STAR", "PAUS"):
            raise Refusal("range", argument)
        if argument.upper() in ("1", "STAR"):
            if self._check() or not self.registers["SOURce#:POWer:STATe"]:
                raise Refusal("level", "sweep cannot start", -200)
            self._sweep_at_s = self.clock.now_s()
        else:
            self.registers.put("SOURce#:WAVelength[:CW]", self._swept_m())
            self._sweep_at_s = -1.0
        self._paused = argument.upper() in ("2", "PAUS")

    @command(f"{SWEEP}[:STATe]?")
    def _sweep_state(self, _: str, __: Session, *___: int) -> str:
        self.shine()
        return "+1" if self._sweep_at_s >= 0 else "+2" if self._paused else "+0"

    @command(f"{SWEEP}:CHECk?")
    def _consistent(self, _: str, __: Session, *___: int) -> str:
        return f"{self._check()},{CHECKS[self._check()]}"

    @command(f"{SWEEP}:STEP:NEXT")
    def _next(self, _: str, __: Session, *___: int) -> None:
        self._move(1.0)

    @command(f"{SWEEP}:STEP:PREVious")
    def _previous(self, _: str, __: Session, *___: int) -> None:
        self._move(-1.0)

    def _move(self, sign: float) -> None:
        name, step = "SOURce#:WAVelength[:CW]", self.registers[f"{SWEEP}:STEP[:WIDTh]"]
        self.change(name, self.registers[name] + sign * step)

    @command("SOURce#:READout:POINts?")
    def _points(self, _: str, __: Session, *___: int) -> str:
        return f"+{len(self._log)}"

    @command("SOURce#:READout:DATA?")
    def _data(self, _: str, __: Session, *___: int) -> bytes:
        return block(struct.pack(f"<{len(self._log)}d", *self._log))


REGISTRATION = Registration(
    "keysight-n777x", "pump", EmulatedN777x, "Keysight N7776C, tunable laser"
)
