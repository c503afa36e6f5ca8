"""A running node holds its polarization and reports tasks of its bench that are out of date."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import sys
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import jsonschema
import numpy as np
import pytest

from photonlink.hal.errors import InstrumentError, StationError, first_error
from photonlink.hal.facets import Retarder, Rotates
from photonlink.hal.opening import Bench
from photonlink.pipeline.calibration.alignment import AlignmentRecord, save
from photonlink.pipeline.calibration.model import Calibration, CalibrationExpired
from photonlink.pipeline.keys.psk import PreSharedKey, create_psk, load_psk
from photonlink.pipeline.node import upkeep as upkeep_module
from photonlink.pipeline.node.polarization import ControllerStack, PolarizationHold
from photonlink.pipeline.node.station import AlignmentSection, NodeStation
from photonlink.pipeline.node.upkeep import Upkeep
from photonlink.pipeline.readiness.tasks import CalibrationTask
from photonlink.pipeline.status.model import Alarm, BlockReport, Readiness
from photonlink.pipeline.status.payload import encode, schema
from photonlink.pipeline.status.topics import Speaker

NOW = 1_800_000_000.0
BLOCK = BlockReport(
    1, 200_000, 100_000, 100_000, 200_000, 0, 0.02, 0.021, 15_000, 1.05, 64, 40_000, 1024, 38_976,
    30_000, 1.1e-10, 0.08, 0.08, 40, 21.0, True,
)  # fmt: skip


@pytest.fixture(scope="module")
def links() -> Any:
    root = str(Path(__file__).resolve().parents[2])
    sys.path.insert(0, root)
    try:
        return importlib.import_module("benchmarks.polarization")
    finally:
        sys.path.remove(root)


class Paddles:
    """A controller whose angles move the emulated light."""

    axes = (1, 2, 3, 4)
    safety_rank = 0

    def __init__(self, link: Any, retarders: tuple[Retarder, ...]) -> None:
        self.link, self.retarders = link, retarders
        self.angles = [0.0] * len(retarders)
        self.stuck = False

    async def angle_deg(self, axis: int = 1) -> float:
        return self.angles[axis - 1]

    async def move_to_deg(self, angle: float, axis: int = 1) -> None:
        if not self.stuck:
            self.angles[axis - 1] = angle
            self.link.move(np.array(self.angles))


Rotates.register(Paddles)


def record_of(search: Any) -> AlignmentRecord:
    setting = tuple(float(angle) for angle in search.setting_deg)
    return AlignmentRecord(
        round(NOW) - 60, round(NOW) + 3600, ("epc",), setting, search.moves, search.qber,
        search.model.floor, True, search.model.as_dict(),
    )  # fmt: skip


@dataclasses.dataclass
class World:
    bench: Bench
    link: Any
    paddles: Paddles
    record: AlignmentRecord
    stack: ControllerStack


@pytest.fixture(scope="module")
def aligned(links: Any) -> tuple[Any, AlignmentRecord]:
    link = links.TurnedLink(links.SQUEEZERS, 21)
    return link, record_of(link.align())


@pytest.fixture
def world(links: Any, aligned: tuple[Any, AlignmentRecord]) -> World:
    link, record = aligned
    paddles = Paddles(link, links.SQUEEZERS)
    bench = Bench(cast(Any, {"epc": paddles}), {})
    stack = ControllerStack(bench, AlignmentSection(controllers=["epc"]))
    return World(bench, link, paddles, record, stack)


async def test_it_stands_beside_the_best_setting_and_moves_with_each_block(world: World) -> None:
    still = PolarizationHold(world.stack, world.record, follow=False)
    await still.start()
    assert world.paddles.angles == pytest.approx(list(world.record.setting_deg))
    assert world.link.qber < 0.0169 + 0.003
    hold = PolarizationHold(world.stack, world.record, follow=True)
    await hold.start()
    seen = set()
    for _ in range(6):
        hv, da = 0.5 * (1 - np.diag(world.link.correlation))
        assert max(hv, da) < 0.0169 + 0.012
        await hold.block(dataclasses.replace(BLOCK, qber_hv=float(hv), qber_da=float(da)))
        seen.add(tuple(round(angle) for angle in world.paddles.angles))
    assert len(seen) >= 5
    assert not hold.why_lost
    before = list(world.paddles.angles)
    await hold.block(dataclasses.replace(BLOCK, qber_hv=None))
    assert world.paddles.angles == before, "a block that was not corrected teaches nothing"


async def test_rates_that_the_model_does_not_expect_are_told(world: World) -> None:
    hold = PolarizationHold(world.stack, world.record, follow=True)
    await hold.start()
    for n in range(3):
        assert not hold.why_lost, f"after {n} blocks"
        await hold.block(dataclasses.replace(BLOCK, qber_hv=0.4, qber_da=0.4))
    assert "expected" in hold.why_lost


async def test_a_controller_that_is_another_or_stuck_is_an_error(world: World, links: Any) -> None:
    other = dataclasses.replace(world.record, controllers=("paddles",))
    with pytest.raises(StationError, match="the alignment is of paddles"):
        PolarizationHold(world.stack, other, follow=True)
    bad = dataclasses.replace(world.record, model={"x": [1.0], "a": [], "b": []})
    with pytest.raises(StationError, match="cannot be used"):
        PolarizationHold(world.stack, bad, follow=True)
    with pytest.raises(StationError, match="turns no polarization"):
        ControllerStack(world.bench, AlignmentSection(controllers=["pump"]))
    world.paddles.retarders = ()
    with pytest.raises(StationError, match="what is mounted on it"):
        ControllerStack(world.bench, AlignmentSection(controllers=["epc"]))
    plates = ControllerStack(
        world.bench, AlignmentSection(controllers=["epc"], plates={"epc": 90.0})
    )
    assert [r.retardance_deg for r in plates.retarders] == [90.0] * 4
    world.paddles.retarders, world.paddles.stuck = links.SQUEEZERS, True
    with pytest.raises(InstrumentError, match="was sent to"):
        await world.stack.move([100.0, 0.0, 0.0, 0.0])


class FakeCalibration:
    alice = bob = types.SimpleNamespace(operator="Ada")
    measured_at_s, valid_until_s = NOW - 7200, NOW + 7200

    def require_in_force(self, now_s: float) -> None: ...

    def seconds_left(self, now_s: float) -> float:
        return 7200.0


@pytest.fixture
def psk(tmp_path: Path) -> Any:
    create_psk(tmp_path / "link.psk")
    key = load_psk(tmp_path / "link.psk")
    yield key
    key.close()


def station_of(folder: Path, *tasks: CalibrationTask) -> NodeStation:
    path = folder / "alignment.json"
    return cast(
        NodeStation,
        types.SimpleNamespace(
            alignment=AlignmentSection(controllers=["epc"]), alignment_path=path, task=tasks,
            own_tasks=("calibration", "alignment"), node=types.SimpleNamespace(state_dir=folder),
        ),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def keeping(
    world: World, station: NodeStation, psk: PreSharedKey, said: list[Any]
) -> AsyncIterator[Upkeep]:
    keep = Upkeep(
        station, world.bench, cast(Calibration, FakeCalibration()), psk, said.append, said.append
    )
    task = asyncio.create_task(keep.run({"pump": {"power_w": 0.5}}))
    try:
        yield keep
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a flag of another task
            await asyncio.sleep(0.005)


async def test_readiness_is_told_and_follows_what_happens(
    world: World, tmp_path: Path, psk: PreSharedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module.machine, "wall_s", lambda: NOW)
    monkeypatch.setattr(upkeep_module, "LOOK_S", 0.01)
    station = station_of(tmp_path, CalibrationTask(name="alignment", require=("pump.power_w > 0",)))
    save(station.alignment_path, world.record, psk)
    said: list[Any] = []
    async with keeping(world, station, psk, said) as keep:
        await until(lambda: said)
        assert said[0] == Readiness(
            True, (), {
                "task_calibration_ok": True, "task_calibration_left_s": 7200,
                "task_alignment_ok": True, "task_alignment_left_s": 3600,
            },
        )  # fmt: skip
        payload = encode(said[0], Speaker("lab", "a", "l", "alice"), ts=1.0, seq=1)
        jsonschema.validate(importlib.import_module("json").loads(payload), schema("readiness"))
        for _ in range(3):
            keep.block(dataclasses.replace(BLOCK, qber_hv=0.4, qber_da=0.4))
        await until(lambda: any(isinstance(s, Alarm) and s.code == "not_ready" for s in said))
    codes = [s.code for s in said if isinstance(s, Alarm)]
    assert codes == ["polarization_lost", "not_ready"]
    last = [s for s in said if isinstance(s, Readiness)][-1]
    assert not last.ready
    assert last.tasks[0].startswith("alignment: QBER 40.0% / 40.0%")


async def test_an_alignment_of_another_key_is_not_used(
    world: World, tmp_path: Path, psk: PreSharedKey
) -> None:
    station = station_of(tmp_path)
    station.alignment_path.write_text('{"body": {}, "format": "", "hmac": "", "psk": ""}')
    said: list[Any] = []
    world.paddles.angles = [1.0, 2.0, 3.0, 4.0]
    async with keeping(world, station, psk, said):
        await until(lambda: said)
    assert world.paddles.angles == [1.0, 2.0, 3.0, 4.0]
    assert "another pre-shared key" in next(t for t in said[0].tasks if t.startswith("align"))


async def test_the_end_of_a_calibration_is_told_as_itself() -> None:
    """The exception is unwrapped from the nested exception groups of the node's tasks."""

    async def expire() -> None:
        raise CalibrationExpired("it ended")

    async def inner() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(expire())

    with pytest.raises(ExceptionGroup) as told:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner())
    assert isinstance(first_error(told.value), CalibrationExpired)
