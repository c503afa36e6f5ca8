"""Scheduled faults: the bench file's ``[[faults]]``, in bench time.

Each is a set of parameters (with ``for_s`` the old values come back) or one device's control
command. The same file and seed give the same faults in the same slices.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Any

from photonlink.firmware_sim.config import ScheduledFault
from photonlink.firmware_sim.optical_table import OpticalTable

DeviceControl = Callable[[str, Mapping[str, Any]], Any]


class Schedule:
    """Faults to come, in order of time. Call :meth:`run` once per slice."""

    def __init__(self, faults: list[ScheduledFault]) -> None:
        self._queue = [(f.at_s, i, f) for i, f in enumerate(faults)]
        heapq.heapify(self._queue)
        self._next = len(faults)

    def run(self, bench: OpticalTable, control: DeviceControl) -> list[str]:
        """Apply everything due before the next slice; returns the faults that could not be
        applied.
        """
        errors = []
        while self._queue and self._queue[0][0] * 1e12 < bench.end_ps + bench.slice_ps:
            at_s, _, fault = heapq.heappop(self._queue)
            try:
                self._apply(at_s, fault, bench, control)
            except (ValueError, TypeError) as error:
                errors.append(f"scheduled fault at {at_s} s: {error}")
        return errors

    def _apply(
        self, at_s: float, fault: ScheduledFault, bench: OpticalTable, control: DeviceControl
    ) -> None:
        if fault.set:
            before = {path: bench.get(path) for path in fault.set}
            bench.set(fault.set)
            if fault.for_s is not None:
                undo = ScheduledFault(at_s=at_s + fault.for_s, set=before)
                heapq.heappush(self._queue, (undo.at_s, self._next, undo))
                self._next += 1
        if fault.device:
            extra = {} if fault.for_s is None else {"for_s": fault.for_s}
            control(fault.device, {**fault.command, **extra})
