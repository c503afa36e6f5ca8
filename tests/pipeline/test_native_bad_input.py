"""Invalid arguments and data for the core: lengths of 0 and of 2^31 + 1, lists that do not match,
times that run backwards. Each gives a named error, never a crash or a partial result. Released
contexts and keys: test_native_every_call.py. Cases of one function are tested beside it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photonlink.pipeline.native import base
from photonlink.pipeline.native.base import (
    NativeArgumentError,
    NativeDataError,
    NativeError,
    NativeStateError,
)
from photonlink.pipeline.native.cascade import CascadeAlice, CascadeBob
from photonlink.pipeline.native.correlate import correlate_into
from photonlink.pipeline.native.events import NativeEvents
from photonlink.pipeline.native.hashing import PolyMac, Toeplitz, verification_hash
from photonlink.pipeline.native.matching import (
    bin_times,
    delay_pairs,
    delay_slices,
    match_count,
    match_pairs,
    timecode_decode,
    timecode_encode,
)
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.reconcile import Corrector, ReconcileError

HUGE = 2**31 + 1
SEED = bytes(32)
NULL = base.ffi.NULL
lib = base.lib
FAR = 2**63 - 1


def int64(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, np.int64)


def events_store() -> NativeEvents:
    channel_map = np.full(256, 255, np.uint8)
    channel_map[1:5] = range(4)
    return NativeEvents(channel_map, 100, 1 << 16)


def zeros(n: int) -> bytes:
    return bytes(n)


def closed(n_bits: int) -> SecretBits:
    secret = SecretBits(n_bits)
    secret.close()
    return secret


@pytest.mark.parametrize("room", ["pipeline/core", "hal/decode"])
def test_no_result_can_be_ignored(room: str) -> None:
    """Every C function that can fail is declared so that the compiler warns of an unused result."""
    headers = sorted((Path(__file__).resolve().parents[2] / room / "include").glob("pl_*.h"))
    assert headers
    for header in headers:
        text = header.read_text(encoding="utf-8")
        bare = re.findall(r"^(?:int|int64_t) (pl_\w+)\(", text, re.MULTILINE)
        assert bare == [], f"{header.name}: PL_MUST_CHECK is missing"


# ---- conversations ----


def test_a_refused_restart_leaves_the_running_block() -> None:
    key = SecretBits.random(5000)
    alice = CascadeAlice(key, qber=0.01, seed=SEED, leak_cap_bits=5000)
    bob = CascadeBob(key, qber=0.01, seed=SEED)
    request = bob.request()
    assert request is not None
    for bad in (SecretBits(0), closed(99)):
        with pytest.raises(NativeError):
            alice.restart(bad, seed=SEED, leak_cap_bits=9)
        with pytest.raises(NativeError):
            bob.restart(bad, qber=0.01, seed=SEED)
    assert bob.request() == request
    while (request := bob.request()) is not None:
        bob.receive(alice.answer(request))
    assert bob.corrected().equals(key)


def test_a_lie_that_shows_only_at_the_next_question_is_named_too() -> None:
    """With padding, a contradiction may appear only in the next request (found by the fuzzer)."""
    rng, where = random.Random(3), set()
    for _ in range(200):
        key, other = rng.randbytes(40), bytearray(rng.randbytes(40))
        alice = CascadeAlice(SecretBits.take(bytearray(key)), qber=0, seed=SEED, leak_cap_bits=9999)
        bob = Corrector(SecretBits.take(other), qber=0.0, seed=SEED)
        try:
            while (request := bob.request()) is not None:
                answer = alice.answer(request)
                try:
                    bob.receive(
                        bytes(b ^ rng.choice((0, 0, 1 << rng.randrange(8))) for b in answer)
                    )
                except ReconcileError:
                    where.add("receive")
                    break
        except ReconcileError:
            where.add("request")
    assert "request" in where


# ---- lengths ----


def test_more_than_2_to_31_bits(huge: SecretBits) -> None:
    """256 MiB: functions without a length limit accept this; no count is limited to 32 bits."""
    assert len(huge) == HUGE
    last = SecretBits.take(bytearray(b"\xff"), 3)
    huge.wipe_range(HUGE - 5, HUGE)
    assert huge.slice(HUGE - 3, HUGE).ones() == 0
    with pytest.raises(NativeArgumentError):
        huge.slice(HUGE - 3, HUGE + 1)
    with pytest.raises(NativeArgumentError):
        huge.select(int64(HUGE))
    assert huge.select(int64(HUGE - 1, 0)).ones() == 0
    for refused in (
        lambda: huge.xor_in(last),
        lambda: PolyMac(huge),
        lambda: CascadeAlice(huge, qber=0.1, seed=SEED, leak_cap_bits=9),
        lambda: CascadeBob(huge, qber=0.1, seed=SEED),
        lambda: Toeplitz().modified(huge, zeros(1000), 100),
    ):
        with pytest.raises(NativeArgumentError):
            refused()
    assert not huge.equals(last)


@pytest.mark.parametrize("n_bits", [-1, -(2**63), 2**40 + 1, 2**62])
def test_impossible_numbers_of_bits(n_bits: int) -> None:
    with pytest.raises(NativeArgumentError):
        SecretBits(n_bits)


def test_no_bits_at_all() -> None:
    nothing = SecretBits(0)
    assert nothing.ones() == 0
    assert nothing.disclose() == b""
    assert nothing.slice(0, 0).equals(nothing)
    assert len(Toeplitz().modified(nothing, b"", 0)) == 0
    assert len(verification_hash(nothing, zeros(16), 128)) == 16
    for refused in (
        lambda: CascadeAlice(nothing, qber=0.1, seed=SEED, leak_cap_bits=9),
        lambda: CascadeBob(nothing, qber=0.1, seed=SEED),
        lambda: PolyMac(nothing),
    ):
        with pytest.raises(NativeArgumentError):
            refused()


def test_no_times_at_all() -> None:
    none, some = int64(), int64(1, 2, 3)
    for a, b in ((none, none), (none, some), (some, none)):
        assert [len(x) for x in match_pairs(a, b, 10)] == [0, 0]
        assert match_count(a, b, 10) == 0
        assert correlate_into(np.zeros(4, np.uint64), a, b, 0, 1) == 0
        assert len(delay_pairs(a, b, -5, 5, 9)[0]) == 0
    assert timecode_encode(none, np.empty(0, np.uint8), 1, 3) == b""
    events = events_store()
    assert events.add(none, np.empty(0, np.uint8), 10**6, zeros) is None
    assert events.counts().events == 0
    with pytest.raises(NativeArgumentError):
        correlate_into(np.zeros(0, np.uint64), some, some, 0, 1)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("pl_match", (NULL, HUGE, NULL, HUGE, 10, NULL, NULL, HUGE - 1)),
        ("pl_correlate", (NULL, HUGE, NULL, HUGE, 0, 2, HUGE, NULL)),
        ("pl_start_stop", (NULL, HUGE, NULL, HUGE, 0, 2, 2**63, NULL)),
        ("pl_delay_slices", (NULL, HUGE, NULL, HUGE, 0, 1, HUGE, 0, 1, 1, NULL)),
        ("pl_timecode_decode", (NULL, 0, HUGE, 1, 3, 10, NULL, NULL)),
        ("pl_timecode_encode", (NULL, NULL, HUGE, 3, 3, NULL, 0)),
    ],
)
def test_lengths_that_cannot_be_are_refused_before_a_pointer_is_followed(
    function: str, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises((NativeArgumentError, NativeDataError)):
        base.check(getattr(lib, function)(*arguments))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lib.pl_events_add, (NULL, NULL, HUGE, 0, 0, NULL)),
        (lib.pl_events_read, (0, HUGE, NULL, NULL)),
        (lib.pl_events_read, (-(2**63), 1, NULL, NULL)),
        (lib.pl_events_label, (0, HUGE, NULL)),
        (lib.pl_events_label, (FAR, 2**63, NULL)),
    ],
)
def test_the_event_store_checks_lengths_first(
    function: Callable[..., int], arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(NativeArgumentError):
        events_store()._handle.call(function, *arguments)


def test_arrays_that_do_not_fit_together() -> None:
    events = events_store()
    with pytest.raises(NativeArgumentError):
        events.add(int64(1, 2, 3), np.ones(2, np.uint8), 9, zeros)
    with pytest.raises(NativeArgumentError):
        events.set_delays(int64(0, 0, 0))
    with pytest.raises(NativeArgumentError):
        NativeEvents(np.zeros(255, np.uint8), 100, 1 << 16)
    with pytest.raises(TypeError):
        events.add(np.zeros(3), np.ones(3, np.uint8), 9, zeros)  # type: ignore[arg-type]
    with pytest.raises(NativeArgumentError):
        timecode_encode(int64(1, 2, 3), np.zeros(2, np.uint8), 1, 3)
    assert events.counts().clicks == (0, 0, 0, 0)


# ---- times and channels ----


def hostile_times(seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Unsorted times, far apart, including values near the ends of the range."""
    rng = np.random.default_rng(seed)
    times = rng.integers(-(2**61), 2**61, 500) >> rng.integers(0, 60, 500)
    return times.astype(np.int64)


