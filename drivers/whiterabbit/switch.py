"""White Rabbit switch: lock state and offset of its clock. Read only, SNMP v2c (UDP 161).

Objects: the CERN switch MIB ``WR-SWITCH-MIB``, revision 2018-07, below ``1.3.6.1.4.1.96.100``. Not
tried on hardware.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from photonlink.hal.codecs.snmp import SnmpCodec
from photonlink.hal.driver import Driver
from photonlink.hal.errors import IdentityError
from photonlink.hal.facets import ClockState, Identity, ReportsClock
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="whiterabbit.switch",
    title="White Rabbit switch: clock status over SNMP",
    driver="WrSwitch",
    facets=("ReportsClock",),
    transports=("udp",),
    evidence="manual",
    emulator="whiterabbit-switch",
    case={"steady": ("servo_state", "track_phase")},
)
BASE = "1.3.6.1.4.1.96.100"
_OK, _READY, _LOCKED = 1, 8, 6
_STATUS: dict[Value, str] = {"not_available": "0", "ok": "1", "error": "2", "warning": "3",
           "warning_not_available": "4", "bug": "5"}  # fmt: skip
_MODES: dict[Value, str] = {
    "none": "0",
    "grandmaster": "1",
    "free_running_master": "2",
    "slave": "3",
}
_SERVO: dict[Value, str] = {
    "uninitialized": "0", "sync_nsec": "1", "sync_sec": "2", "sync_phase": "3",
    "track_phase": "4", "wait_offset_stable": "5",
}  # fmt: skip
_ERROR: dict[Value, str] = {"error": "the switch reports an error: look at its status page"}


class WrSwitch(Driver, ReportsClock):
    """One switch, its first servo. Locked means: main status OK, PLL ready, servo tracking phase,
    and its update counter has changed since the last query of the clock."""

    PARAMS = (
        Param("main_status", str, "the switch as a whole", f"{BASE}.6.1.1.0", choices=_STATUS,
              stops=_ERROR),
        Param("timing_status", str, "its timing", f"{BASE}.6.1.3.0", choices=_STATUS, stops=_ERROR),
        Param("pll_mode", str, "mode of the soft PLL", f"{BASE}.7.3.2.1.0", choices=_MODES),
        Param("pll_sequence", int, "sequence of the soft PLL: 8 is ready", f"{BASE}.7.3.2.3.0"),
        Param("pll_align", int, "alignment of the soft PLL: 6 is locked", f"{BASE}.7.3.2.4.0"),
        Param("delocks", int, "how often the PLL lost its lock", f"{BASE}.7.3.2.9.0"),
        Param("servo_state", str, "state of the servo", f"{BASE}.7.5.1.7.1", choices=_SERVO),
        Param("servo_updates", int, "updates of the servo", f"{BASE}.7.5.1.15.1"),
        Param("offset_ps", int, "offset from the master", f"{BASE}.7.5.1.10.1", unit="ps"),
        Param("round_trip_ps", int, "round trip to the master", f"{BASE}.7.5.1.13.1", unit="ps"),
        Param("link_m", int, "length of the fibre", f"{BASE}.7.5.1.14.1", unit="m"),
        Param("host_drift_s", int, "of its Linux clock", f"{BASE}.7.1.1.4.0", unit="s"),
    )  # fmt: skip
    CODEC = SnmpCodec

    class Settings(DriverSettings):
        """Of the SNMP agent."""

        community: str = Field(
            default="public", min_length=1, max_length=64, description="SNMP community; no secret"
        )

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.codec.community = self.settings.community
        self._updates: int | None = None

    async def identify(self) -> Identity:
        """By the versions that the MIB lists; there is no serial number among them."""
        oids = [f"{BASE}.6.3.1.{n}.0" for n in (1, 2)]
        found = await self.codec.values(oids)
        if any(found[oid] is None for oid in oids):
            raise IdentityError("this is no White Rabbit switch", where=f"{self.name} "
                                f"({self.address})", seen=str(found))  # fmt: skip
        self._updates = None
        return Identity("CERN", "White Rabbit switch", str(found[oids[1]]), str(found[oids[0]]))

    async def clock_state(self) -> ClockState:
        """The first question after opening has no counter to compare with: not locked yet."""
        state = {p.name: await self.get(p.name) for p in self.PARAMS if p.name != "link_m"}
        updates, before = int(state["servo_updates"]), self._updates
        self._updates = updates
        locked = (
            state["main_status"] == "ok"
            and state["pll_sequence"] == _READY
            and state["pll_align"] == _LOCKED
            and state["servo_state"] == "track_phase"
            and before is not None
            and updates != before
        )
        return ClockState(locked, "White Rabbit", int(state["offset_ps"]) * 1e-12)
