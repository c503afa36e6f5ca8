"""The stand-in ``libtdcbase.so`` of ID800/ID801, driven by ``idq-id801`` 1.0.2 unmodified."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.proves("qutools-qutau", by="idq-id801")

id801 = pytest.importorskip("id801.id801", reason="idq-id801 is not installed (extra: peers)")

UNIT_PS = 81


def loaded(unit: Any, seconds: float = 2.0) -> np.ndarray:
    """20 000 clicks a second on two inputs, 300 ps apart."""
    first = np.arange(0, seconds, 1e-4) * 1e12
    times = np.concatenate([first, first + 300]).astype(np.int64)
    channels = np.repeat([0, 1], len(first)).astype(np.uint8)
    order = np.argsort(times, kind="stable")
    unit.port.load(times[order], channels[order])
    return first


@pytest.fixture
def tdc(emulate: Any) -> Any:
    unit = emulate("qutools-qutau")
    loaded(unit)
    found = id801.ID801(unit.path)
    yield found
    found.__exit__(None, None, None)


def test_settings_come_back(tdc: Any) -> None:
    assert tdc.get_timebase() == pytest.approx(81e-12)
    assert tdc.get_version() == "1.5"
    tdc.set_coincidence_window(40)
    tdc.set_exposure_time(50)
    assert tdc.get_device_params() == ([True] * 8, 40, 50)
    tdc.set_channel_delays([0, 5, -7, 0, 0, 0, 0, 1])
    assert tdc.get_channel_delays() == [0, 5, -7, 0, 0, 0, 0, 1]
    tdc.configure_sync_divider(8, True)
    assert tdc.get_sync_divider() == (8, True)
    assert tdc.get_timestamp_buffer_size() == 1_000_000
    with pytest.raises(Exception, match="out of range"):
        tdc.set_exposure_time(70_000)
    with pytest.raises(Exception, match="out of range"):
        tdc.configure_signal_conditioning(0, id801.SignalCond.SCOND_NIM, 0, 1, -0.6)  # type 1A


def test_events_and_counters(tdc: Any) -> None:
    tdc.set_exposure_time(100)
    tdc.set_coincidence_window(10)
    time.sleep(0.5)
    times, channels, valid = tdc.get_last_timestamps()
    assert valid > 1000
    times, channels = times[:valid], channels[:valid]
    assert set(channels) == {0, 1}
    ones, twos = times[channels == 0], times[channels == 1]
    n = min(len(ones), len(twos))
    assert set(np.unique(twos[:n] - ones[:n])) <= {3, 4}  # 300 ps in units of 81 ps
    counts, labels, updates = tdc.get_coinc_counters()
    found = dict(zip(labels, counts, strict=True))
    assert updates >= 1
    assert found["1"] == found["2"] == found["1/2"] == 1000
    assert found["3"] == found["1/3"] == 0


@pytest.mark.parametrize(
    "fmt", ["FORMAT_ASCII", "FORMAT_BINARY", "FORMAT_COMPRESSED", "FORMAT_RAW"]
)
def test_files(tdc: Any, tmp_path: Path, fmt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a relative path is relative to the client's folder
    tdc.write_timestamps("tags", getattr(id801.FileFormat, fmt))
    time.sleep(0.2)
    tdc.write_timestamps("", id801.FileFormat.FORMAT_NONE)
    data = Path("tags").read_bytes()
    if fmt == "FORMAT_ASCII":
        rows = np.array([line.split(",") for line in data.decode().split()], np.int64)
        times, channels = rows[:, 0], rows[:, 1] - 1
    elif fmt == "FORMAT_COMPRESSED":
        body = np.frombuffer(data[40:], np.uint8).reshape(-1, 5).astype(np.int64)
        words = sum(body[:, i] << 8 * i for i in range(5))
        times, channels = words & ((1 << 37) - 1), words >> 37
    else:
        body = data if fmt == "FORMAT_RAW" else data[40:]
        records = np.frombuffer(body, np.dtype([("t", "<i8"), ("c", "<u2")]))
        times, channels = records["t"], records["c"]
    assert len(times) > 500
    assert set(channels) == {0, 1}
    assert set(np.unique(np.diff(times[channels == 0]))) <= {1234567, 1234568}  # of 81 ps: 100 µs


def test_synthetic_events(tdc: Any, tmp_path: Path) -> None:
    tdc.enable_tdc_input(False)
    time.sleep(0.1)
    tdc.set_timestamp_buffer_size(1000)
    tdc.input_timestamps([10, 20, 30], [1, 2, 3], 3)
    times, channels, valid = tdc.get_last_timestamps(1000)
    assert times[:valid].tolist() == [10, 20, 30]
    assert channels[:valid].tolist() == [1, 2, 3]
    tdc.generate_timestamps(id801.SimType.SIM_FLAT, [100.0, 10.0], 500)
    _, _, valid = tdc.get_last_timestamps(1000)
    assert valid == 500


def test_without_a_device_the_library_plays_demo(emulate: Any) -> None:
    unit = emulate("qutools-qutau")
    unit.control(fault="unplug")
    with pytest.raises(Exception, match="No connection"):
        id801.ID801(unit.path)
