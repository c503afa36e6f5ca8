"""Emulated ID Photonics CoBrite DX/MX: a chassis of tunable lasers on TCP port 2000.

Commands: vendor-backed ``cobrite`` 2.2.0; CoBrite user manual, page 41. Evidence: manual.
Unverified, chosen here: the acknowledgement ``OK``, texts and numbers of errors beyond 100, 101,
104, 201, 204, limits, the time a laser is busy, that an open interlock answers 104, number formats.

Only the laser ``1,1,1`` is connected to the optical table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.laser import LaserDevice, LaserSettings, dbm_of, mw_of, thz_of
from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.wires.session import Session

PASSWORDS = {"IDP": 1}
COMMAND_ERROR, ARGUMENTS, POWER_DOWN, UNAUTHORIZED = 100, 101, 104, 201
LIMITS = {"FREQ": (191.5, 196.25), "POW": (6.0, 16.0), "OFF": (-12.0, 12.0)}
SYSTEM = {
    "INFO?": "CoBrite DX1, 3.0.0",
    "ALAR?": "0",
    "REMO?": "1",
    "FAN?": "AUTO",
    "IPADDR?": "192.168.1.99",
    "NETMASK?": "255.255.255.0",
    "GATEWAYIP?": "192.168.1.1",
    "DNSIP?": "0.0.0.0",  # noqa: S104 - what it shows, not what we bind
    "MACADDRESS?": "00:1E:C0:00:00:01",
    "DHCP?": "0",
    "SBS:STAT?": "0",
    "TIME?": "0",
}


@dataclass
class CobriteSettings(LaserSettings):
    """lasers: in slot 1 of chassis 1.  layout: ``DX`` or ``MX``, how ``LAY?`` answers.
    busy_s: how long a laser tunes."""

    lasers: int = 2
    layout: str = "DX"
    busy_s: float = 0.2


class EmulatedCobrite(LaserDevice, LineDevice):
    """Registers ``c,s,d NAME``; everything is answered."""

    Settings = CobriteSettings
    WIRES = ("tcp",)
    TERMINATORS = b";"
    REPLY_END = ";"

    def declare(self) -> tuple[Register, ...]:
        rows: list[Register] = []
        for at in self._lasers():
            rows += (
                Register(f"{at} FREQ", 193.4, *LIMITS["FREQ"], ".4f"),
                Register(f"{at} POW", 10.0, *LIMITS["POW"], ".2f"),
                Register(f"{at} OFF", 0.0, *LIMITS["OFF"], ".3f"),
                Register(f"{at} STAT", 0, 0, 1, volatile=True),
                Register(f"{at} DIT", 1, 0, 1),
            )
        return tuple(rows)

    def setup(self) -> None:
        self._busy_until_s = dict.fromkeys(self._lasers(), 0.0)
        self._level, self._error, self._echo = 0, "no error", 0

    def _lasers(self) -> Iterator[str]:
        yield from (f"1,1,{device}" for device in range(1, self.config.lasers + 1))

    # ---- grammar -------------------------------------------------------------------------------

    def answer(self, line: str, session: Session) -> Any:
        word, _, rest = line.partition(" ")
        word, arguments = (
            word.upper().lstrip(":"),
            [a.strip() for a in rest.split(",") if a.strip()],
        )
        if (own := self._system(word, arguments)) is not None:
            return own
        name, query = word.rstrip("?"), word.endswith("?")
        at, values = self._select(arguments)
        if query:
            if values:
                raise Refusal("arguments", word, ARGUMENTS)
            shown = [(a, self._show(name, a)) for a in at]
            single = len(at) == 1 and "*" not in arguments and len(arguments) == 3
            return shown[0][1] if single else "\n".join(f"{a},{v}" for a, v in shown)
        for each in at:
            self._set(name, each, values)
        return "OK"

    def refused(self, refusal: Refusal, line: str, session: Session) -> str:
        code = refusal.code or COMMAND_ERROR
        self._error = f"{code}, {ascii(line[:40])[1:-1]}: {refusal.kind}"
        return f"ERR {self._error}"

    def _select(self, arguments: list[str]) -> tuple[list[str], list[str]]:
        """The lasers selected by ``c,s,d`` (numbers, 0 or ``*``), and the arguments after it."""
        pick = arguments[:3] or ["*"]
        found = [
            at
            for at in self._lasers()
            if all(p in ("*", "0", own) for p, own in zip(pick, at.split(","), strict=False))
        ]
        if not found:
            raise Refusal("unknown", "no such laser", COMMAND_ERROR)
        return found, arguments[3:]

    def _system(self, word: str, arguments: list[str]) -> str | None:
        """Commands of the chassis; None for any other."""
        if word == "*IDN?":
            return f"ID Photonics,CoBrite-DX1,{self.serial_number},3.0.0"
        if word == "LAY?":
            mx = f"SYSTEM MX\n1,1,TLS{self.config.lasers}\n1,2,EMP"
            return mx if self.config.layout == "MX" else f"LAY,1,1,DEV{self.config.lasers}"
        if word == "PASS":
            self._level = PASSWORDS.get(arguments[0] if arguments else "", 0)
            return "OK"
        if word == "*RST":
            self.registers.boot()
            self.shine()
            return "OK"
        if word == "ECHO" and arguments in (["0"], ["1"]):
            self._echo = int(arguments[0])
            return "OK"
        if word in ("INTI", "ABOR", "*WAI", "IDENT", "WAITMS"):
            return "OK"
        busy = any(self._busy(at) for at in self._lasers())
        values = {"PASS?": self._level, "INTL?": int(self.blocked), "ERR?": self._error}
        values |= {"ECHO?": self._echo, "*OPC?": int(not busy)}
        if word == "TEMP?":
            return f"1,1,1,{self._monitor('1,1,1')[0]:.2f}"
        return SYSTEM.get(word) or (str(values[word]) if word in values else None)

    # ---- one laser -----------------------------------------------------------------------------

    def _set(self, name: str, at: str, values: list[str]) -> None:
        if name == "CONF":
            if len(values) != 5:
                raise Refusal("arguments", "CONF", ARGUMENTS)
            for key, value in zip(("FREQ", "OFF", "POW", "STAT", "DIT"), values, strict=True):
                self._set(key, at, [value])
            return
        if f"{at} {name}" not in self.registers and name != "WAV":
            raise Refusal("unknown", "unknown command", COMMAND_ERROR)
        if len(values) != 1:
            raise Refusal("arguments", name, ARGUMENTS)
        if name == "STAT" and values[0] == "1" and self.blocked:
            raise Refusal("level", "powered down", POWER_DOWN)
        if name == "WAV":
            try:
                name, values = "FREQ", [repr(thz_of(float(values[0])))]
            except (ValueError, ZeroDivisionError, OverflowError):
                raise Refusal("type", "not a wavelength", COMMAND_ERROR) from None
        self._busy_until_s[at] = self.clock.now_s() + self.config.busy_s
        self.change(f"{at} {name}", values[0])

    def _busy(self, at: str) -> bool:
        return self.clock.now_s() < self._busy_until_s[at]

    def _show(self, name: str, at: str) -> str:
        r = self.registers
        if f"{at} {name}" in r:
            return r.show(f"{at} {name}")
        if name == "CONF":
            return ",".join(
                self._show(k, at) for k in ("FREQ", "OFF", "POW", "STAT", "BUSY", "DIT")
            )
        low, high = LIMITS["FREQ"]
        power, offset = LIMITS["POW"], LIMITS["OFF"][1]
        lit = self.emitting if at == "1,1,1" else bool(r[f"{at} STAT"])
        power_dbm = dbm_of(self.power_mw) if at == "1,1,1" else r[f"{at} POW"]
        computed = {
            "WAV": f"{thz_of(r[f'{at} FREQ']):.4f}",
            "WAV:LIM": f"{thz_of(high):.3f},{thz_of(low):.3f}",
            "FREQ:LIM": f"{low},{high}",
            "POW:LIM": f"{power[0]},{power[1]}",
            "OFF:LIM": f"{offset}",
            "LIM": f"{low},{high},{offset},{power[0]},{power[1]}",
            "APOW": f"{self.faults.drift(power_dbm) if lit else -60.0:.2f}",
            "BUSY": str(int(self._busy(at))),
            "LALAR": str(int(self.blocked)),
            "TYP": "GC",
            "MON": ",".join(f"{x:.2f}" for x in self._monitor(at)),
        }
        if name not in computed:
            raise Refusal("unknown", "unknown command", COMMAND_ERROR)
        return computed[name]

    def _monitor(self, at: str) -> tuple[float, float, float, float]:
        """Chip °C, base °C, diode mA, cooler mA."""
        on = bool(self.registers[f"{at} STAT"])
        ma = 60.0 + 6.0 * mw_of(self.registers[f"{at} POW"]) if on else 0.0
        return 30.0 + 0.02 * ma, 28.0 + 0.01 * ma, ma, 120.0 + 0.5 * ma

    # ---- light ---------------------------------------------------------------------------------

    def asked(self) -> tuple[float, float]:
        r = self.registers
        thz = r["1,1,1 FREQ"] + 1e-3 * r["1,1,1 OFF"]
        return (mw_of(r["1,1,1 POW"]) if r["1,1,1 STAT"] else 0.0), thz_of(thz)

    def extinguish(self) -> None:
        for at in self._lasers():
            self.registers.put(f"{at} STAT", 0)


REGISTRATION = Registration(
    "idphotonics-cobrite", "pump", EmulatedCobrite, "ID Photonics CoBrite, tunable lasers"
)
