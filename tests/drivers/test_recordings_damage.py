"""Damage inside a recording: the readable part is returned, and the byte is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photonlink.drivers.recordings import open_recording, write_ptu
from photonlink.hal.errors import RecordingError
from photonlink.hal.tags import WireFormat

N = 200_000
JUMP_PS = 60 * 10**12
GAP_PS = np.random.default_rng(5).integers(1, 8_000_000, N)
TIMES = np.cumsum(GAP_PS)
QUTAG = WireFormat("qutag", {"resolution_ps": 1.0})


def qutag_bytes(times: np.ndarray) -> bytes:
    records = np.zeros(len(times), dtype=[("t", "<i8"), ("c", "<u2")])
    records["t"], records["c"] = times, np.arange(len(times)) % 4
    return bytes(40) + records.tobytes()


def t2_bytes(times: np.ndarray) -> bytes:
    wraps, fine = times >> 25, times & ((1 << 25) - 1)
    events = fine | (np.arange(len(times)) % 4 + 1) << 25
    steps = np.diff(wraps, prepend=0)
    at = np.flatnonzero(steps)
    return np.insert(events, at, (1 << 31 | 63 << 25) + steps[at]).astype("<u4").tobytes()


def test_the_byte_is_in_the_text() -> None:
    error = RecordingError("broken", where="run: 7.a1", hint="Look", position=4711)
    assert str(error) == "run: 7.a1: at byte 4711: broken. Look"
    assert str(RecordingError("the file is empty", where="x")) == "x: the file is empty"


def test_a_byte_missing_in_a_qutag_file_ends_the_replay_there(tmp_path: Path) -> None:
    whole = qutag_bytes(TIMES)
    at = 40 + 10 * 150_000
    path = tmp_path / "run"
    path.write_bytes(whole[:at] + whole[at + 1 :])
    recording = open_recording(path, wire_format=QUTAG)
    blocks = list(recording.blocks(max_jump_ps=JUMP_PS))
    got = np.concatenate([b.time_ps for b in blocks])
    assert len(got) >= 150_000
    np.testing.assert_array_equal(got[:149_990], TIMES[:149_990])
    assert blocks[-1].end_ps - int(TIMES[-1]) < JUMP_PS
    assert recording.error is not None
    assert recording.damage_at == pytest.approx(at, abs=200)
    assert at <= recording.error.position < at + 20_000
    assert f"at byte {recording.error.position}: " in str(recording.error)


@pytest.mark.parametrize("seconds", [61, 1000])
def test_a_far_jump_ends_the_replay_at_its_byte(tmp_path: Path, seconds: int) -> None:
    times = TIMES.copy()
    times[170_000:] += seconds * 10**12
    ptu = tmp_path / "run.ptu"
    records = t2_bytes(times)
    write_ptu(ptu, records, resolution_ps=1.0)
    recording = open_recording(ptu)
    blocks = list(recording.blocks(max_jump_ps=JUMP_PS))
    np.testing.assert_array_equal(np.concatenate([b.time_ps for b in blocks]), times[:170_000])
    assert blocks[-1].end_ps == times[169_999] + 1
    assert recording.error is not None
    words = np.frombuffer(records, "<u4")
    far = int(np.argmax((words >> 25 == 127) & (words & 0x1FFFFFF > 1_000_000)))
    start = ptu.stat().st_size - len(records)
    assert recording.error.position == start + 4 * far
    plain = list(recording.blocks())
    assert sum(map(len, plain)) == N, "without the limit everything is read"
    assert recording.error is None


@pytest.mark.parametrize("seconds", [0, 59])
def test_shorter_gaps_and_a_late_start_are_none(tmp_path: Path, seconds: int) -> None:
    times = TIMES + 1000 * 10**12
    times[170_000:] += seconds * 10**12
    ptu = tmp_path / "run.ptu"
    write_ptu(ptu, t2_bytes(times), resolution_ps=1.0)
    recording = open_recording(ptu)
    assert sum(map(len, recording.blocks(max_jump_ps=JUMP_PS))) == N
    assert recording.error is None
    assert recording.damage_at is None


def test_the_first_damaged_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run"
    data = bytearray(qutag_bytes(TIMES))
    at = 40 + 10 * 140_000
    data[at + 8 : at + 10] = b"\xff\xff"  # channel 65535
    path.write_bytes(data)
    recording = open_recording(path, wire_format=QUTAG)
    blocks = list(recording.blocks())
    assert sum(map(len, blocks)) == N - 1
    assert recording.error is None
    assert recording.damage_at == at