@pytest.mark.parametrize("seed", range(20))
def test_times_that_run_backwards_stay_inside_every_buffer(seed: int) -> None:
    a, b = hostile_times(seed), hostile_times(seed + 100)
    i, j = match_pairs(a, b, 1000)
    assert ((i >= 0) & (i < len(a))).all()
    assert ((j >= 0) & (j < len(b))).all()
    hist = np.zeros(50, np.uint64)
    assert correlate_into(hist, a, b, -1000, 40) == hist.sum()
    i, j = delay_pairs(a, b, -1000, 1000, 200)
    assert ((i >= 0) & (i < len(a)) & (j >= 0) & (j < len(b))).all()
    rows = delay_slices(
        a, b, low_ps=-1000, bin_ps=3, n_bins=700, start_ps=0, slice_ps=10**6, n_slices=4
    )
    assert rows.sum() <= len(a) * len(b)
    assert bin_times(a, -500, 7, 100).sum() <= len(a)
    with pytest.raises(NativeArgumentError):
        timecode_encode(a, np.zeros(len(a), np.uint8), 1, 3)


@pytest.mark.parametrize("seed", range(20))
def test_an_event_store_survives_an_absurd_tagger(seed: int) -> None:
    rng = np.random.default_rng(seed)
    events, clicks, horizon = events_store(), 0, -(2**63)
    for _ in range(20):
        times, channels = hostile_times(rng.integers(1 << 30)), rng.integers(0, 256, 500)
        ends = (0, 10**9, FAR, -FAR - 1)
        events.add(times, channels.astype(np.uint8), ends[rng.integers(4)], zeros)
        clicks += len(times)
        assert events.horizon_ps >= horizon
        horizon = events.horizon_ps
        counts = events.counts()
        assert sum(counts.clicks) + counts.ignored == clicks
        first, end = events.first_index, events.find(FAR)
        times, basis, _ = events.read(first, end - first)
        assert (np.diff(times) >= 0).all()
        assert set(basis.tolist()) <= {0, 1}


