"""Taggers on the bench: clocks, memory, overflow, loss when the host is too slow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from photonlink.firmware_sim.config import BenchConfig, default_bench, parse_bench
from photonlink.firmware_sim.optical_table import OpticalTable
from photonlink.firmware_sim.tagger import TaggerUnit, TagMemory

LIT = {"source": {"pump_power_mw": 20.0}}


def lit(**paths: Any) -> OpticalTable:
    bench = OpticalTable(BenchConfig.model_validate(LIT))
    bench.set({name.replace("__", "."): value for name, value in paths.items()})
    return bench


def advance(bench: OpticalTable, slices: int) -> None:
    for _ in range(slices):
        bench.advance()


def alice(bench: OpticalTable, **kw: Any) -> TaggerUnit:
    tagger = bench.taggers["alice"]
    tagger.configure(**{"inputs": 4, "resolution_ps": 1.0, **kw})
    tagger.start()
    return tagger


def test_reads_are_complete_up_to_the_horizon_and_in_order() -> None:
    bench = lit()
    tagger = alice(bench)
    last, total = 0, 0
    for _ in range(20):
        bench.advance()
        read = tagger.read()
        assert read.time_ps[0] >= last
        assert (np.diff(read.time_ps) >= 0).all()
        assert read.time_ps[-1] <= read.until_ps
        assert not read.overflow
        last, total = read.until_ps, total + len(read.time_ps)
    assert total == sum(bench.clicks_total(f"alice.{d}") for d in "hvda")
    assert last == pytest.approx(20 * 0.02e12, abs=1e6)


@pytest.mark.parametrize("resolution_ps", [1.0, 3.90625, 2000.0])
def test_no_tag_crosses_a_horizon_that_was_announced(resolution_ps: float) -> None:
    """Jitter and rounding must not put a tag before an earlier ``until_ps``."""
    bench = OpticalTable(BenchConfig.model_validate({**LIT, "slice_ms": 1.0}))
    bench.set({f"alice.detectors.{d}.dark_hz": 1e6 for d in "hvda"})
    bench.set({f"alice.detectors.{d}.dead_time_s": 0.0 for d in "hvda"})
    tagger = alice(bench, resolution_ps=resolution_ps, jitter_ps=2000.0)
    until = 0
    for k in range(300):
        if k == 150:
            bench.set({"alice.clock.jump_ps": -(10**10)})
        bench.advance()
        read = tagger.read()
        if len(read.time_ps):
            assert until <= read.time_ps[0]
            assert read.time_ps[-1] <= read.until_ps
        assert read.until_ps >= until
        until = read.until_ps


def test_reading_in_small_portions_gives_the_same_tags() -> None:
    def tags(limit: int | None) -> tuple[list[int], list[int]]:
        bench = lit()
        tagger = alice(bench)
        advance(bench, 5)
        times: list[int] = []
        channels: list[int] = []
        while True:
            read = tagger.read(limit)
            if len(read.time_ps) == 0:
                return times, channels
            if limit:
                assert len(read.time_ps) <= limit
            times += read.time_ps.tolist()
            channels += read.channel.tolist()

    assert tags(None) == tags(97)


def test_frequency_offset_and_start_offset() -> None:
    bench = lit(alice__clock__frequency_ppm=8.0, alice__clock__start_offset_s=0.1)
    advance(bench, 3)
    tagger = alice(bench)
    advance(bench, 100)
    read = tagger.read()
    assert read.until_ps == pytest.approx(2.0e12 * (1 + 8e-6) - 0.1e12, abs=1e5)
    assert 0 <= read.time_ps[0] < 1e9
    bench.set({"alice.clock.start_offset_s": -0.1})
    tagger.start()
    advance(bench, 5)
    assert tagger.read().time_ps[0] >= 0.1e12


def test_start_jitter_is_seeded_and_drawn_afresh() -> None:
    def untils() -> list[int]:
        bench = lit(alice__clock__start_jitter_s=0.3)
        found = []
        for _ in range(4):
            tagger = alice(bench)
            advance(bench, 50)
            found.append(tagger.read().until_ps)
        return found

    first = untils()
    assert first == untils()
    assert len(set(first)) == 4
    assert all(0.69e12 < u < 1.31e12 for u in first)


def test_clock_jumps_once_and_never_runs_back() -> None:
    bench = lit()
    tagger = alice(bench)
    advance(bench, 5)
    bench.set({"alice.clock.jump_ps": 10**9})
    advance(bench, 5)
    assert bench.get("alice.clock.jump_ps") == 0
    assert tagger.read().until_ps == pytest.approx(0.201e12, abs=1e6)
    bench.set({"alice.clock.jump_ps": -(10**11)})
    advance(bench, 3)
    stalled = tagger.read()
    assert len(stalled.time_ps) == 0
    assert stalled.until_ps == pytest.approx(0.201e12, abs=1e6)
    advance(bench, 7)
    read = tagger.read()
    assert read.time_ps[0] >= stalled.until_ps - 1e6
    assert read.until_ps == pytest.approx(0.301e12, abs=1e6)


def test_overflow_loses_and_says_how_many_and_where() -> None:
    bench = lit()
    tagger = alice(bench, fifo_tags=1000)
    advance(bench, 10)
    total = sum(bench.clicks_total(f"alice.{d}") for d in "hvda")
    read = tagger.read()
    assert len(read.time_ps) == 1000
    assert read.lost == total - 1000
    assert read.overflow
    assert read.time_ps[-1] <= read.lost_from_ps < read.lost_to_ps <= read.until_ps
    bench.advance()
    more = tagger.read()
    assert more.overflow, "the flag stays until the next start"
    assert more.lost_from_ps >= read.lost_to_ps
    tagger.start()
    assert not tagger.read().overflow


def test_closed_inputs_are_silent() -> None:
    bench = lit()
    tagger = alice(bench)
    tagger.set_enabled(1, False)
    advance(bench, 3)
    assert set(tagger.read().channel.tolist()) == {0, 2, 3}
    assert tagger.rates_hz()[1] == 0.0
    tagger.set_enabled(1, True)
    advance(bench, 1)
    assert 1 in tagger.read().channel
    with pytest.raises(ValueError, match="no input 4"):
        tagger.set_enabled(4, True)


def test_a_stopped_tagger_keeps_its_memory_and_stores_no_more() -> None:
    bench = lit()
    tagger = alice(bench)
    advance(bench, 3)
    tagger.stop()
    advance(bench, 3)
    read = tagger.read()
    assert read.until_ps == pytest.approx(0.06e12, abs=1e6)
    assert len(tagger.read().time_ps) == 0
    assert sum(tagger.rates_hz()) > 10_000


def test_cables_can_be_swapped() -> None:
    bench = lit(alice__tagger__inputs={"h": 3, "v": 0}, alice__detectors__v__excess_bias_v=0.0)
    tagger = alice(bench)
    advance(bench, 3)
    assert set(tagger.read().channel.tolist()) == {3}


def test_dropped_time_is_a_reported_loss() -> None:
    bench = lit()
    tagger = alice(bench)
    advance(bench, 10)
    before = tagger.read()
    rate = len(before.time_ps) / 0.2
    bench.drop(int(0.5e12))
    advance(bench, 10)
    read = tagger.read()
    assert read.overflow
    assert read.lost == pytest.approx(rate * 0.5, rel=0.2)
    assert read.lost_from_ps == pytest.approx(before.until_ps, abs=1)
    assert read.lost_to_ps == pytest.approx(0.7e12, abs=1e6)
    after = tagger.read()
    assert after.time_ps[0] >= read.lost_to_ps
    assert after.until_ps == pytest.approx(0.9e12, abs=1e6)
    assert bench.status()["dropped_s"] == 0.5


def test_memory_reports_every_loss_between_its_tags() -> None:
    memory = TagMemory(3)

    def put(*times: int) -> None:
        memory.put(np.array(times, np.int64), np.zeros(len(times), np.uint8), times[-1] + 1)

    put(1, 2, 3, 4, 5)
    put(8)
    read = memory.take(2)
    assert (read.time_ps.tolist(), read.lost) == ([1, 2], 0)
    assert read.until_ps == 3
    put(10, 11, 12)
    read = memory.take(None)
    assert (read.time_ps.tolist(), read.lost, read.lost_from_ps, read.lost_to_ps) == ([3], 3, 4, 9)
    assert read.until_ps == 10
    read = memory.take(None)
    assert (read.time_ps.tolist(), read.lost, read.lost_from_ps) == ([10, 11], 1, 12)
    assert memory.lost_total == 4
    assert len(memory) == 0


def test_tags_of_both_sides_hold_the_pairs_and_their_errors() -> None:
    """The whole chain of the demo's bench, read as by the pipeline, with equal clocks."""
    bench = OpticalTable(parse_bench(default_bench()))
    still = {"frequency_ppm": 0, "drift_ppb_per_s": 0, "white_fm": 0, "random_walk_fm": 0}
    still["start_jitter_s"] = 0
    bench.set({f"{s}.clock.{k}": v for s in ("alice", "bob") for k, v in still.items()})
    bench.set({"source.pump_power_mw": 32.0})
    tdc1, multiharp = bench.taggers["alice"], bench.taggers["bob"]
    tdc1.configure(inputs=4, resolution_ps=2000.0)
    multiharp.configure(inputs=8, resolution_ps=80.0)
    tdc1.start()
    multiharp.start()
    advance(bench, 200)
    a, b = tdc1.read(), multiharp.read()
    truth = bench.truth()
    shift = truth["delay_ps"]["bob"] - truth["delay_ps"]["alice"] - 1000
    i = np.searchsorted(b.time_ps, a.time_ps + shift - 3500)
    i = np.minimum(i, len(b.time_ps) - 1)
    hit = np.abs(b.time_ps[i] - a.time_ps - shift) < 3500
    mine, theirs = a.channel[hit], b.channel[i[hit]]
    sifted = mine // 2 == theirs // 2
    assert sifted.mean() == pytest.approx(0.5, abs=0.02)
    for basis, name in ((0, "qber_hv"), (1, "qber_da")):
        of = sifted & (mine // 2 == basis)
        errors = (mine[of] != theirs[of]).mean()
        n = int(of.sum())
        assert n > 12_000
        accidental = 0.5 * 118e3 * 7e-9 / (hit.sum() / 4.0 / 115e3)
        expected = truth[name] + accidental
        assert abs(errors - expected) < 5 * np.sqrt(expected / n)


def test_a_start_between_two_slices_counts_from_that_moment() -> None:
    bench = lit()
    advance(bench, 2)
    bench.host_now_ps = lambda: 47_000_000_000
    tagger = alice(bench)
    advance(bench, 1)
    read = tagger.read()
    assert read.until_ps == pytest.approx(13e9, abs=1e5)
    assert 0 <= read.time_ps[0] < 1e9


def test_tags_can_vanish_without_a_flag() -> None:
    bench = lit()
    tagger = alice(bench)
    bench.set({"alice.tagger.drop_tags": 500})
    advance(bench, 5)
    read = tagger.read()
    total = sum(bench.clicks_total(f"alice.{d}") for d in "hvda")
    assert len(read.time_ps) == total - 500
    assert (read.lost, read.overflow) == (0, False)
    assert bench.get("alice.tagger.drop_tags") == 0


def test_the_memory_can_shrink_while_it_runs() -> None:
    bench = lit()
    tagger = alice(bench)
    advance(bench, 2)
    bench.set({"alice.tagger.fifo_tags": 10})
    advance(bench, 2)
    assert tagger.read().overflow
