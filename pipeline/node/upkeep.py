"""Keeps a running bench in date: its calibration, its polarization, its readiness."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from photonlink.hal import machine
from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.opening import Bench
from photonlink.hal.params import Value
from photonlink.pipeline.calibration import alignment
from photonlink.pipeline.calibration.alignment import AlignmentRecord, AlignmentUnreadable
from photonlink.pipeline.calibration.model import Calibration
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.node.calibrated import until_it_ends
from photonlink.pipeline.node.polarization import ControllerStack, PolarizationHold
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.readiness.done import FILE_NAME, TasksUnreadable, load_done, of_calibration
from photonlink.pipeline.readiness.tasks import (
    ALIGNMENT,
    CALIBRATION,
    Done,
    Standing,
    all_tasks,
    judge,
)
from photonlink.pipeline.status.alarms import alarm
from photonlink.pipeline.status.model import Alarm, BlockReport, Readiness

LOOK_S = 5.0
SAY_S = 30.0
MAX_BLOCKS = 16


class Upkeep:
    """``run`` in a task; ``block`` with every block that was distilled.

    readings: what the supervisor last read of each instrument. record: takes alarms and readiness.
    notice: takes a line for people.
    """

    def __init__(
        self,
        station: NodeStation,
        bench: Bench,
        calibration: Calibration,
        psk: PreSharedKey,
        record: Callable[[Alarm | Readiness], None],
        notice: Callable[[str], None],
    ) -> None:
        self._station, self._bench, self._calibration = station, bench, calibration
        self._record, self._notice = record, notice
        self._blocks: deque[BlockReport] = deque(maxlen=MAX_BLOCKS)
        self._came = asyncio.Event()
        self._aligned: AlignmentRecord | None = None
        self._misaligned = ""
        if station.alignment is not None and station.alignment_path.exists():
            try:
                self._aligned = alignment.read(station.alignment_path, psk)
            except AlignmentUnreadable as error:
                self._misaligned = error.what
        self._tasks = all_tasks(station.task, station.own_tasks)
        self._unready: str | None = None
        self._said_s = float("-inf")

    def block(self, report: BlockReport) -> None:
        """Does not wait; when the queue is full, its oldest report is dropped."""
        self._blocks.append(report)
        self._came.set()

    async def run(self, readings: Mapping[str, Mapping[str, Value]]) -> None:
        """Until cancelled; CalibrationExpired when the link's calibration ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(until_it_ends(self._calibration, self._record))
            group.create_task(self._stay_ready(readings))
            if self._station.alignment is not None:
                group.create_task(self._hold())

    # ---- readiness ----
    async def _stay_ready(self, readings: Mapping[str, Mapping[str, Value]]) -> None:
        while True:
            self.look(readings)
            await asyncio.sleep(LOOK_S)

    def look(self, readings: Mapping[str, Mapping[str, Value]]) -> list[Standing]:
        """Check the state of every task; report it when it changes, and every half minute."""
        flat = {f"{n}.{key}": v for n, values in readings.items() for key, v in values.items()}
        found = judge(self._tasks, self._done(), flat, machine.wall_s())
        due = tuple(f"{task.name}: {task.why}" for task in found if not task.ok)
        why = "; ".join(due)
        now_s = machine.monotonic_s()
        if why != self._unready or now_s >= self._said_s + SAY_S:
            self._said_s = now_s
            self._record(_told(found, due))
        if why != self._unready and (why or self._unready):
            self._record(alarm("not_ready", why, active=bool(why)))
        self._unready = why
        return found

    def _done(self) -> dict[str, Done]:
        path = self._station.node.state_dir / FILE_NAME
        try:
            done = load_done(path)
        except TasksUnreadable as error:
            done = {task.name: Done(0.0, problem=error.what) for task in self._station.task}
        own = of_calibration(self._calibration)
        if own is not None:
            done[CALIBRATION] = own
        done.pop(ALIGNMENT, None)
        if self._misaligned:
            done[ALIGNMENT] = Done(0.0, problem=self._misaligned)
        elif self._aligned is not None:
            at, until = self._aligned.measured_at_s, self._aligned.valid_until_s
            done[ALIGNMENT] = Done(at, "photonlink align", until)
        return done

    # ---- polarization ----
    async def _hold(self) -> None:
        """Move to the alignment, and follow drift by the error rates of finished blocks."""
        wanted, record = self._station.alignment, self._aligned
        if wanted is None or record is None:
            return
        try:
            stack = ControllerStack(self._bench, wanted)
            hold = PolarizationHold(stack, record, follow=wanted.hold)
            await hold.start()
        except PhotonlinkError as error:
            self._lost(str(error))
            return
        told = ""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._blocks:
                try:
                    await hold.block(self._blocks.popleft())
                    told = hold.why_lost
                except PhotonlinkError as error:
                    told = str(error)
                self._lost(told)

    def _lost(self, why: str) -> None:
        if why != self._misaligned:
            self._misaligned = why
            self._record(alarm("polarization_lost", why, active=bool(why)))
            if why:
                self._notice(f"polarization: {why}")


def _told(found: Sequence[Standing], due: tuple[str, ...]) -> Readiness:
    readings: dict[str, float | bool | None] = {}
    for task in found:
        readings[f"task_{task.name}_ok"] = task.ok
        readings[f"task_{task.name}_left_s"] = None if task.left_s is None else round(task.left_s)
    return Readiness(not due, due, readings)