def test_bits_refused_are_not_spent() -> None:
    events = events_store()
    events.add(int64(*range(1000, 9000, 1000)), np.ones(8, np.uint8), 10**6, zeros)
    assert len(events.label(3, 1)) == 1
    for index, error in (
        (int64(0, 1, 3), NativeStateError),  # one of these was disclosed
        (int64(0, 1, 8), NativeArgumentError),
        (int64(0, 1, -1), NativeArgumentError),
        (int64(0, 2, 1), NativeArgumentError),
        (int64(0, 1, 1), NativeArgumentError),
    ):
        with pytest.raises(error):
            events.take_bits(index)
    assert len(events.take_bits(int64(0, 1, 2))) == 3


# ---- announcements ----


@pytest.mark.parametrize("label_bits", [0, 3, -1])
@pytest.mark.parametrize("rice", [-1, 32])
def test_impossible_code_parameters(label_bits: int, rice: int) -> None:
    for bits, parameter in ((label_bits, 3), (1, rice)):
        with pytest.raises(NativeArgumentError):
            timecode_decode(b"\0" * 9, 2, bits, parameter, 99)
        with pytest.raises(NativeArgumentError):
            timecode_encode(int64(1), np.zeros(1, np.uint8), bits, parameter)


def test_a_code_that_no_encoder_writes_is_refused() -> None:
    """A short gap in its long form, bits after the end, a byte too few or too many."""
    good = timecode_encode(int64(5, 70), np.array([0, 1], np.uint8), 1, 2)
    assert timecode_decode(good, 2, 1, 2, 70)[0].tolist() == [5, 70]
    long_form = b"\xff\xff\xff" + (5).to_bytes(8, "big") + b"\0"
    for bad in (good[:-1], good + b"\0", good[:-1] + bytes([good[-1] | 1]), b""):
        with pytest.raises(NativeDataError):
            timecode_decode(bad, 2, 1, 2, 70)
    for bad in (long_form, b"\xff" * 12):
        with pytest.raises(NativeDataError):
            timecode_decode(bad, 1, 1, 2, FAR)
    with pytest.raises(NativeDataError):
        timecode_decode(good, 2, 1, 2, 69)  # beyond the last tick
