"""Coincidences: the announcement of event times, their matching, and the number of accidentals."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.native.base import NativeDataError
from photonlink.pipeline.native.matching import (
    match_count,
    match_pairs,
    timecode_decode,
    timecode_encode,
)
from photonlink.pipeline.stages.window import (
    EventWindow,
    Int64s,
    Interval,
    Uint8s,
    merge_intervals,
    outside,
)

_FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum of a Gaussian, in sigma
_HEADER = struct.Struct(">BBBxI")  # version, label bits, Rice parameter, number of events
_VERSION = 1
# larger announcements of one interval are refused before decoding
MAX_EVENTS_PER_S, MAX_BURST = 2e7, 10_000
CALIBRATION_BIN_PS = 1  # calibration data go at full resolution
DISPLACEMENT_PS = 20_000  # displacement of the window that counts accidentals (costream's default)


class AnnouncementError(PhotonlinkError, ValueError):
    """The peer's data is not a valid announcement of the agreed interval."""


@dataclass(frozen=True, slots=True)
class SiftParameters:
    """bin_ps: the grid of announced times. window_ps: a pair lies within +-window_ps."""

    bin_ps: int
    window_ps: int
    sigma_ps: float  # expected standard deviation of the residuals, grid included


def coincidence_parameters(
    resolution_a_ps: float, resolution_b_ps: float, jitter_a_ps: float, jitter_b_ps: float
) -> SiftParameters:
    """Grid and window from the taggers' resolutions and the detectors' jitter (FWHM, ps).

    sigma adds the jitter and the uniform roundings (width^2 / 12): both taggers, the spreading
    of their ticks (EventBuffer, ``resolution_ps``), the grid. The window is 2.3 sigma (98 % of
    the pairs; a wider one mostly adds accidentals), at least either resolution. The grid is
    Bob's resolution or, when that is finer, half of sigma of the jitter, at least 16 ps: a finer
    one only costs bandwidth and reveals more about his detectors.
    """
    for name, value in (("resolution", resolution_a_ps), ("resolution", resolution_b_ps)):
        if not 0 < value <= 1e6:
            raise ValueError(f"{name} must be within 0..1 us, got {value} ps")
    if not (0 <= jitter_a_ps <= 1e5 and 0 <= jitter_b_ps <= 1e5):
        raise ValueError(f"jitter must be within 0..100 ns, got {jitter_a_ps}, {jitter_b_ps} ps")
    jitter = math.hypot(jitter_a_ps, jitter_b_ps) / _FWHM
    grid = round(max(resolution_b_ps, jitter / 2, 16))
    roundings = (resolution_a_ps, resolution_a_ps, resolution_b_ps, resolution_b_ps, grid)
    sigma = math.sqrt(jitter**2 + sum(r * r for r in roundings) / 12)
    window = max(round(2.3 * sigma), round(resolution_a_ps), round(resolution_b_ps))
    return SiftParameters(grid, max(window, 100), sigma)


# ---- announcements ----


def _encode(time_ps: Int64s, label: Uint8s, start_ps: int, bin_ps: int, label_bits: int) -> bytes:
    if len(time_ps) and time_ps[0] < start_ps:
        raise ValueError("an event before the start of the interval")
    # the grid is the same for every interval, so that ticks always round alike
    tick = time_ps // bin_ps - start_ps // bin_ps
    mean = max(int(tick[-1]) / len(tick), 1.0) if len(tick) else 1.0
    rice = min(max(round(math.log2(mean * math.log(2))), 0), 31)  # best for geometric gaps
    header = _HEADER.pack(_VERSION, label_bits, rice, len(tick))
    return header + timecode_encode(tick, label, label_bits, rice)


