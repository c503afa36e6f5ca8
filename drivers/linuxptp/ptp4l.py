"""A network interface's clock, disciplined by linuxptp, read with ``pmc -u -b 0 'GET …'``.

Output as observed of linuxptp 3.1.1 (a master on the loopback; a slave was not tried). pmc speaks
to ptp4l's Unix socket, so its user needs rights to it. Read only.
"""

from __future__ import annotations

import re

from pydantic import Field

from photonlink.hal.codecs.programs import ProgramCodec
from photonlink.hal.driver import Driver
from photonlink.hal.errors import LinkClosed, LinkDesync
from photonlink.hal.facets import ClockState, Identity, ReportsClock
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="linuxptp.ptp4l",
    title="linuxptp: clock status of a PTP port",
    driver="Ptp4l",
    facets=("ReportsClock",),
    transports=("program",),
    evidence="transcript",
    emulator="linuxptp-ptp4l",
    case={"reply_timeout_s": 0.9, "steady": ("port_state", "SLAVE")},
)
_FIELD = re.compile(r"^\t\t(\S+)[ \t]+(\S.*?)\s*$", re.MULTILINE)
_RESPONSE = re.compile(r"^\t([0-9a-f]{6}\.[0-9a-f]{4}\.[0-9a-f]{6})-\d+ seq .* RESPONSE", re.M)


class Ptp4l(Driver, ReportsClock):
    """One ptp4l. Locked means: its port is a slave, and a grandmaster is present.

    A parameter's question is ``data set, field``.
    """

    PARAMS = (
        Param("offset_ns", float, "from the master; positive when this clock is ahead",
              "TIME_STATUS_NP master_offset", unit="ns"),
        Param("master_present", bool, "a grandmaster is present", "TIME_STATUS_NP gmPresent",
              choices={True: "true", False: "false"},
              stops={False: "ptp4l hears no grandmaster: look at cable and switch"}),
        Param("grandmaster", str, "its identity", "TIME_STATUS_NP gmIdentity"),
        Param("path_delay_ns", float, "to the master", "CURRENT_DATA_SET meanPathDelay", unit="ns"),
        Param("steps_removed", int, "from the grandmaster", "CURRENT_DATA_SET stepsRemoved"),
        Param("port_state", str, "of the port, in ptp4l's words", "PORT_DATA_SET portState"),
        Param("clock_class", int, "of the grandmaster: 6 is locked to a reference",
              "PARENT_DATA_SET gm.ClockClass"),
    )  # fmt: skip
    CODEC = ProgramCodec

    class Settings(DriverSettings):
        """Which ptp4l."""

        socket: str = Field(default="/var/run/ptp4l", description="`-s`: socket of ptp4l")
        domain: int = Field(default=0, ge=0, le=255, description="`-d`: domain of the clocks")

    async def _response(self, data_set: str) -> tuple[str, dict[str, str]]:
        """The answering port, and the fields of its response."""
        text = await self.codec.ask(
            "-u", "-b", "0", "-s", self.settings.socket, "-d", str(self.settings.domain),
            f"GET {data_set}",
        )  # fmt: skip
        found = _RESPONSE.search(text)
        if found is None:
            if text.strip() == f"sending: GET {data_set}":
                raise LinkClosed("ptp4l does not answer", where=self.name,
                                 hint="Does it run, and may this user use its socket?")  # fmt: skip
            raise LinkDesync("pmc prints another form", where=self.name, seen=ascii(text[:80]))
        return found[1], dict(_FIELD.findall(text))

    async def identify(self) -> Identity:
        """By the clock's identity, which is the interface's address."""
        identity, _ = await self._response("TIME_STATUS_NP")
        return Identity("linuxptp", "ptp4l", identity, (await self.codec.ask("-v")).strip())

    async def read(self, param: Param) -> Value:
        data_set, name = param.get.split()
        return self._value(param, (await self._response(data_set))[1], name)

    def _value(self, param: Param, fields: dict[str, str], name: str) -> Value:
        if name not in fields:
            raise LinkDesync(f"pmc does not print {name}", where=self.name)
        return param.parse(fields[name], self.name)

    async def clock_state(self) -> ClockState:
        present = bool(await self.get("master_present"))
        locked = present and await self.get("port_state") == "SLAVE"
        offset_s = await self.params.get_float("offset_ns") * 1e-9
        return ClockState(locked, str(await self.get("grandmaster")), offset_s)
