"""Emulated linuxptp: the program ``pmc`` and the ``ptp4l`` behind it.

Output as observed of linuxptp 3.1.1 (Debian 12) on the loopback: a line ``sending:``, then a
response whose fields are indented by two tabs, values in one column. Without an answer only the
first line comes, with status 0; a command it does not know is named on standard error (status 0).
Unverified, chosen here: figures of a slave (observed was a master), which of its data sets exist
beside those below.
"""

from __future__ import annotations

import getopt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.program import ProgramDevice, ProgramError
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings

_COMMAND = re.compile(r"GET\s+([A-Z_]+)", re.IGNORECASE)


@dataclass
class Ptp4lSettings(DeviceSettings):
    """offset_ns: from the master.  jitter_ns: rms of it.  delay_ns: to the master."""

    offset_ns: float = 3.0
    jitter_ns: float = 8.0
    delay_ns: float = 512.0
    grandmaster: str = "001b21.fffe.aabbcc"


class Ptp4l(ProgramDevice):
    """A slave port that tracks its master until the link is lost."""

    PROGRAM = "pmc"
    MISSING = "uds: failed to connect"
    Settings = Ptp4lSettings
    WORLD = (("offset_ns", float),)
    NO_FAULTS = (*ProgramDevice.NO_FAULTS, "drift")

    def setup(self) -> None:
        self.offset_ns = self.config.offset_ns
        self._linked = True

    def booted(self) -> None:
        self._linked = True

    def make_serial(self, seed: int) -> str:
        return f"{seed % 2**24:06x}.fffe.{seed // 2**24 % 2**24:06x}"

    def _sets(self) -> dict[str, dict[str, str]]:
        offset = self.offset_ns + self.random.gauss(0.0, self.config.jitter_ns)
        linked, mine = self._linked, self.serial_number
        master = self.config.grandmaster if linked else mine
        return {
            "TIME_STATUS_NP": {
                "master_offset": f"{offset:.0f}", "ingress_time": f"{self.clock.now_s() * 1e9:.0f}",
                "cumulativeScaledRateOffset": "+0.000000000", "scaledLastGmPhaseChange": "0",
                "gmTimeBaseIndicator": "0", "lastGmPhaseChange": "0x0000'0000000000000000.0000",
                "gmPresent": str(linked).lower(), "gmIdentity": master,
            },
            "CURRENT_DATA_SET": {
                "stepsRemoved": str(int(linked)), "offsetFromMaster": f"{offset:.1f}",
                "meanPathDelay": f"{self.config.delay_ns:.1f}",
            },
            "PORT_DATA_SET": {
                "portIdentity": f"{mine}-1", "portState": "SLAVE" if linked else "LISTENING",
                "logMinDelayReqInterval": "0", "peerMeanPathDelay": "0",
                "logAnnounceInterval": "1", "announceReceiptTimeout": "3", "logSyncInterval": "0",
                "delayMechanism": "1", "logMinPdelayReqInterval": "0", "versionNumber": "2",
            },
            "PARENT_DATA_SET": {
                "parentPortIdentity": f"{master}-{int(linked)}", "parentStats": "0",
                "observedParentOffsetScaledLogVariance": "0xffff",
                "observedParentClockPhaseChangeRate": "0x7fffffff",
                "grandmasterPriority1": "128", "gm.ClockClass": "6" if linked else "248",
                "gm.ClockAccuracy": "0x21" if linked else "0xfe",
                "gm.OffsetScaledLogVariance": "0x4e5d" if linked else "0xffff",
                "grandmasterPriority2": "128", "grandmasterIdentity": master,
            },
            "TIME_PROPERTIES_DATA_SET": {
                "currentUtcOffset": "37", "leap61": "0", "leap59": "0",
                "currentUtcOffsetValid": str(int(linked)), "ptpTimescale": "1",
                "timeTraceable": str(int(linked)), "frequencyTraceable": str(int(linked)),
                "timeSource": "0x20",
            },
            "DEFAULT_DATA_SET": {
                "twoStepFlag": "1", "slaveOnly": "1", "numberPorts": "1", "priority1": "128",
                "clockClass": "255", "clockAccuracy": "0xfe",
                "offsetScaledLogVariance": "0xffff", "priority2": "128", "clockIdentity": mine,
                "domainNumber": "0",
            },
        }  # fmt: skip

    def printed(self, arguments: list[str]) -> str:
        try:
            given, commands = getopt.getopt(arguments, "246ub:d:f:hi:s:t:vz")
        except getopt.GetoptError as error:
            raise ProgramError(str(error)) from None
        if any(name == "-v" for name, _ in given):
            return "3.1.1\n"
        names = [(text, _COMMAND.fullmatch(text.strip())) for text in commands]
        return "".join(self._response(text, found[1].upper() if found else "")
                       for text, found in names)  # fmt: skip

    def _response(self, text: str, name: str) -> str:
        fields = self._sets().get(name)
        if fields is None:
            raise ProgramError(f"bad command: {text}", 0)
        column = max(map(len, fields)) + 1
        rows = "".join(f"\t\t{field:{column}s}{value}\n" for field, value in fields.items())
        port = int(name == "PORT_DATA_SET")
        head = f"\t{self.serial_number}-{port} seq 0 RESPONSE MANAGEMENT {name} \n"
        return f"sending: GET {name}\n{head}{rows}"

    def state(self) -> dict[str, Any]:
        return {"linked": self._linked, "offset_ns": self.offset_ns}

    @fault("master-lost", "the master does not send any more")
    def _lost(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._linked = False
        return lambda: setattr(self, "_linked", True)


REGISTRATION = Registration(
    "linuxptp-ptp4l", "", Ptp4l, "linuxptp, the clock of an interface: its program pmc"
)
