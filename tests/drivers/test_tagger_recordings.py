"""Files in the taggers' own formats, chosen on the command line or kept in our container."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from tagger_formats import CASES, nox_record

from photonlink.drivers.recordings import RecordingWriter, open_recording
from photonlink.hal.decoders import decoder_for
from photonlink.hal.tags import WireChunk, WireFormat


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
