"""Emulated Santec TSL-570: a tunable laser on LAN or a serial line, SCPI, replies end in CR.

Commands: pymeasure 0.16.0 (``instruments/santec``), QMI ``santec/tsl_570.py``, ``PyPI:pysantec``;
alert and error numbers as those quote the manual. Evidence: manual. Unverified, chosen here: number
formats, wording of alerts, limits 1480 … 1640 nm, speed of the motor, that a sweep needs light,
that each alert is told once (QMI reads until there is none), fine tuning 100 = 10 GHz, that
coherence control does not change the power.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from photonlink.firmware_sim.kit.laser import LaserDevice, dbm_of, mw_of, thz_of
from photonlink.firmware_sim.kit.registers import Refusal, Register, command, effect, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice, number
from photonlink.firmware_sim.kit.sweep import Sweep
from photonlink.firmware_sim.wires.session import Session

LOW_NM, HIGH_NM = 1480.0, 1640.0
FINE_NM = 0.0008  # per unit of fine tuning, about 0.1 GHz
SPEEDS = (1, 2, 5, 10, 20, 50, 100, 200)
SWEEP = ("STARt", "STOP", "MODe", "SPEed", "STEP", "DWELl", "DELay", "CYCLes")
OPPOSITE = {"MIN": "MAX", "MAX": "MIN", "MINIMUM": "MAX", "MAXIMUM": "MIN"}
"""The lowest frequency is that of the longest wavelength."""
Pair = tuple[Callable[[float], float], Callable[[float], float]]


def wavelength(name: str, value: float) -> Register:
    return Register(name, value, LOW_NM, HIGH_NM, ".4f", "nm")


class EmulatedTsl570(LaserDevice, ScpiDevice):
    """Stored are nm, THz steps and dBm; the units on the wire depend on the command set."""

    IDENTITY = "SANTEC,TSL-570,{serial},0001.000.0001"
    WIRES = ("tcp", "serial")
    REPLY_END = "\r"
    REGISTERS: ClassVar[tuple[Register, ...]] = (
        wavelength("WAVelength", 1550.0),
        wavelength("WAVelength:SWEep:STARt", 1500.0),
        wavelength("WAVelength:SWEep:STOP", 1600.0),
        Register("WAVelength:SWEep:STEP", 0.1, 0.0001, 160.0, ".4f", "nm"),
        Register("FREQuency:SWEep:STEP", 0.1, 0.00002, 20.0, ".5f", "THz"),
        Register("WAVelength:SWEep:SPEed", 10, choices=SPEEDS),
        Register("WAVelength:SWEep:MODe", 1, 0, 3),
        Register("WAVelength:SWEep:DWELl", 0.0, 0.0, 999.9, ".1f"),
        Register("WAVelength:SWEep:DELay", 0.0, 0.0, 999.9, ".1f"),
        Register("WAVelength:SWEep:CYCLes", 1, 0, 999),
        Register("WAVelength:FINe", 0.0, -100.0, 100.0, ".2f"),
        Register("WAVelength:UNIT", 0, 0, 1),
        Register("COHCtrl", 0, 0, 1),
        Register("POWer", 0.0, -15.0, 13.0, ".2f", "dBm"),
        Register("POWer:UNIT", 0, 0, 1),
        Register("POWer:STATe", 0, 0, 1, volatile=True),
        Register("POWer:SHUTter", 1, 0, 1, volatile=True),
        Register("SYSTem:COMMunicate:CODe", 0, 0, 1),
    )
    _booted_s = float("-inf")
    """It was warm when the program started."""
    _sweep_at_s = -1.0
    _repeat = False
    _count = 0

    def setup(self) -> None:
        super().setup()
        self._alerts, self._held = deque[str](maxlen=16), set[str]()

    # ---- units of the wire ---------------------------------------------------------------------

    def dispatch(self, header: str, argument: str, session: Session) -> Any:
        plain = header.lstrip(":").rstrip("?")
        if plain.startswith(("WAV:FREQ", "WAVELENGTH:FREQ")):  # QMI's form of the header
            plain = plain.partition(":")[2]
        if plain.startswith("FREQ") and not plain.endswith("STEP"):
            nodes = [OPPOSITE.get(node, node) for node in plain.split(":")[1:]]
            header = ":".join(["", "WAV", *nodes]) + ("?" if header.endswith("?") else "")
        show, take = self._units(plain, header)
        if argument and argument[:3].upper() not in ("MIN", "MAX", "DEF"):
            argument = self._stored(argument, take)
        reply = super().dispatch(header, argument, session)
        if show is not None and isinstance(reply, str):
            return f"{show(float(reply)):.9E}"
        return reply

    def _stored(self, argument: str, take: Callable[[float], float] | None) -> str:
        if take is None:
            return argument
        try:
            return repr(take(float(number(argument))))
        except (ValueError, ZeroDivisionError, OverflowError):
            raise Refusal("type", argument) from None

    def _units(self, plain: str, header: str) -> Pair | tuple[None, None]:
        """(unit on the wire, stored unit) of a header's number."""
        if header.startswith("*"):
            return None, None
        name = next((n for form, n in self._headers if form.match(":" + header.strip(":?"))), "")
        metres = bool(self.registers["SYSTem:COMMunicate:CODe"])
        if name in ("POWer", "POWer:ACTual") and self.registers["POWer:UNIT"]:
            return mw_of, dbm_of
        if "FREQ" in plain and name != "FREQuency:SWEep:STEP":
            hertz = 1e12 if metres else 1.0
            return (lambda nm: thz_of(nm) * hertz), (lambda f: thz_of(f / hertz))
        declared = self.registers.declared.get(name)
        if metres and (name.endswith("imum") or (declared and declared.unit in ("nm", "THz"))):
            factor = 1e12 if declared and declared.unit == "THz" else 1e-9
            return (lambda x: x * factor), (lambda x: x / factor)
        return None, None

    @reading("WAVelength:MINimum", "WAVelength:SWEep:RANGe:MINimum")
    def _shortest(self) -> str:
        return f"{LOW_NM:.4f}"

    @reading("WAVelength:MAXimum", "WAVelength:SWEep:RANGe:MAXimum")
    def _longest(self) -> str:
        return f"{HIGH_NM:.4f}"

    # ---- light ---------------------------------------------------------------------------------

    def asked(self) -> tuple[float, float]:
        r = self.registers
        lit = r["POWer:STATe"] and not r["POWer:SHUTter"]
        nm = self._swept_nm() + FINE_NM * r["WAVelength:FINe"]
        return mw_of(r["POWer"]) if lit else 0.0, nm

    def extinguish(self) -> None:
        self.registers.put("POWer:STATe", 0)
        self._sweep_at_s = -1.0

    def booted(self) -> None:
        self._sweep_at_s = -1.0

    def reboot(self) -> None:
        self._booted_s = self.clock.now_s()
        super().reboot()

    def change(self, name: str, value: Any) -> None:
        if name == "POWer:STATe" and self.blocked and str(value).strip() in ("1", "ON"):
            raise Refusal("level", "interlock", -200)
        super().change(name, value)

    @effect("WAVelength")
    def _tuned(self) -> None:
        self._sweep_at_s = -1.0

    @reading("POWer:ACTual")
    def _actual(self) -> str:
        return f"{self.faults.drift(dbm_of(self.power_mw)):.3f}"

    @command("WAVelength:FINe:DISable")
    def _no_fine(self, _: str, __: Session) -> None:
        self.change("WAVelength:FINe", 0.0)

    def shine(self) -> None:
        """As every laser's; what begins to hold becomes an alert, which is told once."""
        super().shine()
        cold = self.clock.now_s() - self._booted_s < self.config.warm_up_s
        begun = {"No07.,Interlock": self.blocked, "No23.,Warm up": cold}
        for text, holds in begun.items():
            if holds and text not in self._held:
                self._alerts.append(text)
        self._held = {text for text, holds in begun.items() if holds}

    @command("SYSTem:ALERt?")
    def _next_alert(self, _: str, __: Session) -> str:
        return self._alerts.popleft() if self._alerts else "No alerts."

    # ---- sweep ---------------------------------------------------------------------------------

    def _swept_nm(self) -> float:
        """Where the sweep is now; without one, the wavelength that was set."""
        if self._sweep_at_s >= 0:
            start, stop, mode, speed, step, dwell, delay, cycles = (
                self.registers[f"WAVelength:SWEep:{key}"] for key in SWEEP
            )
            stepped = mode % 2 == 0
            sweep = Sweep(start, stop, speed, step * stepped, dwell, mode >= 2, delay,
                          0 if self._repeat else max(cycles, 1))  # fmt: skip
            nm, self._count, ended = sweep.at(self.clock.now_s() - self._sweep_at_s)
            if not ended:
                return nm
            self._sweep_at_s = -1.0
            self.registers.put("WAVelength", nm)
        return float(self.registers["WAVelength"])

    @command("WAVelength:SWEep[:STATe]")
    def _sweep(self, argument: str, _: Session) -> None:
        if argument not in ("0", "1"):
            raise Refusal("range", argument)
        self._begin(argument == "1", repeat=False)

    @command("WAVelength:SWEep:REPeat")
    def _sweep_on(self, _: str, __: Session) -> None:
        self._begin(True, repeat=True)

    @command("WAVelength:SWEep[:STATe]?")
    def _sweep_state(self, _: str, __: Session) -> str:
        self.shine()
        return "1" if self._sweep_at_s >= 0 else "0"

    @command("WAVelength:SWEep:COUNt?")
    def _swept(self, _: str, __: Session) -> str:
        return str(self._count)

    def _begin(self, on: bool, *, repeat: bool) -> None:
        if on and not self.registers["POWer:STATe"]:
            raise Refusal("level", "no light", -200)
        self._sweep_at_s = self.clock.now_s() if on else -1.0
        self._repeat, self._count = repeat, 0


REGISTRATION = Registration(
    "santec-tsl570", "pump", EmulatedTsl570, "Santec TSL-570, tunable laser"
)
