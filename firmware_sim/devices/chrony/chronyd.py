"""Emulated chrony: the program ``chronyc`` and the daemon behind it.

Reports as observed of chrony 4.3 (Debian 12): ``-c`` prints them with commas, numbers in seconds
and ppm; errors are text on standard output and status 1. Unverified, chosen here: reports without
``-c`` other than ``activity`` (their units and words), figures of the source.
"""

from __future__ import annotations

import getopt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.program import ProgramDevice, ProgramError
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.program import OUT

VERSION = "chronyc (chrony) version 4.3 (+READLINE +SECHASH +IPV6 -DEBUG)"
LEAPS = ("Normal", "Insert second", "Delete second", "Not synchronised")


@dataclass
class ChronydSettings(DeviceSettings):
    """server: whom it follows.  offset_s: of the system clock, positive when it is behind.
    jitter_s: rms of the last offsets."""

    server: str = "192.0.2.10"
    stratum: int = 3
    offset_s: float = 12e-6
    jitter_s: float = 4e-6
    frequency_ppm: float = -7.4


class Chronyd(ProgramDevice):
    """A daemon that follows one server until it loses it."""

    PROGRAM = "chronyc"
    MISSING, MISSING_KIND = "506 Cannot talk to daemon", OUT
    Settings = ChronydSettings
    WORLD = (("offset_s", float),)

    def setup(self) -> None:
        self.offset_s = self.config.offset_s
        self._synchronised = True
        self._leap = 0

    def booted(self) -> None:
        self._synchronised = True

    @property
    def _reference(self) -> str:
        """IPv4 address as eight digits; without a source 00000000."""
        if not self._synchronised:
            return "00000000"
        parts = self.config.server.split(".")
        return "".join(f"{int(p):02X}" for p in parts) if len(parts) == 4 else "7F7F0101"

    def tracking(self) -> list[str]:
        """The 14 values of ``tracking``."""
        c, here = self.config, self._synchronised
        last = self.random.gauss(0.0, c.jitter_s)
        return [
            self._reference, c.server if here else "", str(c.stratum + 1 if here else 0),
            f"{self.clock.now_s() if here else 0.0:.9f}", f"{self.faults.drift(self.offset_s):.9f}",
            f"{last:.9f}", f"{c.jitter_s:.9f}", f"{c.frequency_ppm:.3f}", "0.001", "0.021",
            "0.004211000" if here else "1.000000000", "0.000310000" if here else "1.000000000",
            "64.4", LEAPS[self._leap if here else 3],
        ]  # fmt: skip

    def sources(self) -> list[str]:
        """``sources``: mode, state, name, stratum, poll, reach, last sample, offsets, error."""
        here = self._synchronised
        state, reach = ("*", "377") if here else ("?", "0")
        c = self.config
        return ["^", state, c.server, str(c.stratum if here else 0), "6", reach, "12",
                "0.000003", "0.000005", "0.002105"]  # fmt: skip

    def printed(self, arguments: list[str]) -> str:
        try:
            given, words = getopt.getopt(arguments, "46acdmnNh:p:ef:v")
        except getopt.GetoptError as error:
            raise ProgramError(str(error)) from None
        options = {name for name, _ in given}
        if "-v" in options:
            return VERSION + "\n"
        comma = "-c" in options
        match words:
            case ["tracking"]:
                return self._report(self.tracking(), comma=comma, names=TRACKING)
            case ["sources", *_]:
                return self._report(self.sources(), comma=comma, names=SOURCES)
            case ["activity"]:
                online = int(self._synchronised)
                counts = [online, 1 - online, 0, 0, 0]
                if comma:
                    return ",".join(map(str, counts)) + "\n"
                rows = [f"{n} sources {what}\n" for n, what in zip(counts, ACTIVITY, strict=True)]
                return "200 OK\n" + "".join(rows)
            case ["sourcestats", *_]:
                row = [self.config.server, "12", "7", "710", "-0.001", "0.021", "0.000001", "0.0"]
                return self._report(row, comma=comma, names=STATISTICS)
            case ["online" | "offline" | "makestep" | "burst" | "shutdown", *_]:
                raise ProgramError("501 Not authorised", out=True)
        raise ProgramError("Unrecognized command")

    @staticmethod
    def _report(values: list[str], *, comma: bool, names: tuple[str, ...]) -> str:
        if comma:
            return ",".join(values) + "\n"
        return "".join(f"{n:16s}: {v}\n" for n, v in zip(names, values, strict=True))

    def state(self) -> dict[str, Any]:
        return {"synchronised": self._synchronised, "offset_s": self.offset_s}

    @fault("unsynchronised", "the server does not answer any more")
    def _lost(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._synchronised = False
        return lambda: setattr(self, "_synchronised", True)

    @fault("leap", "a second is to be inserted")
    def _leaps(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._leap = 1
        return lambda: setattr(self, "_leap", 0)


TRACKING = (
    "Reference ID", "Name", "Stratum", "Ref time (UTC)", "System time", "Last offset", "RMS offset",
    "Frequency", "Residual freq", "Skew", "Root delay", "Root dispersion", "Update interval",
    "Leap status",
)  # fmt: skip
SOURCES = ("Mode", "State", "Name", "Stratum", "Poll", "Reach", "LastRx", "Adjusted", "Measured",
           "Error")  # fmt: skip
ACTIVITY = ("online", "offline", "doing burst (return to online)",
            "doing burst (return to offline)", "with unknown address")  # fmt: skip
STATISTICS = ("Name", "NP", "NR", "Span", "Frequency", "Freq Skew", "Offset", "Std Dev")

REGISTRATION = Registration(
    "chrony-chronyd", "", Chronyd, "chrony, the clock of a host: its program chronyc"
)
