"""The host's clock, disciplined by chrony, read with ``chronyc -c``.

Report: ``tracking`` of chronyc(1), values in seconds and ppm, as observed of chrony 4.3. Read only:
nothing here needs more than a user's rights.
"""

from __future__ import annotations

from pydantic import Field

from photonlink.hal.codecs.programs import ProgramCodec
from photonlink.hal.driver import Driver
from photonlink.hal.errors import IdentityError, LinkDesync
from photonlink.hal.facets import ClockState, Identity, ReportsClock
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="chrony.chronyd",
    title="chrony: clock status of a host",
    driver="Chronyd",
    facets=("ReportsClock",),
    transports=("program",),
    evidence="transcript",
    emulator="chrony-chronyd",
    case={"reply_timeout_s": 0.9, "steady": ("stratum", 4)},
)
TRACKING = "-n -c tracking"
FIELDS = (
    "reference_id", "source", "stratum", "reference_time_s", "offset_s", "last_offset_s",
    "rms_offset_s", "frequency_ppm", "residual_ppm", "skew_ppm", "root_delay_s",
    "root_dispersion_s", "update_interval_s", "leap",
)  # fmt: skip
"""The values of one report, in its order."""
_UNSYNCHRONISED = "Not synchronised"
_LOCAL = ("7F7F0101", "00000000", "")
"""Reference IDs of a clock that follows nobody: its own, none."""


class Chronyd(Driver, ReportsClock):
    """One host's clock. Locked means: it follows a source and reports that it is synchronised."""

    PARAMS = (
        Param("reference_id", str, "whom it follows, as eight digits", TRACKING),
        Param("source", str, "its name or address", TRACKING),
        Param("stratum", int, "steps from a reference clock", TRACKING),
        Param("offset_s", float, "time to the source; positive when this clock is behind", TRACKING,
              unit="s"),
        Param("rms_offset_s", float, "long-term average of the offset", TRACKING, unit="s"),
        Param("frequency_ppm", float, "error of the clock if uncorrected, ppm", TRACKING),
        Param("skew_ppm", float, "estimated error of the frequency, ppm", TRACKING),
        Param("root_delay_s", float, "network delay to the reference clock", TRACKING, unit="s"),
        Param("root_dispersion_s", float, "dispersion to the reference clock", TRACKING, unit="s"),
        Param("leap", str, "leap status, in chrony's words", TRACKING,
              stops={_UNSYNCHRONISED: "the host's clock is not synchronised. See chronyc sources"}),
    )  # fmt: skip
    CODEC = ProgramCodec

    class Settings(DriverSettings):
        """Where the daemon is; the usual place is this machine's."""

        host: str = Field(default="", max_length=255, description="`-h`: host or socket of chronyd")
        port: int = Field(default=323, ge=1, le=65_535, description="`-p`: its command port")

    @property
    def _place(self) -> list[str]:
        host, port = self.settings.host, self.settings.port
        return ["-h", host, "-p", str(port)] if host else []

    async def identify(self) -> Identity:
        """By the program's version; the report shows that a daemon answers it."""
        version = (await self.codec.ask("-v")).strip()
        if "chrony" not in version:
            raise IdentityError("this is no chronyc", where=self.name, seen=version[:80])
        await self._tracking()
        return Identity("chrony", "chronyd", "", version.partition(" (+")[0])

    async def _tracking(self) -> dict[str, str]:
        text = await self.codec.ask(*self._place, *TRACKING.split())
        reports = [values for x in text.splitlines() if len(values := x.split(",")) == len(FIELDS)]
        if len(reports) != 1:
            raise LinkDesync("the report has another form", where=self.name, seen=text[:80])
        return dict(zip(FIELDS, reports[0], strict=True))

    async def read(self, param: Param) -> Value:
        return param.parse((await self._tracking())[param.name], self.name)

    async def clock_state(self) -> ClockState:
        """Offset positive when this clock is ahead of its source."""
        found = await self._tracking()
        locked = found["leap"] != _UNSYNCHRONISED and found["reference_id"] not in _LOCAL
        offset_s = -float(self.params["offset_s"].parse(found["offset_s"], self.name))
        return ClockState(locked, found["source"] or "chrony", offset_s)
