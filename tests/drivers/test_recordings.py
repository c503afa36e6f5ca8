"""Recordings of every kind: recognised, read, damaged, and used as a station's tagger."""

from __future__ import annotations

import contextlib
import json
import math
import stat
import struct
from pathlib import Path

import numpy as np
import pytest

from photonlink.drivers.recordings import RecordingWriter, open_recording, write_ptu
from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import PhotonlinkError, RecordingError
from photonlink.hal.facets import Identity
from photonlink.hal.recordings import Recording
from photonlink.hal.recordings import open_recording as open_through_hal
from photonlink.hal.tags import (
    AcquisitionStart,
    LostInterval,
    Provenance,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)


def everything(recording: Recording, **options: int) -> tuple[np.ndarray, np.ndarray]:
    blocks = list(recording.blocks(**options))
    return (
        np.concatenate([b.time_ps for b in blocks]),
        np.concatenate([b.channel for b in blocks]),
    )


def poisson(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    return np.cumsum(rng.exponential(mean, n)).astype(np.int64)


def a1_bytes(
    ticks: np.ndarray, bits: np.ndarray, *, legacy: bool = False, status: int = 0
) -> bytes:
    words = ticks.astype(np.uint64) << np.uint64(10) | np.uint64(status) | bits.astype(np.uint64)
    halves = words.astype("<u8").view("<u4").reshape(-1, 2)
    return (halves[:, ::-1] if legacy else halves).tobytes()


def tdc1_bytes(ticks: np.ndarray, bits: np.ndarray) -> bytes:
    return ((ticks % (1 << 27)).astype("<u4") << np.uint32(5) | bits.astype("<u4")).tobytes()


# ---- recognising the kind ----


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("status", [0, 0x300])
@pytest.mark.parametrize(("rate_hz", "start_s"), [(1e2, 0), (1e5, 0), (1e5, 40_000), (3e6, 0)])
def test_a1_word_orders_are_told_apart(
    tmp_path: Path, legacy: bool, status: int, rate_hz: float, start_s: float
) -> None:
    rng = np.random.default_rng(1)
    ticks = poisson(rng, 4000, 256e9 / rate_hz) + int(start_s * 256e9)
    bits = 1 << rng.integers(0, 4, len(ticks))
    path = tmp_path / "run.ts"
    path.write_bytes(a1_bytes(ticks, bits, legacy=legacy, status=status))
    recording = open_recording(path)
    assert recording.wire_format == WireFormat(
        "a1", {"word_order": "high_first" if legacy else "low_first"}
    )
    times, channels = everything(recording)
    np.testing.assert_array_equal(times, (ticks * 125 + 16) // 32)
    np.testing.assert_array_equal(channels, np.log2(bits).astype(int) + 1)


@pytest.mark.parametrize("rate_hz", [50.0, 1e4, 1e5, 4e6])
def test_tdc1_dumps_are_found(tmp_path: Path, rate_hz: float) -> None:
    rng = np.random.default_rng(2)
    ticks = poisson(rng, 5000, 5e8 / rate_hz)
    bits = 1 << rng.integers(0, 4, len(ticks))
    dummies = np.arange(1 << 27, ticks[-1], 1 << 27)  # one dummy per rollover, as from the unit
    order = np.argsort(np.concatenate([ticks, dummies]), kind="stable")
    path = tmp_path / "tdc1.bin"
    path.write_bytes(
        tdc1_bytes(
            np.concatenate([ticks, dummies])[order],
            np.concatenate([bits, np.full(len(dummies), 17)])[order],
        )
    )
    recording = open_recording(path)
    assert recording.wire_format.name == "tdc1"
    times, channels = everything(recording)
    np.testing.assert_array_equal(times, ticks * 2000)
    np.testing.assert_array_equal(channels, np.log2(bits).astype(int) + 1)


def test_swabian_and_headerless_qutag_dumps_are_found(tmp_path: Path) -> None:
    swabian = tmp_path / "dump"
    swabian.write_bytes(
        b"".join(struct.pack("<BBHiq", 0, 0, 0, -2, 10**13 + 1000 * k) for k in range(100))
    )
    assert open_recording(swabian).wire_format.name == "swabian16"
    qutag = tmp_path / "raw"
    qutag.write_bytes(b"".join(struct.pack("<qH", 10**13 + 999 * k, k % 5) for k in range(100)))
    assert open_recording(qutag).description.startswith("quTAG raw")
    assert open_recording(qutag).scan().counts == dict.fromkeys(range(5), 20)


def test_a_format_can_be_forced(tmp_path: Path) -> None:
    path = tmp_path / "packed.qutag"
    records = [(k % 8) << 37 | 1000 * k for k in range(64)]
    path.write_bytes(bytes(40) + b"".join(r.to_bytes(5, "little") for r in records))
    forced = open_recording(path, wire_format=WireFormat("qutag_compressed", {"resolution_ps": 81}))
    times, channels = everything(forced)
    np.testing.assert_array_equal(times, np.arange(64) * 81_000)
    np.testing.assert_array_equal(channels, np.arange(64) % 8)
    with pytest.raises(PhotonlinkError, match="no decoder"):
        open_recording(path, wire_format=WireFormat("nonsense"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"A diary, not a recording.\n" * 200, "no recording"),
        (bytes(4000), "no rec"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=words):
        open_recording(path)


def test_random_bytes_are_refused_or_read_without_a_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    path = tmp_path / "noise"
    path.write_bytes(rng.bytes(50_000))
    with pytest.raises(RecordingError):
        open_recording(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"nowhere.*No such file"):
        open_through_hal(tmp_path / "nowhere")


# ---- the real recordings ----


@pytest.mark.proves("sfifteen-tdc2", by="a recording (timestamp7, of fpfind)")
def test_the_real_a1_recording(shared_data: Path) -> None:
    path = shared_data / "timestamp7_c14_rollover.Aa1fX.ts"
    recording = open_recording(path)
    assert recording.wire_format.parameters["word_order"] == "high_first"
    found = recording.scan()
    assert found.decoder.records == 1000
    assert found.counts == {1: 431, 4: 431}
    assert found.decoder.dummies == 138
    assert round(found.span_s, 9) == 0.033695816
    assert found.error is None
    words = np.fromfile(path, "<u4").reshape(-1, 2)
    events = words[(words[:, 1] & 16) == 0].astype(np.int64)
    ticks = np.sort(events[:, 0] << 22 | events[:, 1] >> 10, kind="stable")
    np.testing.assert_array_equal(everything(recording)[0], (ticks * 125 + 16) // 32)


def test_a1_as_s15lib_and_fpfind_read_it(shared_data: Path) -> None:
    path = shared_data / "timestamp7_c14_rollover.Aa1fX.ts"
    reader = pytest.importorskip(
        "S15lib.g2lib.parse_timestamps", reason="s15lib is not installed (extra peers)"
    )
    ns, patterns = reader.read_a1(str(path), legacy=True)
    times, channels = everything(open_recording(path))
    order = np.argsort(ns, kind="stable")
    # its times are double precision: half an ulp of 6.5e13 ns is 4 ps
    assert np.max(np.abs(times - times[0] - (ns[order] - ns[order][0]) * 1000)) <= 8
    np.testing.assert_array_equal(1 << (channels - 1), np.asarray(patterns)[order])


def test_the_real_qutag_recording(shared_data: Path) -> None:
    path = shared_data / "200204_qutag_320MHz_HBT_sync_filtered.qutag"
    rows = np.fromfile(path, dtype=[("t", "<i8"), ("c", "<u2")], offset=40)
    for size in (1 << 17, 1000):
        times, channels = everything(open_recording(path), max_records=size)
        np.testing.assert_array_equal(times, rows["t"])
        np.testing.assert_array_equal(channels, rows["c"])


def test_the_real_ptu_recording_as_ptufile_reads_it(shared_data: Path) -> None:
    ptufile = pytest.importorskip("ptufile", reason="ptufile is not installed (extra peers)")
    path = shared_data / "200204_HH400_T2_320MHz_HBT.timeres"
    recording = open_recording(path)
    assert recording.description == "PTU (HydraHarp 400, t2)"
    with ptufile.PtuFile(path) as file:
        theirs = file.decode_records()
    theirs = theirs[theirs["channel"] >= 0]
    times, channels = everything(recording, max_records=777)
    np.testing.assert_array_equal(times, theirs["time"].astype(np.int64))
    np.testing.assert_array_equal(channels, theirs["channel"])
    assert recording.scan().counts == {0: 159_298, 1: 224_721}


# ---- damage ----


def test_a_cut_ptu_file_tells_where_and_keeps_the_rest(tmp_path: Path, shared_data: Path) -> None:
    data = (shared_data / "200204_HH400_T2_320MHz_HBT.timeres").read_bytes()
    whole = open_recording(shared_data / "200204_HH400_T2_320MHz_HBT.timeres").scan()
    cut = tmp_path / "cut.ptu"
    cut.write_bytes(data[: 4392 + 4 * 100_000 + 3])
    recording = open_recording(cut)
    found = recording.scan()
    assert found.decoder.records == 100_000
    assert 0 < found.events < whole.events
    assert found.error is recording.error is not None
    assert found.error.position == 4392 + 400_000
    assert "cut off" in str(found.error)


@pytest.mark.parametrize("size", [5, 16, 40, 1000, 4391])
def test_a_cut_ptu_header_is_refused(tmp_path: Path, shared_data: Path, size: int) -> None:
    data = (shared_data / "200204_HH400_T2_320MHz_HBT.timeres").read_bytes()
    cut = tmp_path / "cut.ptu"
    cut.write_bytes(data[:size])
    with pytest.raises(RecordingError):
        open_recording(cut)


def test_ptu_headers_with_any_byte_changed_never_crash(tmp_path: Path) -> None:
    path, broken = tmp_path / "a.ptu", tmp_path / "b.ptu"
    write_ptu(path, np.arange(50, dtype=np.uint32), resolution_ps=80)
    data = path.read_bytes()
    rng = np.random.default_rng(8)
    for at in range(0, len(data) - 200, 3):
        broken.write_bytes(data[:at] + rng.bytes(1) + data[at + 1 :])
        with contextlib.suppress(RecordingError):
            assert open_recording(broken).scan().decoder.records <= 50


def test_a_file_that_ends_inside_a_record(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    ticks = np.arange(1000) * 2560
    path.write_bytes(a1_bytes(ticks, np.ones(1000, int))[:-3])
    found = open_recording(path).scan()
    assert found.counts == {1: 999}
    assert found.error is not None
    assert found.error.position == 999 * 8


def test_a_damaged_word_in_the_middle_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    ticks = np.arange(2000) * 25_600_000
    data = bytearray(a1_bytes(ticks, np.ones(2000, int)))
    data[8000:8008] = bytes(8)
    path.write_bytes(data)
    found = open_recording(path).scan()
    assert found.counts == {1: 1999}
    assert found.lost_intervals == 1
    gap = found.lost[0]
    assert gap.start_ps <= 1000 * 100_000_000 <= gap.end_ps


def test_bytes_out_of_step_are_a_named_error_at_their_place(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    data = a1_bytes(10**12 + np.arange(40_000) * 25_600, np.ones(40_000, int), status=0x300)
    path.write_bytes(data[:160_000] + data[160_003:])
    recording = open_recording(path)
    found = recording.scan()
    assert found.error is not None
    assert 160_000 <= found.error.position < 162_000
    assert found.events >= 20_000


# ---- PTU, written by us ----


@pytest.mark.parametrize(
    ("name", "resolution_ps", "period_ps"),
    [
        ("t2", 80.0, 0.0),
        ("t2", 5.0, 0.0),
        ("t2_hh1", 1.0, 0.0),
        ("t2_ph300", 4.0, 0.0),
        ("t3", 16.0, 12_500.0),
        ("t3_hh1", 16.0, 12_500.0),
        ("t3_ph300", 4.0, 25_000.0),
    ],
)
def test_ptufile_reads_what_we_write(
    tmp_path: Path, name: str, resolution_ps: float, period_ps: float
) -> None:
    ptufile = pytest.importorskip("ptufile", reason="ptufile is not installed (extra peers)")
    rng = np.random.default_rng(4)
    ph = name.endswith("ph300")
    overflow = 0xF0000000 if ph else 0x80000000 | 63 << 25 | 1
    period = 25_000 if ph else 500
    words = []
    for _ in range(20):
        low = np.sort(rng.integers(0, 65_536 if ph else 1024, period))
        top = 210_698_240 if ph else 1 << 25
        if name.startswith("t2"):
            low = np.sort(rng.integers(0, top, period))
            body = low | rng.integers(0, 5, period) << (28 if ph else 25)
        else:
            dtime = np.sort(rng.integers(1, 16, period))
            body = (
                low | dtime << (16 if ph else 10) | rng.integers(1, 4, period) << (28 if ph else 25)
            )
        words.append(body.astype(np.uint32))
        words.append(np.array([overflow], np.uint32))
    records = np.concatenate(words)
    path = tmp_path / "out.ptu"
    write_ptu(
        path, records, resolution_ps=resolution_ps, record_format=name, sync_period_ps=period_ps
    )
    recording = open_recording(path)
    assert recording.wire_format.name == name
    assert recording.resolution_ps == resolution_ps
    times, channels = everything(recording)
    with ptufile.PtuFile(path) as file:
        theirs = file.decode_records()
    theirs = theirs[(theirs["channel"] >= 0) & (theirs["marker"] == 0)]
    if name.startswith("t2"):
        expected = theirs["time"].astype(np.int64) * int(resolution_ps)
    else:
        expected = theirs["time"].astype(np.int64) * int(period_ps)
        expected += theirs["dtime"].astype(np.int64) * int(resolution_ps)
        if ph:  # ptufile numbers the router's inputs 1..4 from 0; we keep the record's number
            channels -= 1
    order = np.argsort(expected, kind="stable")
    assert len(times) == 20 * period
    np.testing.assert_array_equal(times, expected[order])
    np.testing.assert_array_equal(channels, theirs["channel"][order])
    with pytest.raises(FileExistsError):
        write_ptu(path, records, resolution_ps=1)


# ---- our own format ----

CHUNKS = (
    WireChunk(struct.pack("<3I", 5 << 5 | 1, 7 << 5 | 2, 9 << 5 | 3)[:7]),
    WireChunk(b"", (LostInterval(20_000, -1, None, "reconnect"),)),
    WireChunk(struct.pack("<3I", 5 << 5 | 1, 7 << 5 | 2, 9 << 5 | 3)[7:]),
    WireChunk(struct.pack("<I", 20 << 5 | 8), (LostInterval(1, 2, 3, 'with "quotes"'),)),
)


def write_own(path: Path) -> None:
    with RecordingWriter(
        path,
        WireFormat("tdc1"),
        identity=Identity("S-Fifteen", "TDC1", "42", "1.0"),
        start=AcquisitionStart(1.6e9, 0.01),
        provenance=Provenance.EMULATED,
        capabilities=TaggerCapabilities((1, 2, 3, 4), 2000.0, 4e6),
    ) as writer:
        for chunk in CHUNKS:
            writer.write(chunk)


async def test_our_own_recording_replays_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "alice.pltags"
    write_own(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "tags are raw key"
    recording = open_recording(path)
    assert await recording.open() == Identity("S-Fifteen", "TDC1", "42", "1.0")
    assert await recording.start() == AcquisitionStart(1.6e9, 0.01)
    assert recording.capabilities == TaggerCapabilities((1, 2, 3, 4), 2000.0, 4e6)
    assert recording.provenance is Provenance.REPLAYED
    assert recording.header is not None
    assert recording.header.provenance is Provenance.EMULATED
    assert tuple([chunk async for chunk in recording.chunks()]) == CHUNKS
    live = decoder_for(WireFormat("tdc1"), Provenance.REPLAYED)
    for chunk, block in zip(CHUNKS, recording.blocks(), strict=False):
        expected = live.feed(chunk)
        np.testing.assert_array_equal(block.time_ps, expected.time_ps)
        np.testing.assert_array_equal(block.channel, expected.channel)
        assert (block.start_ps, block.end_ps, block.lost, block.provenance) == (
            expected.start_ps,
            expected.end_ps,
            expected.lost,
            Provenance.REPLAYED,
        )
    assert recording.error is None
    with pytest.raises(FileExistsError):
        RecordingWriter(path, WireFormat("tdc1"))


def test_our_own_recording_cut_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    path, cut = tmp_path / "whole", tmp_path / "cut"
    write_own(path)
    data = path.read_bytes()
    counts = []
    for size in range(8, len(data)):
        cut.write_bytes(data[:size])
        try:
            recording = open_recording(cut)
        except RecordingError:
            assert not counts, "the header can be read, or not, but not again"
            continue
        found = recording.scan()
        assert found.error is not None
        assert found.error.position <= size
        counts.append(found.events)
    assert counts == sorted(counts)
    assert {0, 1, 4, 5} <= set(counts)


async def test_any_changed_byte_of_our_own_recording_is_noticed(tmp_path: Path) -> None:
    path, bad = tmp_path / "whole", tmp_path / "bad"
    write_own(path)
    data = path.read_bytes()
    for at in range(len(data)):
        bad.write_bytes(data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :])
        with pytest.raises(RecordingError) as caught:
            _ = [chunk async for chunk in open_recording(bad).chunks()]
        assert caught.value.position <= max(at, 16)


async def test_other_recordings_know_no_start(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    path.write_bytes(a1_bytes(np.arange(1000) * 2560, np.ones(1000, int)))
    recording = open_recording(path)
    await recording.open()
    assert math.isinf((await recording.start()).uncertainty_s)
    chunks = [chunk async for chunk in recording.chunks()]
    assert b"".join(chunk.data for chunk in chunks) == path.read_bytes()
    snapshot = await recording.snapshot()
    assert snapshot["recording_format"] == "S-Fifteen a1"
    await recording.stop()
    await recording.close()


CASES = Path(__file__).resolve().parents[1] / "cases"


@pytest.mark.parametrize("name", ["t3_dtime_beyond_period.ptu", "qutag_late_words.qutag"])
def test_cases_of_events_out_of_order(name: str) -> None:
    right = json.loads((CASES / "right.json").read_text(encoding="utf-8"))[name]
    times, channels = everything(open_recording(CASES / name))
    by_channel = right["by_channel"]
    if isinstance(by_channel, list):
        by_channel = dict(enumerate(by_channel))
    assert len(times) == right["events"]
    assert {int(c): n for c, n in by_channel.items()} == dict(
        zip(*(x.tolist() for x in np.unique(channels, return_counts=True)), strict=True)
    )
    assert (times[0], times[-1]) == (right["first_ps"], right["last_ps"])
    assert (np.diff(times) >= 0).all()
