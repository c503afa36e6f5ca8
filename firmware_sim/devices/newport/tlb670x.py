"""Emulated Newport TLB-6700 with a 1520 … 1570 nm head, behind a stand-in of the vendor's
``usbdll``.

Functions and commands: QMI 0.54.2 (``newport/tlb670x.py``), public MATLAB clients; error numbers of
``ERRSTR?`` as QMI lists them. Evidence: manual. Unverified, chosen here: texts of refusals, number
formats, speed of the motor 2 nm/s, error -2 when nothing is to be read, that ``*RST`` is quick,
diode of 20 mA threshold and 0.1 mW/mA, piezo 0.3 nm over its range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.laser import LaserDevice
from photonlink.firmware_sim.kit.library import CallError, LibraryDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register, command, effect, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import pattern

NOTHING_TO_READ, WRONG_DEVICE = -2, -4
LOW_NM, HIGH_NM, NM_PER_S = 1520.0, 1570.0, 2.0
THRESHOLD_MA, MW_PER_MA, PIEZO_NM = 20.0, 0.1, 0.003
ERRORS = {
    0: "NO ERROR",
    116: "SYNTAX ERROR",
    126: "WRONG NUMBER OF PARAMETERS",
    201: "VALUE OUT OF RANGE",
    501: "INTERLOCK OPEN",
    514: "NOT ALLOWED DUE TO MODE CHANGE",
    802: "WAVELENGTH FOLLOW ERROR",
    902: "KEY SWITCH OFF",
}


class EmulatedTlb670x(LaserDevice, LibraryDevice):
    """Text commands in, a queue of replies out."""

    TABLE = "newp_usb"
    REGISTERS = (
        Register("OUTPut:STATe", 0, 0, 1, volatile=True),
        Register("OUTPut:TRACk", 0, 0, 1, volatile=True),
        Register("SOURce:WAVElength", 1550.0, LOW_NM, HIGH_NM, ".2f", "nm"),
        Register("SOURce:CURRent:DIODe", 60.0, 0.0, 180.0, ".1f", "mA"),
        Register("SOURce:POWer:DIODe", 5.0, 0.0, 20.0, ".2f", "mW"),
        Register("SOURce:CPOWer", 0, 0, 1),
        Register("SOURce:VOLTage:PIEZo", 50.0, 0.0, 100.0, ".1f", "%"),
        Register("SOURce:WAVE:START", 1530.0, LOW_NM, HIGH_NM, ".2f", "nm"),
        Register("SOURce:WAVE:STOP", 1560.0, LOW_NM, HIGH_NM, ".2f", "nm"),
        Register("SOURce:WAVE:SLEW:FORWard", 2.0, 0.01, 20.0, ".2f"),
        Register("SOURce:WAVE:SLEW:RETurn", 2.0, 0.01, 20.0, ".2f"),
        Register("SOURce:WAVE:SCANCFG", 0, 0, 3),
        Register("SOURce:WAVE:DESSCANS", 1, 0, 9999),
        Register("SYSTem:MCONtrol", "REM"),
        Register("BEEP", 0, 0, 2),
    )

    def setup(self) -> None:
        super().setup()
        self._headers = [
            (pattern(name.rstrip("?")), name)
            for name in (*self.registers, *self._readings, *self._commands)
            if not name.startswith("newp_")
        ]
        self._replies: deque[bytes] = deque(maxlen=64)
        self._error, self._scanning = 0, False
        self._motor_nm, self._at_s = 1550.0, self.clock.now_s()

    # ---- light ---------------------------------------------------------------------------------

    def tick(self) -> None:
        """The motor moves while it tracks or scans."""
        r, now_s = self.registers, self.clock.now_s()
        step_s, self._at_s = now_s - self._at_s, now_s
        speed, target = NM_PER_S, r["SOURce:WAVElength"]
        if self._scanning:
            speed, target = r["SOURce:WAVE:SLEW:FORWard"], r["SOURce:WAVE:STOP"]
        if r["OUTPut:TRACk"] or self._scanning:
            away = target - self._motor_nm
            self._motor_nm += min(max(away, -speed * step_s), speed * step_s)
            self._scanning = self._scanning and abs(away) > 1e-6
        self.shine()

    def asked(self) -> tuple[float, float]:
        r = self.registers
        mw = max(r["SOURce:CURRent:DIODe"] - THRESHOLD_MA, 0.0) * MW_PER_MA
        mw = r["SOURce:POWer:DIODe"] if r["SOURce:CPOWer"] else mw
        nm = self._motor_nm + PIEZO_NM * (r["SOURce:VOLTage:PIEZo"] - 50.0)
        return (mw if r["OUTPut:STATe"] else 0.0), nm

    def extinguish(self) -> None:
        if self.registers["OUTPut:STATe"]:
            self._error = 902 if self.key_locked else 501 if self.interlock_open else self._error
        self.registers.put("OUTPut:STATe", 0)

    def booted(self) -> None:
        self._replies.clear()
        self._error, self._scanning = 0, False

    @fault("stale-reply", "an old reply to *IDN? sits in the queue")
    def _stale(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._replies.appendleft(self._identity().encode() + b"\r\n")
        return self._replies.clear

    # ---- text ----------------------------------------------------------------------------------

    def answer(self, line: str) -> str:
        """One command → its reply."""
        header, _, argument = line.strip().partition(" ")
        plain = ":" + header.upper().lstrip(":").rstrip("?")
        name = next((n for form, n in self._headers if form.match(plain)), "")
        try:
            if not name:
                raise Refusal("unknown", header, 116)
            if (method := self.method(name)) is not None:
                return method() or "OK"
            if name in self._readings or header.endswith("?"):
                return self.show(name)
            if not argument:
                raise Refusal("missing", header, 126)
            self._set(name, argument.strip())
            return "OK"
        except Refusal as refusal:
            self._error = refusal.code or 201
            return ERRORS[self._error]

    def _set(self, name: str, argument: str) -> None:
        if argument.upper() == "MAX":
            argument = str(self.registers.declared[name].high)
        if name == "OUTPut:STATe" and argument == "1" and self.blocked:
            raise Refusal("level", name, 902 if self.key_locked else 501)
        self.change(name, argument)

    @effect("OUTPut:STATe")
    def _switched(self) -> None:
        self._error = 0

    def _identity(self) -> str:
        return f"New_Focus 6700 v2.4 11/08/12 SN{self.serial_number}"

    @reading("*IDN")
    def _idn(self) -> str:
        return self._identity()

    @reading("ERRSTR")
    def _errstr(self) -> str:
        blocked = 902 if self.key_locked else 501 if self.interlock_open else 0
        error, self._error = blocked or self._error, 0
        return f'{error},"{ERRORS[error]}"'

    @reading("SENSe:WAVElength")
    def _measured_nm(self) -> str:
        return f"{self.faults.drift(self.wavelength_nm):.3f}"

    @reading("SENSe:CURRent:DIODe")
    def _measured_ma(self) -> str:
        return f"{self.registers['SOURce:CURRent:DIODe'] * self.registers['OUTPut:STATe']:.1f}"

    @reading("SENSe:POWer:DIODe")
    def _measured_mw(self) -> str:
        return f"{self.faults.drift(self.power_mw):.2f}"

    @reading("SENSe:VOLTage:PIEZo")
    def _measured_percent(self) -> str:
        return f"{self.registers['SOURce:VOLTage:PIEZo']:.1f}"

    @reading("*OPC")
    def _done(self) -> str:
        away = abs(self._motor_nm - self.registers["SOURce:WAVElength"])
        return str(int(not self._scanning and (away < 0.01 or not self.registers["OUTPut:TRACk"])))

    @command("OUTPut:SCAN:START")
    def _scan(self) -> None:
        self._motor_nm, self._scanning = self.registers["SOURce:WAVE:START"], True

    @command("OUTPut:SCAN:STOP", "OUTPut:SCAN:RESET")
    def _end_scan(self) -> None:
        self._scanning = False

    @command("*RST")
    def _reset(self) -> None:
        self.registers.boot()
        self.booted()
        self.shine()

    # ---- functions -----------------------------------------------------------------------------

    @command("newp_usb_init_system", "newp_usb_init_product", "newp_usb_uninit_system")
    def _nothing(self, *_: int) -> None:
        return

    @command("newp_usb_open_devices")
    def _count(self, *_: int) -> int:
        return 1

    @command("newp_usb_get_device_info")
    def _info(self) -> str:
        return f"1,6700 SN{self.serial_number};"

    @command("newp_usb_send_ascii")
    def _send(self, device: int, text: bytes, _: int) -> None:
        if device != 1:
            raise CallError(WRONG_DEVICE)
        line = text.partition(b"\0")[0].decode("latin-1").strip()
        if line:
            self._replies.append(self.answer(line).encode("ascii", "replace") + b"\r\n")

    @command("newp_usb_get_ascii")
    def _get(self, device: int, length: int) -> tuple[bytes, int]:
        if device != 1:
            raise CallError(WRONG_DEVICE)
        if not self._replies:
            raise CallError(NOTHING_TO_READ)
        reply = self._replies.popleft()[: max(length, 0)]
        return reply, len(reply)


REGISTRATION = Registration(
    "newport-tlb670x", "pump", EmulatedTlb670x, "Newport TLB-6700, tunable laser"
)
