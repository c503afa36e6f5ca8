"""The TDC1 emulator driven by S-Fifteen's own client (the tests always name the port: without
one the client writes to every serial port of the machine)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.proves("sfifteen-tdc1", by="s15lib")

counter = pytest.importorskip(
    "S15lib.instruments.usb_counter_fpga", reason="s15lib is not installed (extra: peers)"
)


def clicks(rng: np.random.Generator, rate_hz: float, span_s: float) -> Any:
    return np.sort(rng.integers(0, int(span_s * 1e12), int(rate_hz * span_s)))


@pytest.fixture
def unit(emulate: Any) -> Any:
    return emulate("sfifteen-tdc1")


@pytest.fixture
def client(unit: Any) -> Any:
    tdc1 = counter.TimestampTDC1(unit.path, integration_time=1)
    tdc1._com.timeout = 0.15  # its default of 10 ms is too short on a busy machine
    yield tdc1
    tdc1._com.close()


def load(unit: Any, *parts: tuple[int, Any]) -> None:
    """Load the events: (1-based input, its times in ps)."""
    times = np.concatenate([t for _, t in parts])
    channels = np.concatenate([np.full(len(t), n - 1) for n, t in parts])
    order = np.argsort(times, kind="stable")
    unit.port.load(times[order], channels[order])


def test_settings_read_back(client: Any, unit: Any) -> None:
    client.mode = "pairs"
    assert client.mode == "pairs"
    client.int_time = 40.0
    assert client.int_time == 40_000  # the firmware's signed number, corrected by the client
    client.threshold = -0.3
    assert float(client.level.split()[0]) == -0.3
    client.level = "TTL"
    assert float(client.level.split()[0]) > 0
    client.clock = "2"
    assert client.clock.strip() == b"2"
    assert client.eclock.strip() == b"0"


def test_singles_are_the_true_counts(client: Any, unit: Any) -> None:
    rng = np.random.default_rng(1)
    load(unit, (1, clicks(rng, 5000, 1.0)), (2, clicks(rng, 700, 1.0)), (4, clicks(rng, 50, 1.0)))
    truth = [int((unit.port.channel[unit.port.time_ps < 2e11] == c).sum()) for c in range(4)]
    assert list(client.get_counts(0.2)) == truth


def test_pairs_are_the_true_coincidences(client: Any, unit: Any) -> None:
    rng = np.random.default_rng(2)
    common = clicks(rng, 2000, 1.0)
    load(
        unit,
        (1, common),
        (2, clicks(rng, 100, 1.0)),
        (3, common + 4000),
        (4, common[::4] + 50_000),
    )
    answer = client.get_counts_and_coincidences(0.2)
    inside = int((unit.port.time_ps[unit.port.channel == 0] < 2e11).sum())
    assert answer[0] == inside
    assert answer[4] == pytest.approx(inside, abs=1)  # 1-3: 4 ns apart
    assert answer[5] < 10  # 1-4: 50 ns apart, outside of the window


def test_timestamps_are_exact(client: Any, unit: Any) -> None:
    rng = np.random.default_rng(3)
    times = {1: clicks(rng, 3000, 2.0), 3: clicks(rng, 2500, 2.0)}
    load(unit, *times.items())
    buffer, _ = _stream(client, "time 400;", 0.5)
    got, pattern = client.read_timestamps_bin(buffer, legacy=False)
    for channel, truth in times.items():
        mine = got[(pattern & (1 << (channel - 1))) != 0]
        np.testing.assert_array_equal(mine, np.unique(truth[truth < 4e11] // 2000) * 2)


def _stream(client: Any, time_command: str, seconds: float) -> Any:
    client.mode = "timestamp"
    return client._stream_response_into_buffer(f"INPKT;{time_command}counts?;", seconds)


def test_its_own_acquisition_call_ends_with_abort(client: Any, unit: Any, until: Any) -> None:
    rng = np.random.default_rng(4)
    load(unit, (2, clicks(rng, 4000, 3.0)))
    got, patterns = client.get_timestamps(0.2, legacy=False)
    # its default decoder counts a dummy event as a click of input 1; clicks of input 2 are exact
    mine = got[patterns == 2]
    truth = unit.port.time_ps[unit.port.time_ps < 2e11] // 2000 * 2
    np.testing.assert_array_equal(mine[: len(truth)], truth)
    until(lambda: not unit.status()["streaming"])


def test_endless_stream_until_abort(client: Any, unit: Any, until: Any) -> None:
    rng = np.random.default_rng(5)
    load(unit, (1, clicks(rng, 1000, 5.0)))
    buffer, _ = _stream(client, "time 0;", 0.4)
    got, _ = client.read_timestamps_bin(buffer, legacy=False)
    truth = np.unique(unit.port.time_ps // 2000) * 2
    assert len(got) > 250
    np.testing.assert_array_equal(got, truth[: len(got)])
    until(lambda: not unit.status()["streaming"])
