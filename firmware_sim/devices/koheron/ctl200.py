"""Emulated Koheron CTL200: driver of a butterfly laser and its cooler, on a serial line.

Commands: ``Veriqloud/kiwi_hw_control`` 23f2c1b, ``remote/lib/laser/koheron_control.py``: the
command is echoed, one line answers. Evidence: manual. Unverified, chosen here: a set answers the
value, refusals (``Error: …``), number formats, limits, the bits of ``err`` (1 interlock, 2
temperature), that an open interlock switches off and the diode then stays off. Thermistor 10 kOhm,
B = 3900 K.
"""

from __future__ import annotations

import math
from typing import Any

from photonlink.firmware_sim.kit.diode import DiodeDevice
from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register, effect, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.wires.session import Session

R25_OHM, BETA_K, KELVIN_25, KELVIN_0 = 10_000.0, 3_900.0, 298.15, 273.15
INTERLOCK, TEMPERATURE = 1, 2


def celsius_of(ohm: float) -> float:
    return 1.0 / (1.0 / KELVIN_25 + math.log(ohm / R25_OHM) / BETA_K) - KELVIN_0


def ohm_of(celsius: float) -> float:
    return R25_OHM * math.exp(BETA_K * (1.0 / (celsius + KELVIN_0) - 1.0 / KELVIN_25))


class EmulatedCtl200(DiodeDevice, LineDevice):
    """``name`` asks, ``name value`` sets."""

    WIRES = ("serial", "tcp")
    REGISTERS = (
        Register("lason", 0, 0, 1, volatile=True),
        Register("ilaser", 0.0, 0.0, 250.0, ".3f", "mA"),
        Register("ilmax", 200.0, 0.0, 250.0, ".3f", "mA"),
        Register("ldelay", 0, 0, 60_000, unit="ms"),
        Register("lckon", 1, 0, 1),
        Register("tecon", 0, 0, 1),
        Register("rtset", 10_000.0, 1000.0, 100_000.0, ".2f"),
        Register("pgain", 1.0, 0.0, 1000.0, ".4f"),
        Register("igain", 0.1, 0.0, 1000.0, ".4f"),
        Register("dgain", 0.0, 0.0, 1000.0, ".4f"),
        Register("tilim", 1.0, 0.0, 1.5, ".3f", "A"),
        Register("vtmin", -2.0, -5.0, 0.0, ".3f", "V"),
        Register("vtmax", 2.0, 0.0, 5.0, ".3f", "V"),
        Register("tprot", 0, 0, 1),
        Register("vldauto", 1, 0, 1),
        Register("brate", 115_200, 9_600, 1_000_000),
        Register("userdata", "0"),
    )

    def setup(self) -> None:
        self.warm()
        self._errors = 0
        self._on_s = -1.0

    def answer(self, line: str, session: Session) -> Any:
        name, _, value = line.partition(" ")
        name, value = name.lower(), value.strip()
        return f"{line}{self.REPLY_END}{self._reply(name, value)}"

    def refused(self, refusal: Refusal, line: str, session: Session) -> str:
        word = "unknown command" if refusal.kind == "unknown" else "invalid value"
        return f"{line}{self.REPLY_END}Error: {word}"

    def _reply(self, name: str, value: str) -> str:
        if name == "save":
            self.registers.save()
            return "0"
        if name == "errclr":
            self._errors = 0
            return "0"
        if value:
            if name == "lason" and value == "1" and (self.blocked or self._hot_now):
                raise Refusal("range", name)
            if name == "ilaser" and name in self.registers:
                accepted = self.registers.declared[name].accept(value)
                if accepted > self.registers["ilmax"]:
                    raise Refusal("range", name)
            self.change(name, value)
        return self.show(name)

    # ---- light ---------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        return super().blocked and bool(self.registers["lckon"])

    @property
    def _hot_now(self) -> bool:
        return bool(self.temperature_c > self.config.hot_c)

    def diode_ma(self) -> float:
        r = self.registers
        due = self.clock.now_s() - self._on_s >= r["ldelay"] / 1000.0
        return float(min(r["ilaser"], r["ilmax"])) if r["lason"] and due else 0.0

    def set_point_c(self) -> float | None:
        return celsius_of(self.registers["rtset"]) if self.registers["tecon"] else None

    def extinguish(self) -> None:
        if self.registers["lason"]:
            self._errors |= INTERLOCK if self.blocked else 0
            self._errors |= TEMPERATURE if self._hot_now else 0
        self.registers.put("lason", 0)

    @effect("lason")
    def _switched(self) -> None:
        self._on_s = self.clock.now_s()

    # ---- readings ------------------------------------------------------------------------------

    @reading("model")
    def _model(self) -> str:
        return "CTL200-1"

    @reading("serial")
    def _serial_text(self) -> str:
        return self.serial_number

    @reading("version")
    def _version(self) -> str:
        return "V0.13"

    @reading("err")
    def _err(self) -> str:
        return str(self._errors | (INTERLOCK if self.blocked else 0))

    @reading("tboard")
    def _board_c(self) -> float:
        return self.ambient_c + 8.0

    @reading("ilmon")
    def _measured_ma(self) -> float:
        return self.diode_ma()

    @reading("vlaser")
    def _diode_v(self) -> float:
        return 0.9 + 0.004 * self.diode_ma() if self.diode_ma() else 0.0

    @reading("iphd")
    def _photodiode(self) -> float:
        return self.photodiode_ma

    @reading("rtact")
    def _thermistor_ohm(self) -> float:
        return ohm_of(self.temperature_c)

    @reading("itec")
    def _tec_a(self) -> float:
        held = self.set_point_c()
        return 0.0 if held is None else 0.02 * (self.ambient_c - held) + 1e-3 * self.diode_ma()

    @reading("vtec")
    def _tec_v(self) -> float:
        return 1.5 * self._tec_a()


REGISTRATION = Registration(
    "koheron-ctl200", "pump", EmulatedCtl200, "Koheron CTL200, laser diode and cooler driver"
)
