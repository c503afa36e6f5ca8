"""Small recordings with known faults: ``analyze`` finds the data that they were made from."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photonlink.drivers.recordings import open_recording, write_ptu
from photonlink.drivers.recordings.ptu import _simplest
from photonlink.hal.decoders import _FORMATS
from photonlink.hal.errors import RecordingError
from photonlink.hal.tags import WireFormat
from photonlink.pipeline.cli.recordings import FORMATS
from photonlink.pipeline.recordings.analyze import (
    AnalyzeResult,
    analyze_file,
    comb_warning,
    default_bin_ps,
    exact_tick,
)

CASES = Path(__file__).parents[1] / "cases"
RIGHT: dict[str, Any] = json.loads((CASES / "right.json").read_text())


def _analyze(name: str, **options: Any) -> dict[str, Any]:
    return analyze_file(CASES / name, **options).to_json()


@pytest.mark.row("T3 events sorted within one header sync period")
@pytest.mark.parametrize(
    "name", ["t3_dtime_beyond_period.ptu", "qutag_late_words.qutag", "swabian_virtual_channel.bin"]
)
def test_every_event_is_there_once_and_in_order(name: str) -> None:
    right, found = RIGHT[name], _analyze(name)
    assert found["events"] == right["events"]
    counts = right["by_channel"]
    counts = counts if isinstance(counts, dict) else {str(i): n for i, n in enumerate(counts)}
    assert found["counts"] == counts
    assert found["damaged_records"] == found["lost_intervals"] == 0
    assert (found["first_ps"], found["last_ps"]) == (right["first_ps"], right["last_ps"])
    last = -1
    for block in open_recording(CASES / name).blocks(1000):
        assert np.all(np.diff(block.time_ps, prepend=last) >= 0)
        last = int(block.time_ps[-1]) if len(block) else last


@pytest.mark.row("default histogram bin ignores the tick")
def test_light_that_knows_nothing_of_each_other_has_no_peak() -> None:
    right = RIGHT["flat_80ps_t2.ptu"]["bin_160"]
    found = _analyze("flat_80ps_t2.ptu")
    c = found["correlation"]
    assert c["bin_ps"] == 160
    assert (c["pairs"], c["peak_pairs"]) == (right["pairs"], right["peak"])
    assert c["significance_sigma"] == pytest.approx(right["sigma"], abs=0.05)
    assert found["warnings"] == []
    comb = _analyze("flat_80ps_t2.ptu", bin_ps=100)
    assert comb["correlation"]["significance_sigma"] > 9
    assert "80 or 160 ps" in comb["warnings"][0]


@pytest.mark.row("default histogram bin ignores the tick")
@pytest.mark.parametrize("tick", [1.0, 64.0, 80.0, 80.955, 125 / 32, 97.0, 2000.0, 81.0])
def test_default_bins_hold_a_whole_number_of_ticks(tick: float) -> None:
    bin_ps = default_bin_ps(tick)
    assert bin_ps >= 100
    assert bin_ps - tick < 100
    assert comb_warning(bin_ps, tick) == ""
    assert comb_warning(bin_ps + 0.3 * tick, tick)


@pytest.mark.parametrize("tick", [80.955, 125 / 32])
def test_ticks_that_are_no_whole_picoseconds_show_no_comb(tmp_path: Path, tick: float) -> None:
    random = np.random.default_rng(3)
    ticks = np.sort(random.integers(0, round(2e9 / tick), 40_000))
    rows = np.empty(len(ticks), [("t", "<i8"), ("c", "<u2")])
    rows["t"], rows["c"] = ticks, random.integers(1, 3, len(ticks))
    path = tmp_path / "flat.qutag"
    path.write_bytes(bytes(40) + rows.tobytes())
    told = WireFormat("qutag", {"resolution_ps": tick})
    result = analyze_file(path, wire_format=told)
    counts = _need(result)
    brute = _brute(ticks, rows["c"], tick, result)
    assert counts.tolist() == brute.tolist()
    assert counts.var() / counts.mean() < 1.2


def _need(result: AnalyzeResult) -> np.ndarray[Any, np.dtype[np.uint64]]:
    assert result.correlation is not None
    return result.correlation.counts


def _brute(ticks: Any, channel: Any, tick: float, result: AnalyzeResult) -> Any:
    c = result.correlation
    assert c is not None
    low, width = round(c.low_ps / tick), round(c.bin_ps / tick)
    a, b = ticks[channel == c.a], ticks[channel == c.b]
    found = np.zeros(len(c.counts), np.uint64)
    for t in a:
        near = b[np.searchsorted(b, t + low) : np.searchsorted(b, t + low + width * len(found))]
        np.add.at(found, (near - t - low) // width, np.uint64(1))
    return found


@pytest.mark.row("resolutions that went through single precision")
def test_a_resolution_that_went_through_single_precision_is_what_was_meant() -> None:
    right = RIGHT["t2_resolution_float32_100ps.ptu"]
    found = _analyze("t2_resolution_float32_100ps.ptu")
    assert found["resolution_ps"] == right["resolution_ps"]
    assert found["last_ps"] == right["last_ps"]
    assert found["correlation"]["bin_ps"] % right["default_bin_is_a_multiple_of_ps"] == 0


@pytest.mark.parametrize("meant", [64.0, 128.0, 80.0, 5.0, 16.0, 80.955, 3.90625])
@pytest.mark.parametrize("single", [False, True])
def test_resolutions_of_instruments_survive_both_precisions(meant: float, single: bool) -> None:
    from photonlink.drivers.recordings.ptu import _picoseconds

    value = meant * 1e-12
    tag = float(np.float32(value)) if single else value
    assert _picoseconds({"x": tag}, "x", "file") == pytest.approx(meant, rel=1e-12)
    assert exact_tick(meant) == exact_tick(_picoseconds({"x": tag}, "x", "file"))


def test_the_simplest_fraction_lies_within_its_bounds() -> None:
    from fractions import Fraction as F

    assert _simplest(F(3, 10), F(4, 10)) == F(1, 3)
    assert _simplest(F(99999, 1000), F(100001, 1000)) == 100
    assert _simplest(F(5, 2), F(5, 2)) == F(5, 2)


@pytest.mark.row("a unit that the file does not carry is assumed silently")
def test_a_unit_that_the_file_does_not_carry_is_asked_for() -> None:
    right = RIGHT["qutau_base_unit_81ps.bin"]
    told = _analyze("qutau_base_unit_81ps.bin", told={"resolution_ps": 80.955})
    assert told["events"] == right["events"]
    assert told["span_s"] == pytest.approx(right["span_s"], abs=2e-12)
    assert told["warnings"] == []
    assert "1 ps is assumed" in _analyze("qutau_base_unit_81ps.bin")["warnings"][0]


@pytest.mark.row("formats that cannot be named on the command line")
def test_words_as_text_are_read(tmp_path: Path) -> None:
    right = RIGHT["sfifteen_a2.ts"]
    text = (CASES / "sfifteen_a2.ts").read_text()
    halves = "".join(f"{line[8:]}\n{line[:8]}\n" for line in text.split())
    for name, written in (("a2", text), ("a0", halves), ("a2", text.replace("\n", "\r\n").upper())):
        path = tmp_path / "x.ts"
        path.write_text(written, newline="")
        result = analyze_file(path)
        found = result.to_json()
        assert name in found["format"]
        assert (found["events"], found["counts"]) == (right["events"], right["by_channel"])
        # the word's time is 5,999,308.59 ps: we round to whole ps, the case's author truncated
        assert found["first_ps"] == pytest.approx(right["first_ps"], abs=1)
        assert found["span_s"] == pytest.approx(right["span_s"], abs=2e-12)


def test_a_line_that_is_no_word_is_named_with_its_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    lines = (CASES / "sfifteen_a2.ts").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:300]) + b"nonsense\n" + b"".join(lines[300:]))
    summary = open_recording(path).scan()
    assert summary.events == 300
    assert summary.error is not None
    assert summary.error.position == 300 * len(lines[0])


@pytest.mark.row("formats that cannot be named on the command line")
@pytest.mark.parametrize("channel", [0, 201, 1001, -1001])
def test_channels_of_any_number_are_told_by_their_number(tmp_path: Path, channel: int) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(
        b"".join(struct.pack("<BBHiq", 0, 0, 0, channel, 1000 * i + 5) for i in range(99))
    )
    found = analyze_file(path).to_json()
    assert found["counts"] == {str(channel): 99}
    again = analyze_file(path, a=channel, b=channel).to_json()
    assert again["correlation"]["a"] == channel


@pytest.mark.row("header tags that contradict each other")
def test_header_tags_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.ptu"
    write_ptu(path, [0] * 9, resolution_ps=80.0)
    data = path.read_bytes()
    for name, value, says in (
        (b"Measurement_Mode", 3, "Measurement_Mode says T3"),
        (b"TTResult_NumberOfRecords", 4, "5 more records"),
    ):
        at = data.index(name)
        path.write_bytes(data[: at + 40] + struct.pack("<q", value) + data[at + 48 :])
        assert any(says in text for text in open_recording(path).warnings)
    path.write_bytes(data)
    assert open_recording(path).warnings == ()


@pytest.mark.row("FIFO or stdin as input")
def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("pipe", "pipe"), ("", "folder"), ("none", "No such file")):
        with pytest.raises(RecordingError, match=says):
            open_recording(tmp_path / name)


def _command(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "photonlink.pipeline.cli", "analyze", *arguments],
        capture_output=True, text=True, check=False, timeout=120, **more,
    )  # fmt: skip


@pytest.mark.row("formats that cannot be named on the command line")
def test_every_format_that_the_decoder_reads_has_its_name_on_the_command_line() -> None:
    assert set(FORMATS) == set(_FORMATS)
    done = _command(str(CASES / "qutag_late_words.qutag"), "--format", "no_such")
    assert done.returncode == 2
    assert all(name in done.stderr for name in ("qutag_compressed", "a0", "a2")), done.stderr


@pytest.mark.row("nearly all records damaged and still exit 0")
def test_a_file_that_is_mostly_damaged_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    rows = [struct.pack("<BBHiq", 0, 0, 0, 1, 1000 * i) for i in range(400)]
    bad = [struct.pack("<BBHiq", 9, 9, 0, 1, 1000 * i) for i in range(400, 4000)]
    path.write_bytes(b"".join(rows + bad))
    done = _command(str(path), "--format", "swabian16")
    assert done.returncode == 1, done.stdout
    assert "3,600 of 4,000 records are damaged" in done.stderr


@pytest.mark.row("formats that cannot be named on the command line")
def test_units_and_formats_are_told_on_the_command_line() -> None:
    done = _command(str(CASES / "qutau_base_unit_81ps.bin"), "--unit", "80.955", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["span_s"] == pytest.approx(0.049437085, abs=1e-9)
    refused = _command(str(CASES / "sfifteen_a2.ts"), "--format", "a2", "--unit", "3")
    assert refused.returncode == 2
    assert "fixed" in refused.stderr
    assert _command("/dev/stdin", input="x").returncode == 1
