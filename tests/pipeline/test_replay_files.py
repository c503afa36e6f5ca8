"""Two files from other software: late starts, large jumps, damage and wrong detector maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clicks import Bench, generate

from photonlink.drivers.recordings import write_ptu
from photonlink.hal.tags import TagBlock
from photonlink.pipeline.recordings.files import ReplayError, replay_files

LETTERS = {"H": 1, "V": 2, "D": 3, "A": 4}
RUN = Bench(
    seed=8, duration_s=4.0, pairs_hz=20_000, singles_a_hz=50_000, singles_b_hz=60_000,
    offset_s=-0.2, frequency_ppm=-6.5,
)  # fmt: skip
HOUR_PS = 3600 * 10**12


def a1(block: TagBlock, start_ps: int = 0) -> bytes:
    ticks = ((block.time_ps + start_ps) * 32 // 125).astype(np.uint64)
    words = ticks << np.uint64(10) | np.uint64(1) << (block.channel - 1).astype(np.uint64)
    return words.astype("<u8").tobytes()


def ptu(path: Path, block: TagBlock, start_ps: int = 0) -> None:
    times = block.time_ps + start_ps
    wraps = times >> 25
    words = times & ((1 << 25) - 1) | block.channel.astype(np.int64) << 25
    steps = np.diff(wraps, prepend=0)
    at = np.flatnonzero(steps)
    write_ptu(
        path, np.insert(words, at, (1 << 31 | 63 << 25) + steps[at]).astype("<u4"),
        resolution_ps=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("starts_s", [(100, 100), (0, 5000), (900, 0)])
def test_a_ptu_counts_from_its_first_click(tmp_path: Path, starts_s: tuple[int, int]) -> None:
    """Times of a PTU start at its instrument's zero, those of an a1 anywhere."""
    made = generate(RUN)
    alice, bob = tmp_path / "a.ptu", tmp_path / "b.a1"
    ptu(alice, made.alice, starts_s[0] * 10**12)
    bob.write_bytes(a1(made.bob, starts_s[1] * 10**12))
    found = replay_files(alice, bob, LETTERS, LETTERS, {})
    assert found["keys_match"]
    assert found["secret_bits"] > 500
    assert found["duration_s"] == pytest.approx(4.0, abs=0.3)
    expected = RUN.offset_s + starts_s[1] - starts_s[0]
    assert found["clock_offset_s"] == pytest.approx(expected, abs=1e-9)
    assert found["warnings"] == found["alarms"] == found["aborts"] == []


@pytest.mark.parametrize("seconds", [0, 4000])
def test_damage_is_named_and_does_not_hold_up_the_replay(tmp_path: Path, seconds: int) -> None:
    """Zeros in the middle; after three quarters the clock jumps by more than an hour."""
    made = generate(RUN)
    alice, bob = tmp_path / "a.a1", tmp_path / "b.a1"
    jumped = made.alice.time_ps.copy()
    at = len(jumped) * 3 // 4
    jumped[at:] += seconds * 10**12
    data = bytearray(a1(replace(made.alice, time_ps=jumped, end_ps=2**60)))
    middle = len(data) // 16 * 8
    data[middle : middle + 800] = bytes(800)
    alice.write_bytes(data)
    bob.write_bytes(a1(made.bob))
    found = replay_files(alice, bob, LETTERS, LETTERS, {})
    assert found["keys_match"]
    assert found["duration_s"] < 5
    warnings = found["warnings"]
    assert warnings[0].startswith(f"{alice}: at byte {middle}: damaged record; lost intervals: 1,")
    if seconds:
        assert warnings[1].startswith(f"{alice}: at byte {8 * at}: time jumps ahead by 4000 s")
    assert len(warnings) == 1 + bool(seconds)


def test_a_channel_that_never_clicks_is_named(tmp_path: Path) -> None:
    made = generate(replace(RUN, duration_s=0.5))
    alice, bob = tmp_path / "a.a1", tmp_path / "b.a1"
    alice.write_bytes(a1(made.alice))
    bob.write_bytes(a1(made.bob))
    with pytest.raises(ReplayError, match=r"channel 9 \(A\) has no events in .*b\.a1"):
        replay_files(alice, bob, LETTERS, LETTERS | {"A": 9}, {})
