"""``analyze``: rates, gaps and cross-correlation, against numpy and the published numbers."""

from __future__ import annotations

import builtins
import csv
import itertools
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photonlink.drivers.recordings import RecordingWriter
from photonlink.hal.errors import RecordingError
from photonlink.hal.tags import LostInterval, WireChunk, WireFormat
from photonlink.pipeline.native.base import NativeArgumentError
from photonlink.pipeline.native.correlate import StreamCorrelator, correlate_into
from photonlink.pipeline.recordings.analyze import (
    AnalyzeError,
    analyze_file,
    render_text,
    write_csv,
    write_png,
)

PTU = "200204_HH400_T2_320MHz_HBT.timeres"
times = st.lists(st.integers(-500, 3000), max_size=60).map(sorted)


def all_pairs(a: list[int], b: list[int], low: int, width: int, bins: int) -> list[int]:
    hist = [0] * bins
    for x in a:
        for y in b:
            if 0 <= y - x - low < width * bins:
                hist[(y - x - low) // width] += 1
    return hist


def first_stop(a: list[int], b: list[int], low: int, width: int, bins: int) -> list[int]:
    hist = [0] * bins
    for x in a:
        later = [y for y in b if y >= x + low]
        if later and later[0] - x - low < width * bins:
            hist[(later[0] - x - low) // width] += 1
    return hist


@settings(max_examples=200, deadline=None)
@given(
    a=times,
    b=times,
    low=st.integers(-300, 300),
    width=st.integers(1, 50),
    bins=st.integers(1, 40),
    single=st.booleans(),
)
def test_histograms_count_every_pair(
    a: list[int], b: list[int], low: int, width: int, bins: int, single: bool
) -> None:
    hist = np.zeros(bins, np.uint64)
    arrays = np.array(a, np.int64), np.array(b, np.int64)
    pairs = correlate_into(hist, *arrays, low, width, single_stop=single)
    expected = (first_stop if single else all_pairs)(a, b, low, width, bins)
    assert hist.tolist() == expected
    assert pairs == sum(expected)


@settings(max_examples=100, deadline=None)
@given(
    a=times,
    b=times,
    cuts=st.lists(st.integers(-500, 3000), max_size=8).map(sorted),
    low=st.integers(-300, 300),
    single=st.booleans(),
)
def test_blocks_one_by_one_give_the_same(
    a: list[int], b: list[int], cuts: list[int], low: int, single: bool
) -> None:
    streamed = StreamCorrelator(low, 7, 30, single_stop=single)
    edges = [-(10**6), *cuts, 10**6]
    for start, stop in itertools.pairwise(edges):
        streamed.feed(
            np.array([t for t in a if start <= t < stop], np.int64),
            np.array([t for t in b if start <= t < stop], np.int64),
            stop,
        )
    expected = (first_stop if single else all_pairs)(a, b, low, 7, 30)
    assert streamed.finish().tolist() == expected
    assert streamed.pairs == sum(expected)


def test_extreme_and_unsorted_times_are_harmless() -> None:
    ends = np.array([-(2**63), -5, 0, 3, 2**63 - 1], np.int64)
    hist = np.zeros(8, np.uint64)
    assert correlate_into(hist, ends, ends, -4, 1) == 5 + 2  # each value with itself, and 0 with 3
    shuffled = np.random.default_rng(1).integers(-(10**6), 10**6, 1000)
    correlate_into(hist, shuffled, shuffled[::-1].copy(), -4, 1)
    for low, width, bins in [(0, 0, 8), (0, -1, 8), (0, 2**31, 8), (2**62, 1, 8)]:
        with pytest.raises(NativeArgumentError):
            correlate_into(np.zeros(bins, np.uint64), ends, ends, low, width)


# ---- the real recordings ----


def test_the_hydraharp_run_gives_the_published_numbers(shared_data: Path) -> None:
    published = np.load(shared_data / "200204_HH400_T2_320MHz_HBT_g2.npz")
    for a, b, pairs, name in ((0, 1, 24_928, "hist1"), (1, 0, 24_663, "hist2")):
        result = analyze_file(shared_data / PTU, a=a, b=b, low_ns=0, high_ns=160, bin_ps=16)
        assert result.summary.counts == {0: 159_298, 1: 224_721}
        assert round(result.summary.duration_s, 3) == 1.0
        c = result.correlation
        assert c is not None
        assert len(c.counts) == 10_000
        assert c.pairs == pairs
        # single-stop and all-pairs counting differ by 1 %, a few counts per bin
        distance = np.abs(c.counts.astype(np.int64) - published[name].astype(np.int64))
        assert int(distance.max()) <= 3
        assert abs(c.pairs - int(published[name].sum())) < 0.011 * c.pairs


def test_the_a1_recording_shows_its_delayed_copy(shared_data: Path) -> None:
    result = analyze_file(shared_data / "timestamp7_c14_rollover.Aa1fX.ts")
    found = result.to_json()
    assert found["counts"] == {"1": 431, "4": 431}
    assert found["dummies"] == 138
    assert found["records"] == 1000
    assert round(found["span_s"], 9) == 0.033695816
    assert found["correlation"]["pairs"] == 431, "every event has its copy"
    assert abs(found["correlation"]["peak_ns"] - 139.2) < 0.2
    json.dumps(found)


def test_the_qutag_run_as_numpy_counts_it(shared_data: Path) -> None:
    path = shared_data / "200204_qutag_320MHz_HBT_sync_filtered.qutag"
    rows = np.fromfile(path, dtype=[("t", "<i8"), ("c", "<u2")], offset=40)
    a, b = (rows["t"][rows["c"] == c] for c in (1, 2))
    low, high = np.searchsorted(b, a - 20_000), np.searchsorted(b, a + 20_000)
    delays = np.concatenate([b[i:j] - t for t, i, j in zip(a, low, high, strict=True)])
    expected, _ = np.histogram(delays, bins=np.arange(-20_000, 20_001, 50))
    # numpy's last bin includes its right edge
    expected[-1] -= np.count_nonzero(delays == 20_000)
    result = analyze_file(path, a=1, b=2, low_ns=-20, high_ns=20, bin_ps=50)
    assert result.summary.counts == {1: 43_736, 2: 62_437, 5: 105_600}
    assert result.correlation is not None
    np.testing.assert_array_equal(result.correlation.counts, expected)


# ---- output for users ----


def write_recording(path: Path) -> None:
    """Channel 2 follows channel 1 by 40 ns; one known gap; one second without clicks."""
    with RecordingWriter(path, WireFormat("swabian16")) as writer:
        for start in (10**9, 10**12 + 10**9):
            data = b"".join(
                struct.pack("<BBHiq", 0, 0, 0, channel, start + 10**6 * k + 40_000 * (channel - 1))
                for k in range(1000)
                for channel in (1, 2)
            )
            writer.write(WireChunk(data))
        writer.write(WireChunk(b"", (LostInterval(10**12, 10**12 + 500, 9, "fifo"),)))


def test_text_names_rates_gaps_losses_and_the_peak(tmp_path: Path) -> None:
    path = tmp_path / "run.pltags"
    write_recording(path)
    result = analyze_file(path)
    text = render_text(result)
    assert "channel 1          2,000 events" in text
    assert "longest gap 0.99900" in text
    assert "1 intervals" in text
    assert "9 events, fifo" in text
    assert "2,000 pairs" in text
    assert "40.050 ns: 2,000 pairs" in text
    assert "ERROR" not in text


def test_autocorrelation_leaves_an_event_out_of_its_own_partners(tmp_path: Path) -> None:
    path = tmp_path / "run.pltags"
    write_recording(path)
    c = analyze_file(path, a=1, b=1, low_ns=-2500, high_ns=2500, bin_ps=1000).correlation
    assert c is not None
    assert c.counts[2500] == 0
    assert c.counts[1500] == c.counts[3500] == 2 * 999


def test_csv_and_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plot)")
    path = tmp_path / "run.pltags"
    write_recording(path)
    result = analyze_file(path, a=1, b=2, low_ns=39, high_ns=41, bin_ps=300)
    write_csv(result, tmp_path / "h.csv")
    with (tmp_path / "h.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["delay_low_ps", "delay_high_ps", "pairs"]
    assert len(rows) == 1 + 7, "the range is rounded up to whole bins"
    assert rows[4] == ["39900", "40200", "2000"]
    write_png(result, tmp_path / "h.png")
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")


def test_png_without_matplotlib_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.pltags"
    write_recording(path)
    result = analyze_file(path)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AnalyzeError, match=r"photonlink\[plot\]"):
        write_png(result, tmp_path / "h.png")


def test_a_cut_recording_is_reported_with_what_was_readable(tmp_path: Path) -> None:
    path = tmp_path / "run.pltags"
    write_recording(path)
    path.write_bytes(path.read_bytes()[:40_000])
    result = analyze_file(path)
    assert result.summary.events == 2000
    position = result.to_json()["error_position"]
    assert 32_000 < position < 40_000
    assert f"at byte {position:,}" in render_text(result)


def test_requests_that_cannot_be_met_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run.pltags"
    write_recording(path)
    with pytest.raises(AnalyzeError, match=r"channel 7.*1, 2"):
        analyze_file(path, a=7)
    with pytest.raises(AnalyzeError, match="no histogram"):
        analyze_file(path, low_ns=5, high_ns=5)
    with pytest.raises(AnalyzeError, match="no histogram"):
        analyze_file(path, bin_ps=0)
    with pytest.raises(AnalyzeError, match="too large"):
        analyze_file(path, low_ns=-1e7, high_ns=1e7)
    with pytest.raises(AnalyzeError, match="finite"):
        analyze_file(path, high_ns=float("inf"))
    with pytest.raises(RecordingError):
        analyze_file(tmp_path / "none")


def test_one_channel_alone_has_no_correlation(tmp_path: Path) -> None:
    path = tmp_path / "one.ts"
    path.write_bytes(b"".join(struct.pack("<Q", (k * 2560) << 10 | 1) for k in range(100)))
    result = analyze_file(path)
    assert result.correlation is None
    assert "fewer than two channels" in render_text(result)
    with pytest.raises(AnalyzeError, match="no histogram"):
        write_csv(result, tmp_path / "h.csv")
