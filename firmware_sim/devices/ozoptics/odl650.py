"""Emulated OZ Optics ODL-650-MC: a motorized delay line on a serial line (9600 8N1).

Commands: ``pnpq`` 0.2.1 (``odl_ozoptics_650ml.py``). Every reply begins with the command (echo) and
ends with ``Done``. Evidence: manual. Unverified, chosen here: texts beside ``POS:``, the motor's
pace, error texts, what ``GF`` and ``GR`` do at an end.
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

STEPS_PER_MM = 32768 / 5.08
LAST_STEP = int(200 * STEPS_PER_MM)
MM_PER_PS = 0.299792458
STEP_S = 0.02


@dataclass
class Odl650Settings(DeviceSettings):
    """mm_per_s: of the optical path."""

    mm_per_s: float = 400.0


class Odl650(OzLine):
    Settings = Odl650Settings

    def setup(self) -> None:
        self._stuck = False
        self._step = 0
        self.booted()

    def booted(self) -> None:
        self._known, self._echo = False, True

    def state(self) -> dict[str, Any]:
        return {"step": self._step, "known": self._known}

    def answer(self, line: str, session: Session) -> Any:
        return self._answer(line)

    async def _answer(self, line: str) -> str:
        reply = await self._obey(line.upper())
        head = f"{line}\r\n" if self._echo else ""
        return (head + reply).removesuffix("\r\n")

    async def _obey(self, word: str) -> str:
        fixed = {"V1": "ODL-650-MCV5.3_1.0", "V2": self.serial_number, "D?": "01/02/2020"}
        if word in fixed:
            return fixed[word]
        if word == "S?":
            return f"POS:{round(self.faults.drift(self._step))}" if self._known else "UNKNOWN"
        if word in ("FH", "GR"):
            await self._move(0)
            self._known = self._known or word == "FH"
        elif word == "GF":
            await self._move(LAST_STEP)
        elif word[:1] == "S" and word[1:].isdigit():
            if not self._known or int(word[1:]) > LAST_STEP:
                raise Refusal("range", "not homed, or out of range")
            await self._move(int(word[1:]))
        elif word in ("E0", "E1"):
            self._echo = word == "E1"
        elif word == "RESET":
            self.booted()
        elif word not in ("G0", "OW", "OZ-SHS0", "OZ-SHS1"):
            raise Refusal("unknown", "unknown command")
        return ""

    async def _move(self, target: int) -> None:
        if self.faults.use("ignore-sets"):
            return
        way = max(int(self.config.mm_per_s * STEPS_PER_MM * STEP_S), 1)
        while self._step != target and not self._stuck:
            self._step += min(max(target - self._step, -way), way)
            self.place.put("delay_ps", self._step / STEPS_PER_MM / MM_PER_PS)
            await self.clock.sleep(STEP_S)

    @fault("motor-stuck", "the motor does not turn")
    def _motor_stuck(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stuck = True
        return lambda: setattr(self, "_stuck", False)


REGISTRATION = Registration(
    "ozoptics-odl650", "delay-line", Odl650, "OZ Optics ODL-650-MC, motorized delay line"
)
