"""Emulated OIF-ITLA module: four-byte frames on a serial line, registers of OIF-ITLA-MSA-01.2/01.3.

Registers, strings through AEA, the NOP register's error codes: OIF-ITLA-MSA; ``pytla`` 0.2.0.
Evidence: manual. Unverified, chosen here: bit 2 of a reply is set, the upper half of NOP counts
what is pending, the disable line shows as DIS and refuses SENA with EXF (8), frequency and grid are
refused while it emits (CIE), limits and times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from photonlink.firmware_sim.kit.frame import FrameDevice, Itla
from photonlink.firmware_sim.kit.laser import LaserDevice, LaserSettings, dbm_of, mw_of, thz_of
from photonlink.firmware_sim.kit.registers import Refusal, Register
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.wires.session import Session

OK, ERROR, STRING, PENDING, REPLY = 0, 1, 2, 3, 4
RNI, RNW, RVE, CIP, ERE, EXF, CIE = 1, 2, 3, 4, 6, 8, 9
LOWEST_THZ, HIGHEST_THZ = 191.5, 196.25
SENA, MODULE_RESET = 0x0008, 0x0001
XEL, DIS, ALM = 1 << 7, 1 << 12, 1 << 14
FREQUENCY = (0x34, 0x35, 0x36, 0x65, 0x66, 0x67, 0x30)


def register(number: int, value: int, low: int = 0, high: int = 0xFFFF) -> Register:
    return Register(f"{number:02x}", value, low, high)


@dataclass
class ItlaSettings(LaserSettings):
    """tune_s: how long switching on takes.  temperature_c: of the diode."""

    tune_s: float = 0.2
    temperature_c: float = 25.0


class EmulatedItla(LaserDevice, FrameDevice):
    """Registers by number; reads that compute are in :meth:`_computed`."""

    Settings = ItlaSettings
    FRAMING = Itla()
    WIRES = ("serial", "tcp")
    STRINGS: ClassVar[dict[int, str]] = {
        0x01: "CW ITLA",
        0x02: "PHOTONLINK",
        0x03: "ITLA-1550",
        0x05: "01-JAN-2025",
        0x06: "1.3.0:1.0",
        0x07: "1.2.0",
    }
    REGISTERS: ClassVar[tuple[Register, ...]] = (
        register(0x08, 0),
        register(0x0D, 0),
        register(0x22, 100), register(0x23, 100), register(0x24, 50), register(0x25, 50),
        register(0x26, 1000), register(0x27, 500),
        register(0x28, 0x1FBF), register(0x29, 0x000F), register(0x2A, 0x0D0D),
        register(0x30, 1, 1, 200),
        register(0x31, 1000, 600, 1350),
        register(0x32, 0),
        register(0x33, 0),
        register(0x34, 500, 1, 10_000),
        register(0x35, 193, math.floor(LOWEST_THZ), math.floor(HIGHEST_THZ)),
        register(0x36, 4000, 0, 9999),
        register(0x59, 0), register(0x5A, 0), register(0x5B, 0), register(0x5C, 0),
        register(0x62, 0, -6000, 6000),
        register(0x65, 0),
        register(0x66, 0),
        register(0x67, 0, 0, 99),
    )  # fmt: skip
    SIGNED = (0x31, 0x62)

    def setup(self) -> None:
        self._aea, self._error, self._latched = b"", OK, 0
        self._pending_until_s = 0.0

    # ---- frames --------------------------------------------------------------------------------

    def handle(self, frame: bytes, session: Session) -> bytes:
        number, data = frame[1], int.from_bytes(frame[2:], "big")
        status = OK
        if frame[0] & 1:
            status = self._write(number, data)
        else:
            status, data = self._read(number)
        return Itla.frame(REPLY | status, number, data)

    def refused(self, refusal: Refusal, frame: bytes) -> bytes:
        self._error = refusal.code or RVE
        self._latched |= XEL
        return Itla.frame(REPLY | ERROR, frame[1], 0)

    def _read(self, number: int) -> tuple[int, int]:
        if number == 0x00:
            error, self._error = self._error, OK
            return OK, (0x0100 if self._pending else 0) | 0x0010 | error
        if number == 0x0B:
            if not self._aea:
                raise Refusal("range", "the string is at its end", ERE)
            pair, self._aea = self._aea[:2].ljust(2, b"\0"), self._aea[2:]
            return OK, int.from_bytes(pair, "big")
        if (data := self._block(number)) is not None:
            self._aea = data
            return STRING, len(data)
        if (value := self._computed(number)) is not None:
            return OK, value & 0xFFFF
        name = f"{number:02x}"
        if name not in self.registers:
            raise Refusal("unknown", name, RNI)
        return OK, int(self.registers[name]) & 0xFFFF

    def _write(self, number: int, data: int) -> int:
        if number in (0x00, 0x09, 0x0A, 0x0B):
            return OK
        if number in (0x20, 0x21):
            self._latched &= ~(data & 0x00FF)
            return OK
        name = f"{number:02x}"
        if name not in self.registers:
            known = self._block(number) is not None or self._computed(number) is not None
            raise Refusal("unknown", name, RNW if known else RNI)
        if self._pending and number == 0x32 and data & SENA:
            raise Refusal("level", name, CIP)
        if number in FREQUENCY and self.registers["32"] & SENA:
            raise Refusal("level", name, CIE)
        if number == 0x32:
            return self._enable(data)
        self.change(name, data - 0x10000 if number in self.SIGNED and data > 0x7FFF else data)
        return OK

    def _enable(self, data: int) -> int:
        if data & MODULE_RESET:
            self.reboot()
            return OK
        if data & SENA and self.blocked:
            raise Refusal("level", "disabled", EXF)
        was_on = bool(self.registers["32"] & SENA)
        if data & SENA and not was_on:
            self._pending_until_s = self.clock.now_s() + self.config.tune_s
        self.change("32", data & SENA)
        return PENDING if self._pending else OK

    @property
    def _pending(self) -> bool:
        on = bool(self.registers["32"] & SENA)
        return on and self.clock.now_s() < self._pending_until_s

    # ---- values --------------------------------------------------------------------------------

    def _block(self, number: int) -> bytes | None:
        """What is read through AEA."""
        text = self.serial_number if number == 0x04 else self.STRINGS.get(number)
        if text is not None:
            return text.encode("ascii", "replace") + b"\0"
        ma = 2000 if self.emitting else 0
        celsius = round(100 * self.config.temperature_c)
        pairs = {0x57: (300, ma), 0x58: (celsius, celsius + 300)}.get(number)
        return b"".join(x.to_bytes(2, "big", signed=True) for x in pairs) if pairs else None

    def _computed(self, number: int) -> int | None:
        thz = round(self._set_thz() * 1e6)
        low, high = round(LOWEST_THZ * 1e6), round(HIGHEST_THZ * 1e6)
        power = dbm_of(self.power_mw)
        status = self._latched | ((DIS | ALM) if self.blocked else 0)
        drift = self.faults.drift
        return {
            0x14: 0,
            0x20: status,
            0x21: status,
            0x40: thz // 1_000_000,
            0x41: thz % 1_000_000 // 100,
            0x68: thz % 100,
            0x42: round(drift(power) * 100),
            0x43: round(drift(self.config.temperature_c) * 100),
            0x4F: 6000,
            0x50: 600,
            0x51: 1350,
            0x52: low // 1_000_000,
            0x53: low % 1_000_000 // 100,
            0x54: high // 1_000_000,
            0x55: high % 1_000_000 // 100,
            0x56: 1,
            0x61: 3,
        }.get(number)

    # ---- light ---------------------------------------------------------------------------------

    def _set_thz(self) -> float:
        """First channel's frequency, grid and channel (§9.6.6)."""
        r = self.registers
        first = r["35"] + r["36"] * 1e-4 + r["67"] * 1e-6
        return float(first + (r["30"] - 1) * (r["34"] * 1e-4 + r["66"] * 1e-6))

    def asked(self) -> tuple[float, float]:
        r = self.registers
        lit = r["32"] & SENA and not self._pending
        nm = thz_of(max(self._set_thz() + r["62"] * 1e-6, 1.0))
        return (mw_of(r["31"] / 100) if lit else 0.0), min(max(nm, 200.0), 1990.0)

    def extinguish(self) -> None:
        self.registers.put("32", self.registers["32"] & ~SENA)

    def booted(self) -> None:
        self.registers.put("32", 0)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "frequency_thz": self._set_thz()}


REGISTRATION = Registration("oif-itla", "pump", EmulatedItla, "OIF-ITLA module, tunable laser")
