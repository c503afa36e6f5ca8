"""Files in the taggers' own formats, chosen on the command line or kept in our container."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from tagger_formats import CASES, nox_record
from typer.testing import CliRunner

from photonlink.drivers.recordings import RecordingWriter, open_recording
from photonlink.drivers.recordings.detect import _timetagger4
from photonlink.hal.decoders import decoder_for
from photonlink.hal.tags import WireChunk, WireFormat
from photonlink.pipeline.cli.main import app


def read(path: Path, wire_format: WireFormat | None = None) -> list[tuple[int, int]]:
    blocks = list(open_recording(path, wire_format=wire_format).blocks())
    return [pair for b in blocks for pair in zip(b.time_ps.tolist(), b.channel, strict=True)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].name)
def test_a_live_stream_of_every_format_is_kept_and_read_again(case: object, tmp_path: Path) -> None:
    wire_format, stream, _ = CASES[CASES.index(case)]  # type: ignore[arg-type]
    data = stream(random.Random(4), 300)
    decoder = decoder_for(wire_format)
    blocks = [decoder.feed(WireChunk(data)), decoder.finish()]
    path = tmp_path / "run.plr"
    writer = RecordingWriter(path, wire_format)
    for at in range(0, len(data), 500):
        writer.write(WireChunk(memoryview(data)[at : at + 500]))
    writer.close()
    recording = open_recording(path)
    assert recording.resolution_ps > 0
    assert recording.capabilities.channels
    found = read(path)
    assert [t for t, _ in found] == np.concatenate([b.time_ps for b in blocks]).tolist()


def test_a_nox_file_begins_at_its_first_configuration_record(tmp_path: Path) -> None:
    path = tmp_path / "nox.bin"
    left_over = nox_record(1 << 40, 3) * 2
    path.write_bytes(left_over + b"\x25" + bytes(7) + nox_record(1664, 1) + nox_record(3328, 2))
    assert read(path, WireFormat("nox")) == [(3125, 1), (6250, 2)]


def packets(count: int, *, card: int = 3, start: int = 1000) -> bytes:
    """Packets of three hits each: A at 10, C (falling) at 20, D behind one roll-over at 5."""
    hits = (10 << 8 | 5 << 4, 20 << 8 | 4 << 4 | 2, 2 << 4, 5 << 8 | 5 << 4 | 3)
    one = [struct.pack("<4BIQ4I", 0, card, 6, 0, 2, start + n * 10**6, *hits) for n in range(count)]
    return b"".join(one)


def test_a_file_of_cronologic_packets_is_known_by_its_chain(tmp_path: Path) -> None:
    path = tmp_path / "tt4.bin"
    path.write_bytes(packets(5))
    recording = open_recording(path)
    assert recording.wire_format.name == "timetagger4"
    assert any("--packet-unit" in warning for warning in recording.warnings)
    told = recording.told({"packet_ps": 500.0, "resolution_ps": 100.0})
    assert told.warnings == ()
    assert recording.told({"resolution_ps": 100.0}).warnings, "one of the two is still assumed"
    found = [
        pair for b in told.blocks() for pair in zip(b.time_ps.tolist(), b.channel, strict=True)
    ]
    begin = 1000 * 500
    hit_d = begin + ((1 << 24) + 5) * 100
    assert found[:3] == [(begin, 64), (begin + 1000, 0), (begin + 2000, 130)]
    assert (hit_d, 3) in found
    assert len(found) == 5 * 4


@pytest.mark.parametrize(
    "data",
    [
        packets(3),  # too few to be believed
        packets(2) + packets(2, start=10**8, card=4),  # another card in between
        packets(4, start=10**9) + packets(2, start=5),  # starts go back
        packets(6)[8:],  # no packet begins there
        bytes(16 * 40),
    ],
)
def test_what_is_no_chain_of_packets_is_not_taken_for_one(data: bytes) -> None:
    assert _timetagger4(data) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].name)
def test_only_packets_are_taken_for_packets(case: object) -> None:
    wire_format, stream, _ = CASES[CASES.index(case)]  # type: ignore[arg-type]
    for seed in range(20):
        found = _timetagger4(stream(random.Random(seed), 300))
        assert (found is not None) <= (wire_format.name == "timetagger4")


def test_units_of_packets_are_told_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "tt4.bin"
    path.write_bytes(packets(50))
    named = ["analyze", str(path), "--format", "timetagger4", "--unit", "100", "--json"]
    refused = CliRunner().invoke(app, named)
    assert refused.exit_code == 2
    assert "--packet-unit" in refused.output
    said = CliRunner().invoke(app, [*named, "--packet-unit", "500"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout.splitlines()[-1])["events"] == 50 * 4
