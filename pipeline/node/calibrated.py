"""A node's calibration: read and compared with its bench before any light, watched afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from photonlink.hal import machine
from photonlink.hal.opening import Bench
from photonlink.pipeline.calibration.files import load
from photonlink.pipeline.calibration.instruments import instruments_of
from photonlink.pipeline.calibration.model import Calibration
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.node.recorded_session import detector_map
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.status.model import Alarm, LinkState, Severity

NOTICE_S = 3600.0
"""An alarm says so this long before the calibration runs out."""


def calibrated(station: NodeStation, bench: Bench, psk: PreSharedKey) -> Calibration:
    """The link's calibration, in force for these instruments; CalibrationError otherwise."""
    found = load(station.calibration_path, psk)
    inputs = dict(detector_map(station, bench).channels)
    found.require(
        station.node.role,
        instruments_of(bench, station.channels.detectors),
        inputs,
        machine.wall_s(),
    )
    return found


def summary(calibration: Calibration) -> dict[str, Any]:
    """The fields of the calibration that are published."""
    return {
        "digest": calibration.digest,
        "measured_at_s": calibration.measured_at_s,
        "left_s": round(calibration.seconds_left(machine.wall_s())),
        "operators": sorted({calibration.alice.operator, calibration.bob.operator}),
    }


def with_time_left(state: LinkState, calibration: Calibration | None) -> LinkState:
    """The state with the remaining validity of the calibration, since the session has no
    calendar.
    """
    if calibration is None:
        return state
    left_s = max(calibration.seconds_left(machine.wall_s()), 0.0)
    return dataclasses.replace(state, calibration_left_s=round(left_s, 1))


async def until_it_ends(calibration: Calibration, record: Callable[[Alarm], None]) -> None:
    """Run while the calibration is valid, then raise CalibrationExpired."""
    said = False
    while True:  # the host's clock may be set meanwhile
        calibration.require_in_force(machine.wall_s())
        left_s = calibration.seconds_left(machine.wall_s())
        if left_s < NOTICE_S and not said:
            said = True
            text = f"the calibration runs out in {left_s / 60:.0f} min"
            record(Alarm("calibration_ends", Severity.MINOR, text))
        await asyncio.sleep(min(max(left_s, 0.1), 60.0))
