"""The polarization controllers of a bench as one stack of retarders."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from photonlink.hal import machine
from photonlink.hal.errors import InstrumentError, StationError
from photonlink.hal.facets import Retarder, Rotates
from photonlink.hal.opening import Bench
from photonlink.pipeline.calibration.alignment import AlignmentRecord
from photonlink.pipeline.node.station import AlignmentSection
from photonlink.pipeline.status.model import BlockReport

Floats = npt.NDArray[np.float64]

SAME_DEG = 0.02
"""Closer than this an axis stays where it is."""


class ControllerStack:
    """All axes of ``[alignment] controllers``, in the order in which light meets them.

    StationError: an instrument that is missing, has no axis, or has no retardance given.
    """

    def __init__(self, bench: Bench, wanted: AlignmentSection) -> None:
        found = bench.having(Rotates)
        self.names = tuple(wanted.controllers)
        self.axes: list[tuple[str, Rotates, int]] = []
        self.retarders: list[Retarder] = []
        for name in wanted.controllers:
            if name not in found:
                why = bench.missing.get(name, "it turns no polarization")
                raise StationError(f"{name} cannot align: {why}", where="alignment.controllers")
            instrument = found[name]
            self.axes += [(name, instrument, axis) for axis in instrument.axes]
            self.retarders += self._of(name, instrument, wanted)

    @staticmethod
    def _of(name: str, instrument: Rotates, wanted: AlignmentSection) -> Sequence[Retarder]:
        plate = wanted.plates.get(name)
        if plate is not None:
            return [Retarder(plate, 0.0, 0.0, 180.0) for _ in instrument.axes]
        if not instrument.retarders:
            raise StationError(
                f"{name} does not know what is mounted on it", where="alignment",
                hint=f'Say its retardance: plates = {{ "{name}" = 90.0 }}',
            )  # fmt: skip
        return instrument.retarders

    async def now_deg(self) -> list[float]:
        """Present angles of the axes, within their travel."""
        found = [await instrument.angle_deg(axis) for _, instrument, axis in self.axes]
        return [
            min(max(angle, r.low_deg), r.high_deg)
            for angle, r in zip(found, self.retarders, strict=True)
        ]

    async def move(self, setting_deg: Sequence[float]) -> None:
        """Move all axes; InstrumentError names the one that does not arrive."""
        for (name, instrument, axis), wanted in zip(self.axes, setting_deg, strict=True):
            if abs(await instrument.angle_deg(axis) - wanted) <= SAME_DEG:
                continue
            await instrument.move_to_deg(float(wanted), axis)
            arrived = await instrument.angle_deg(axis)
            if abs(arrived - wanted) > 1.0:
                raise InstrumentError(
                    f"axis {axis} was sent to {wanted:.2f}° and stands at {arrived:.2f}°",
                    where=name, hint="Is it switched on, homed, and free to move?",
                )  # fmt: skip


class PolarizationHold:
    """The controllers of a running link: at their alignment, then after the drift of the fibre.

    follow: False: they stand where they were aligned. Both rates of a block are public: error
    correction counts them, or a test basis is disclosed.
    """

    LOST = 0.03
    """This far above the model's expectation (QBER) in ``PATIENCE`` blocks in a row: lost."""
    PATIENCE = 3

    def __init__(self, stack: ControllerStack, record: AlignmentRecord, *, follow: bool) -> None:
        from photonlink.pipeline.stages.alignment.fit import LinkModel
        from photonlink.pipeline.stages.alignment.hold import Hold
        from photonlink.pipeline.stages.alignment.model import Controller

        if record.controllers != stack.names or len(record.setting_deg) != len(stack.axes):
            raise StationError(
                f"the alignment is of {', '.join(record.controllers)}", where="alignment",
                hint="Align again: photonlink align",
            )  # fmt: skip
        controller = Controller(stack.retarders)
        try:
            model = LinkModel.from_dict(controller, record.model)
        except (ValueError, KeyError, TypeError) as error:
            why = f"the alignment cannot be used: {error}"
            raise StationError(why, where="alignment") from None
        setting = np.array(record.setting_deg, np.float64)
        self._stack, self._follow = stack, follow
        self._hold = Hold(controller, model, setting)
        self._at = setting
        # times and angles of the last moves
        self._stood: deque[tuple[float, Floats]] = deque(maxlen=64)
        self._bad = 0
        self.why_lost = ""

    async def start(self) -> None:
        await self._go(self._hold.setting_deg if self._follow else self._at)

    async def _go(self, setting_deg: Floats) -> None:
        await self._stack.move(setting_deg.tolist())
        self._at = setting_deg
        self._stood.append((machine.monotonic_s(), setting_deg))

    async def block(self, report: BlockReport) -> None:
        """A block was distilled: update the estimate and turn the controllers."""
        if report.qber_hv is None or report.qber_da is None or not self._follow:
            return
        from photonlink.pipeline.stages.alignment.hold import BlockRates

        expected = max(self._hold.expected(self._at))
        worst = max(report.qber_hv, report.qber_da)
        self._bad = self._bad + 1 if worst > expected + self.LOST else 0
        text = f"QBER {report.qber_hv:.1%} / {report.qber_da:.1%}, expected {expected:.1%}"
        self.why_lost = text if self._bad >= self.PATIENCE else ""
        rates = BlockRates(
            report.qber_hv, report.sifted_bits_hv, report.qber_da, report.sifted_bits_da,
            report.duration_s, self._during(report.duration_s),
        )  # fmt: skip
        await asyncio.to_thread(self._hold.block, rates)
        await self._go(self._hold.setting_deg)

    def _during(self, seconds: float) -> list[tuple[Floats, float]]:
        """The controllers' angles during the last ``seconds``, and the share of the time at
        each.
        """
        end = machine.monotonic_s()
        begin = end - max(seconds, 1e-3)
        found: list[tuple[Floats, float]] = []
        until = end
        for since, setting in reversed(self._stood):
            share = (until - max(since, begin)) / (end - begin)
            if share > 0:
                found.append((setting, share))
            until = min(since, until)
            if since <= begin:
                break
        else:
            rest = (until - begin) / (end - begin)
            if rest > 0 and self._stood:
                found.append((self._stood[0][1], rest))
        return found
