"""``photonlink align``: both ends, drivers and emulators over their wires, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from photonlink.firmware_sim.config import BenchConfig, DeviceEntry, default_bench, parse_bench
from photonlink.firmware_sim.virtual.bench import running
from photonlink.firmware_sim.virtual.loop import VirtualLoop, virtual_runner
from photonlink.hal.errors import PhotonlinkError, StationError
from photonlink.pipeline.calibration import alignment
from photonlink.pipeline.calibration.alignment import AlignmentUnreadable
from photonlink.pipeline.check.align import Aligned, AlignOptions, align_stations
from photonlink.pipeline.demo.files import write_virtual_files
from photonlink.pipeline.keys.psk import create_psk, load_psk
from photonlink.pipeline.node.station import load_node_station

EPC = """
[instruments.epc]
driver = "ozoptics.epc"
backend = "emulator"
emulator = "sim:bob-epc"

[alignment]
controllers = ["epc"]
"""


def turned_bench() -> BenchConfig:
    """The demo's bench with a turned fibre and a polarization controller before Bob's analysers."""
    config = parse_bench(default_bench())
    config.devices["bob-tagger"].model = "sfifteen-tdc1"
    config.devices["bob-epc"] = DeviceEntry(model="ozoptics-epc", place="bob.waveplates")
    config.bob.rotation_deg = (70.0, -110.0, 40.0)
    return config


def align_virtually(
    folder: Path,
    config: BenchConfig,
    alignment_at: tuple[str, ...] = ("bob",),
    seconds: float = 1.5,
) -> tuple[list[Aligned], list[str], dict[str, Any]]:
    said: list[str] = []

    async def inside(loop: VirtualLoop) -> tuple[list[Aligned], dict[str, Any]]:
        create_psk(folder / "first.psk")
        files = write_virtual_files(folder, block_bits=None, psk=load_psk(folder / "first.psk"))
        for side in alignment_at:
            with files[side].open("a") as file:
                file.write(EPC)
        (folder / "run").mkdir()
        async with running(config, folder / "run", loop, seed=3) as program:
            stations = [load_node_station(path) for path in files.values()]
            found = await align_stations(stations, AlignOptions(seconds), said.append)
            assert not any(laser["emission"] for laser in program.lasers().values())
            return found, program.bench.truth()

    with virtual_runner(3) as runner:
        loop = cast(VirtualLoop, runner.get_loop())
        found, truth = runner.run(inside(loop))
    return found, said, truth


def test_a_turned_fibre_is_aligned_and_written_down(tmp_path: Path) -> None:
    found, said, truth = align_virtually(tmp_path, turned_bench())
    own = next(each for each in found if each.record is not None)
    other = next(each for each in found if each.record is None)
    assert own.record is not None
    assert own.moves == other.moves <= 10
    assert 0.5 * (truth["qber_hv"] + truth["qber_da"]) < 0.0169 + 0.003
    assert len(said) == own.moves + 1
    station = load_node_station(tmp_path / "bob.toml")
    psk = load_psk(tmp_path / "link.psk")
    record = alignment.read(station.alignment_path, psk)
    assert record == own.record
    assert record.emulated
    data = station.alignment_path.read_bytes()
    station.alignment_path.write_bytes(data.replace(b'"moves":', b'"moves":1'))
    with pytest.raises(AlignmentUnreadable, match="was changed"):
        alignment.read(station.alignment_path, psk)
    station.alignment_path.write_bytes(b"[" * 5000)
    with pytest.raises(AlignmentUnreadable, match="damaged"):
        alignment.read(station.alignment_path, psk)
    psk.close()


def test_exactly_one_end_turns(tmp_path: Path) -> None:
    with pytest.raises(StationError, match="neither end has"):
        align_virtually(tmp_path, turned_bench(), ())


def test_too_little_light_is_said_at_both_ends(tmp_path: Path) -> None:
    config = turned_bench()
    config.bob.loss_db = 25.0
    with pytest.raises(PhotonlinkError, match=r"pairs in one combination|clocks were not found"):
        align_virtually(tmp_path, config)
