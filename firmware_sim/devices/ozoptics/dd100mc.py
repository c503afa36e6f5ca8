"""Emulated OZ Optics DD-100-MC: a motorized attenuator on a serial line.

Commands are those of ``pylablib`` 1.4.5 (DD100) and QMI 0.54.2 (``dd100mc.py``). Evidence: manual.
Unverified, chosen here: texts of ``CD`` beside ``IL:`` and ``MAX ATTEN:``, that ``Done`` comes when
the motor stands, 100 steps per dB, the error texts, the light at power-on (insertion loss).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.devices.ozoptics.oz import OzLine
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registers import Refusal
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.session import Session

STEPS_PER_DB = 100
STEP_S = 0.02


@dataclass
class Dd100mcSettings(DeviceSettings):
    """insertion_loss_db, max_db: ends of the range.  db_per_s: the motor's pace."""

    insertion_loss_db: float = 0.9
    max_db: float = 60.0
    db_per_s: float = 120.0


class Dd100mc(OzLine):
    """The blocking wedge: its position, and whether the instrument knows it."""

    Settings = Dd100mcSettings
    AFTER_DONE = "\r\n"

    def setup(self) -> None:
        self._stuck = False
        self._db = self.config.insertion_loss_db
        self.booted()

    def booted(self) -> None:
        self._known = False
        self.place.put("attenuation_db", self._db)

    def state(self) -> dict[str, Any]:
        return {"attenuation_db": self._db, "known": self._known}

    def answer(self, line: str, session: Session) -> Any:
        word = line.upper()
        if word == "D":
            steps = round(self._db * STEPS_PER_DB)
            return f"DPos:{steps}\r\nATTEN:{self._shown()}"
        if word == "A?":
            return f"Atten:{self._shown()}" + ("(dB)" if self._known else "")
        if word == "CD":
            c = self.config
            return (
                f"DD-100-MC {self.serial_number}\r\nIL:{c.insertion_loss_db:.2f}\r\n"
                f"MAX ATTEN:{c.max_db:.2f}"
            )
        if word in ("H", "RST"):
            return self._move(self.config.insertion_loss_db, "Home" if word == "H" else "Ready")
        if word.startswith("A"):
            return self._attenuate(word[1:])
        raise Refusal("unknown", "unknown command")

    def _shown(self) -> str:
        return f"{self.faults.drift(self._db):.2f}" if self._known else "unknown"

    def _attenuate(self, number: str) -> Any:
        try:
            wanted = float(number)
        except ValueError:
            raise Refusal("type", "not a number") from None
        if not self.config.insertion_loss_db <= wanted <= self.config.max_db:
            raise Refusal("range", "out of range")
        return self._move(round(wanted, 2), "")

    async def _move(self, target: float, text: str) -> str:
        """Turn the motor; light changes on the way."""
        self._known = True
        if not self.faults.use("ignore-sets"):
            while self._db != target and not self._stuck:
                step = self.config.db_per_s * STEP_S
                self._db += min(max(target - self._db, -step), step)
                self.place.put("attenuation_db", self._db)
                await self.clock.sleep(STEP_S)
        return text or f"Pos:{round(self._db * STEPS_PER_DB)}"

    @fault("motor-stuck", "the motor does not turn")
    def _motor_stuck(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stuck = True
        return lambda: setattr(self, "_stuck", False)


REGISTRATION = Registration(
    "ozoptics-dd100mc", "attenuator", Dd100mc, "OZ Optics DD-100-MC, motorized attenuator"
)
