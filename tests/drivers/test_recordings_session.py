"""A session of ``node --record`` opened as a recording of its tagger."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from photonlink.hal.errors import RecordingError
from photonlink.hal.recordings import open_recording
from photonlink.hal.tags import AcquisitionStart, LostInterval, TaggerCapabilities
from photonlink.pipeline.recordings.write import SessionRecorder

# a1 words: time in 1/256 ns above ten bits, one detector bit
RECORDS = b"".join((n * 1000 << 10 | 1).to_bytes(8, "little") for n in range(1, 401))


def _session(folder: Path, *, restarted: bool = False, acquisition: bool = True) -> Path:
    start = AcquisitionStart(1.8e9, 0.01)
    able = TaggerCapabilities((1, 2, 3, 4), 1.0, 1e6)
    meta = {
        "start": dataclasses.asdict(start), "capabilities": dataclasses.asdict(able),
        "wire": {"name": "a1", "parameters": {"word_order": "low_first"}},
    }  # fmt: skip
    gap = dataclasses.asdict(LostInterval(5, 6, 1, "a test"))
    recorder = SessionRecorder(folder)
    recorder.describe({"role": "alice", "channels": {"H": 1, "V": 2}})
    recorder.input("tick", 0.5, {})
    if acquisition:
        recorder.input("acquisition_started", 1.0, meta)
        recorder.input("tags", 1.1, {"lost": []}, RECORDS[:1600])
        recorder.input("receive", 1.2, {"stream": 0}, b"not of the tagger")
    if restarted:
        recorder.input("acquisition_started", 1.25, meta)
    if acquisition:
        recorder.input("tags", 1.3, {"lost": [gap]}, RECORDS[1600:])
    recorder.close()
    return folder


@pytest.mark.row("files of node --record cannot be analysed")
@pytest.mark.parametrize("name", ["", "inputs.bin"])
def test_folder_and_file_are_the_same_recording(tmp_path: Path, name: str) -> None:
    recording = open_recording(_session(tmp_path / "rec") / name)
    found = recording.scan()
    assert found.counts == {1: 400}
    assert found.lost[0].reason == "a test"
    assert recording.capabilities.channels == (1, 2, 3, 4)
    assert recording.error is None
    assert recording.letters == {"H": 1, "V": 2}


def test_a_cut_session_gives_what_is_whole_and_the_byte(tmp_path: Path) -> None:
    inputs = _session(tmp_path / "rec") / "inputs.bin"
    inputs.write_bytes(inputs.read_bytes()[:-100])
    found = open_recording(tmp_path / "rec").scan()
    assert found.counts == {1: 200}
    assert found.error is not None
    assert found.error.position > 1600


def test_a_second_acquisition_ends_the_recording(tmp_path: Path) -> None:
    found = open_recording(_session(tmp_path / "rec", restarted=True)).scan()
    assert found.counts == {1: 200}
    assert "started anew" in str(found.error)


def test_a_session_without_clicks_and_a_plain_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no acquisition"):
        open_recording(_session(tmp_path / "rec", acquisition=False))
    with pytest.raises(RecordingError, match="a folder"):
        open_recording(tmp_path)
