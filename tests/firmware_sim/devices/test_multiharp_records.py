"""T2 records and dead time of the MultiHarp emulator, by PicoQuant's description of the format."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from photonlink.firmware_sim.devices.picoquant.records import GENERIC_T2, Wraps
from photonlink.firmware_sim.kit.clicks import dead_time


def decode(records: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Times in units and channels (sync: -1), by PicoQuant's description of a T2 record."""
    r = records.astype(np.int64)
    special, channel, tag = r >> 31, r >> 25 & 63, r & ((1 << 25) - 1)
    overflow = (special == 1) & (channel == 63)
    base = np.cumsum(np.where(overflow, np.maximum(tag, 1), 0)) << 25
    sync = (special == 1) & (channel == 0)
    assert (overflow | sync | (special == 0)).all()
    keep = ~overflow
    return (base + tag)[keep], np.where(sync, -1, channel)[keep]


@given(
    st.lists(st.tuples(st.integers(0, 1 << 28), st.integers(0, 62)), max_size=30),
    st.integers(0, (1 << 25) - 1),
    st.integers(1, 5),
)
def test_encoding_in_pieces(events: list[tuple[int, int]], start: int, pieces: int) -> None:
    events = sorted(events)
    tick = np.array([t for t, _ in events], np.int64)
    head = np.array([c for _, c in events], np.int64) << 25
    encoder, parts, at, end = Wraps(GENERIC_T2, start), [], 0, (1 << 28) + 1
    for i in range(1, pieces + 1):
        stop = int(np.searchsorted(tick, end * i // pieces))
        parts.append(encoder.encode(tick[at:stop], head[at:stop], end * i // pieces))
        assert len(parts[-1]) <= 2 * (stop - at) + 1
        at = stop
    times, channels = decode(np.concatenate(parts))
    np.testing.assert_array_equal(times, tick + start)
    np.testing.assert_array_equal(channels, head >> 25)


@given(st.lists(st.integers(0, 400), max_size=40), st.integers(1, 50), st.integers(0, 40))
def test_dead_time_in_pieces(values: list[int], length: int, cut: int) -> None:
    tick = np.array(sorted(values), np.int64)
    truth, last = [], -(1 << 62)
    for t in tick.tolist():
        if t - last >= length:
            truth.append(t)
            last = t
    first, state = dead_time(tick[:cut], length, -(1 << 62))
    second, _ = dead_time(tick[cut:], length, state)
    assert tick[np.concatenate((first, second))].tolist() == truth