def _decode(
    data: bytes, start_ps: int, end_ps: int, bin_ps: int, label_bits: int
) -> tuple[Int64s, Uint8s]:
    if len(data) < _HEADER.size:
        raise AnnouncementError("the announcement is shorter than its header", seen=data.hex())
    version, bits, rice, n = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    if version != _VERSION or bits != label_bits or rice > 31 or data[3] != 0:
        raise AnnouncementError(
            "the announcement's header is not the agreed one", seen=data[: _HEADER.size].hex()
        )
    if n > MAX_EVENTS_PER_S * 1e-12 * (end_ps - start_ps) + MAX_BURST:
        raise AnnouncementError("no tagger makes so many events", seen=f"{n} events")
    if n * (1 + rice + bits) > 8 * len(body):
        raise AnnouncementError(
            "the announcement claims more events than its bytes can hold",
            seen=f"{n} events in {len(body)} bytes",
        )
    try:
        first, last = start_ps // bin_ps, (end_ps - 1) // bin_ps
        tick, label = timecode_decode(body, n, bits, rice, last - first)
    except NativeDataError as error:
        raise AnnouncementError(
            "the announcement is cut off, leaves its interval or has rubbish at its end",
            seen=f"{n} events in {len(body)} bytes",
        ) from error
    return (tick + first) * bin_ps + bin_ps // 2, label


def encode_announcement(time_ps: Int64s, start_ps: int, bin_ps: int) -> bytes:
    """Times (sorted, from ``start_ps`` on) on the grid and nothing else: about 1.9 bytes per event
    at 100 kcps on 2 ns."""
    return _encode(time_ps, np.zeros(len(time_ps), np.uint8), start_ps, bin_ps, 1)


def decode_announcement(data: bytes, start_ps: int, end_ps: int, bin_ps: int) -> Int64s:
    """Times: centres of bins that overlap ``[start_ps, end_ps)``, sorted.

    ``data`` may be hostile: AnnouncementError for anything the encoder would not write.
    """
    times, label = _decode(data, start_ps, end_ps, bin_ps, 1)
    if label.any():
        raise AnnouncementError("an announcement of times carries something else")
    return times


def encode_calibration(time_ps: Int64s, detector: Uint8s, start_ps: int) -> bytes:
    """Full-resolution times with detector numbers 0..3, of events that are spent."""
    return _encode(time_ps, detector, start_ps, CALIBRATION_BIN_PS, 2)


def decode_calibration(data: bytes, start_ps: int, end_ps: int) -> tuple[Int64s, Uint8s]:
    """Times and detector numbers; AnnouncementError as in :func:`decode_announcement`."""
    return _decode(data, start_ps, end_ps, CALIBRATION_BIN_PS, 2)


# ---- matching ----


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Coincidences of one window, in the order of time.

    alice_index: int64 (n,), event indices in Alice's EventBuffer. bob_index: int64 (n,),
    positions in what Bob announced. residual_ps: int64 (n,), Bob minus Alice, in Alice's clock,
    as announced.
    accidentals: pairs in a window displaced by ``DISPLACEMENT_PS`` (or more for wide windows).
    dropped: events of both sides that fell to a lost interval.
    """

    alice_index: Int64s
    bob_index: Int64s
    residual_ps: Int64s
    accidentals: int
    dropped: int = 0

    @property
    def coincidences(self) -> int:
        return len(self.alice_index)


def match(
    alice: EventWindow,
    bob_time_alice_clock_ps: Int64s,
    window_ps: int,
    *,
    bob_lost: Sequence[Interval] = (),
) -> Matches:
    """Pair the events of both sides by their times alone: one-to-one, within +-window_ps.

    Matching is greedy in time order; a pair then takes a nearer unpaired event. Events inside a
    lost interval of either side, widened by the window, are left out, so that no event is paired
    that could belong to a lost one. Bob's times (sorted) and lost intervals are in Alice's clock.
    """
    lost = merge_intervals([*alice.lost, *bob_lost])
    a, b = alice.time_ps, bob_time_alice_clock_ps
    a_kept: Int64s | None = None
    b_kept: Int64s | None = None
    if lost:
        a_kept = np.flatnonzero(outside(a, lost, window_ps))
        b_kept = np.flatnonzero(outside(b, lost, window_ps))
        a, b = a[a_kept], b[b_kept]
    a_index, b_index = match_pairs(a, b, window_ps)
    residual = b[b_index] - a[a_index]
    accidentals = match_count(a, b, window_ps, max(DISPLACEMENT_PS, 4 * window_ps))
    if a_kept is not None and b_kept is not None:
        a_index, b_index = a_kept[a_index], b_kept[b_index]
    return Matches(
        alice_index=a_index + alice.first,
        bob_index=b_index,
        residual_ps=residual,
        accidentals=accidentals,
        dropped=len(alice) - len(a) + len(bob_time_alice_clock_ps) - len(b),
    )
