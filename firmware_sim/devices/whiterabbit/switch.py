"""Emulated White Rabbit switch: its SNMP agent, one slave port, one servo.

Objects: the CERN switch MIB ``WR-SWITCH-MIB``, revision 2018-07. Evidence: manual. Unverified,
chosen here: syntax of each object (Integer32, Counter32, Counter64, text), figures, one update a
second. The first read of an object that compares two readings gives 6, as in the MIB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.kit.snmp import (
    COUNTER32,
    COUNTER64,
    OCTETS,
    Oid,
    SnmpDevice,
    number,
    pack,
)

BASE: Oid = (1, 3, 6, 1, 4, 1, 96, 100)
TAI_AHEAD_S = 37
OK, ERROR, WARNING, FIRST_READ = 1, 2, 3, 6
LIGHT_M_S, INDEX = 299_792_458.0, 1.468


@dataclass
class WrSwitchSettings(DeviceSettings):
    """fibre_m: to the master.  update_s: of the servo.  jitter_ps: rms of the offset."""

    fibre_m: float = 1000.0
    update_s: float = 0.05
    jitter_ps: float = 20.0


class WrSwitch(SnmpDevice):
    """A slave that tracks the phase of its master until its link is lost."""

    Settings = WrSwitchSettings
    WORLD = (("offset_ps", float),)
    NO_FAULTS = ("ignore-sets", "drift")
    offset_ps = 0.0

    def setup(self) -> None:
        self._up, self._stuck, self._delocks = True, False, 0
        self._stopped_at = 0
        self._asked = False

    def booted(self) -> None:
        self._delocks, self._asked = 0, False

    @property
    def _updates(self) -> int:
        if self._stuck or not self._up:
            return self._stopped_at
        return int(self.clock.now_s() / self.config.update_s) % 2**32

    def objects(self) -> dict[Oid, bytes]:
        locked, first = self._up, not self._asked
        self._asked = True
        round_trip_ps = round(2e12 * self.config.fibre_m * INDEX / LIGHT_M_S)
        offset_ps = round(self.offset_ps + self.random.gauss(0.0, self.config.jitter_ps))
        offset_ps = max(min(offset_ps, 2**31 - 1), -(2**31))
        state = OK if locked else ERROR
        scalars: dict[Oid, bytes] = {
            (6, 1, 1): number(state), (6, 1, 2): number(OK), (6, 1, 3): number(state),
            (6, 1, 4): number(OK), (6, 2, 1, 2): number(OK), (6, 2, 2, 1): number(state),
            (6, 2, 2, 2): number(state), (6, 2, 2, 3): number(state),
            (6, 2, 2, 4): number(FIRST_READ if first else state), (6, 2, 2, 5): number(OK),
            (6, 3, 1, 1): pack(OCTETS, b"v6.1"),
            (6, 3, 1, 2): pack(OCTETS, self.serial_number.encode()),
            (7, 1, 1, 1): number(int(self.clock.now_s()) + TAI_AHEAD_S, COUNTER64),
            (7, 1, 1, 4): number(0),
            (7, 3, 2, 1): number(3), (7, 3, 2, 3): number(8 if locked else 3),
            (7, 3, 2, 4): number(6 if locked else 1), (7, 3, 2, 5): number(1),
            (7, 3, 2, 6): number(int(locked)), (7, 3, 2, 9): number(self._delocks, COUNTER32),
        }  # fmt: skip
        servo: dict[int, bytes] = {
            2: pack(OCTETS, b"wri1"), 6: pack(OCTETS, b"TRACK_PHASE" if locked else b"SYNC_NSEC"),
            7: number(4 if locked else 1), 8: number(2), 10: number(offset_ps),
            11: number(offset_ps), 12: number(0), 13: number(round_trip_ps),
            14: number(round(self.config.fibre_m)), 15: number(self._updates, COUNTER32),
            24: number(2),
        }  # fmt: skip
        ports: dict[int, bytes] = {3: number(2 if locked else 1), 4: number(3),
                                   5: number(2 if locked else 1)}  # fmt: skip
        found = {(*BASE, *oid, 0): value for oid, value in scalars.items()}
        found |= {(*BASE, 7, 5, 1, column, 1): value for column, value in servo.items()}
        return found | {(*BASE, 7, 6, 1, column, 1): value for column, value in ports.items()}

    def state(self) -> dict[str, Any]:
        return {"locked": self._up and not self._stuck, "delocks": self._delocks}

    @fault("link-lost", "the fibre to the master is cut")
    def _lost(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stopped_at = self._updates
        self._up = False
        self._delocks += 1
        return lambda: setattr(self, "_up", True)

    @fault("servo-stuck", "every state looks well and the servo no longer updates")
    def _hangs(self, _: Mapping[str, Any]) -> Callable[[], object]:
        self._stopped_at = self._updates
        self._stuck = True
        return lambda: setattr(self, "_stuck", False)


REGISTRATION = Registration(
    "whiterabbit-switch", "", WrSwitch, "White Rabbit switch, its SNMP agent"
)
