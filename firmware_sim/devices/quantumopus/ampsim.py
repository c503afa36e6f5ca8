"""Emulated SRS SIM900 mainframe with a Quantum Opus amplifier module in one slot.

Commands: QMI 0.54 ``quantum_opus/amp_sim_module.py`` and ``stanford_research_systems/sim900.py``.
Evidence: manual. Unverified, chosen here: the module's identity, that sets are silent, the level at
which it sees a latch (0.1 V), what auto-bias looks for (0.9 of the switching current).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registers import Refusal, Register
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.physics.nanowire import Nanowire
from photonlink.firmware_sim.wires.session import Session

STEPS, FULL_A = 65_535, 25e-6
HIGH_GAIN_V, LOW_GAIN_V = 1.1, 5.0
LATCH_V = 0.1
BUFFER = 1024
_MODULE = re.compile(r"\+([A-H])(\d*)(\?)?;?")


@dataclass
class AmpSimSettings(DeviceSettings):
    """slot: of the module.  switching_ua: of the nanowire at 2.5 K."""

    slot: int = 3
    switching_ua: float = 20.0


class AmpSim(ScpiDevice):
    """Mainframe, module, nanowire."""

    Settings = AmpSimSettings
    WIRES = ("serial", "tcp")
    REPLY_END = "\n"
    IDENTITY = "Stanford_Research_Systems,SIM900,s/n{serial},ver3.6"
    TICK_S = 0.02
    REGISTERS = (
        Register("B", 0, 0, STEPS, volatile=True),
        Register("C", 0, 0, 1),
        Register("D", 5, 0, 255),
        Register("E", 0, 0, 1),
        Register("H", 0, 0, STEPS),
    )

    def setup(self) -> None:
        super().setup()
        self.wire = Nanowire(self.config.switching_ua * 1e-6)
        self._buffer = b""
        self._resetting_until_s = 0.0
        self._act()

    def booted(self) -> None:
        self._buffer, self._resetting_until_s = b"", 0.0
        self._act()

    # ---- mainframe -----------------------------------------------------------------------------

    def dispatch(self, header: str, argument: str, session: Session) -> Any:
        word = header.lstrip(":")
        if word == "SNDT":
            port, _, text = argument.partition(",")
            if self._mine(port):
                self._module(text.strip().strip('"'))
            return None
        if word == "NINP?":
            return str(len(self._buffer) if self._mine(argument) else 0)
        if word == "RAWN?":
            return self._raw(argument)
        if word in ("FLSH", "FLSI"):
            self._buffer = b""
            return None
        if word.startswith("*"):
            return super().dispatch(header, argument, session)
        raise Refusal("unknown", header)

    def _mine(self, port: str) -> bool:
        if port.strip() not in tuple("12345678"):
            raise Refusal("range", port[:40])
        return bool(int(port) == self.config.slot)

    def _raw(self, argument: str) -> bytes:
        port, _, count = argument.partition(",")
        if not count.strip().isdecimal() or len(count) > 6:
            raise Refusal("type", argument[:40])
        data = b""
        if self._mine(port):
            data, self._buffer = self._buffer[: int(count)], self._buffer[int(count) :]
        return data

    async def reply(self, session: Session, data: bytes, request: bytes = b"") -> None:
        """Raw bytes come as they are: without the mainframe's own end of a line."""
        if request.upper().startswith(b"RAWN?"):
            data = data[: -len(self.REPLY_END)]
        await super().reply(session, data, request)

    # ---- module --------------------------------------------------------------------------------

    def _module(self, text: str) -> None:
        found = _MODULE.fullmatch(text)
        if found is None:
            return
        letter, digits, query = found.groups()
        if query:
            answer: dict[str, Any] = {
                "A": f"Quantum Opus AMP-SIM s/n {self.serial_number}",
                "C": self._adc(),
            }
            if letter in self.registers:
                answer = {letter: self.registers[letter]} | answer
            shown = answer.get(letter, "")
            self._buffer = (self._buffer + f"{shown}\n".encode())[-BUFFER:]
        elif letter == "F":
            self._reset_wire()
        elif letter == "G":
            self._set("B", round(0.9 * self.wire.switching_now_a / FULL_A * STEPS))
        elif letter == "H" and not digits:
            self._set("B", self.registers["H"])
        elif digits and letter in self.registers:
            self._set(letter, int(digits[:9]))

    def _set(self, letter: str, value: int) -> None:
        try:
            self.change(letter, value)
        except Refusal:
            return  # out of range: ignored

    def _adc(self) -> int:
        full_v = LOW_GAIN_V if self.registers["C"] else HIGH_GAIN_V
        volts = self.faults.drift(self.wire.voltage_v)
        return min(round(volts / full_v * STEPS), STEPS)

    def _reset_wire(self) -> None:
        self._resetting_until_s = self.clock.now_s() + self.registers["D"] * 0.01
        self._act()

    # ---- nanowire ------------------------------------------------------------------------------

    def _act(self) -> None:
        resetting = self.clock.now_s() < self._resetting_until_s
        bias_a = 0.0 if resetting else self.registers["B"] / STEPS * FULL_A
        self.wire.update(bias_a, self.place.stage_k())
        self.place.set_excess_bias_v(self.wire.excess_v)

    def tick(self) -> None:
        self._act()
        if self.registers["E"] and self.wire.voltage_v > LATCH_V:
            self._reset_wire()

    def applied(self, name: str) -> None:
        self._act()

    def safe_off(self) -> None:
        self.registers.put("B", 0)
        self._act()

    def state(self) -> dict[str, Any]:
        return {
            "bias": self.registers["B"] > 0,
            "latched": self.wire.latched,
            "clicks_total": self.place.clicks_total(),
        }

    @fault("latch", "the nanowire becomes normal")
    def _latch(self, _: Mapping[str, Any]) -> Callable[[], object] | None:
        self.wire.latched = True
        self._act()
        return None


REGISTRATION = Registration(
    "quantumopus-ampsim", "detector", AmpSim, "Quantum Opus amplifier module in an SRS SIM900"
)
