"""Pairs of two streams against a simple Python loop: edge cases of the kernels, every level."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from levels import fingerprints

from photonlink.pipeline.native.base import NativeArgumentError
from photonlink.pipeline.native.hashing import simd_level
from photonlink.pipeline.native.matching import match_count, match_pairs

LENGTHS = [0, 1, 2, 3, 4, 5, 15, 16, 17, 100, 1000]
WINDOW = 10


def stream(seed: int, n: int, mean_ps: float) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).integers(0, max(1, round(n * mean_ps)), n))


def walk(a: list[int], b: list[int], window: int) -> list[list[int]]:
    """Greedy in time order; then each pair may move to later events that no pair holds."""
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if abs(a[i] - b[j]) <= window:
            pairs.append([i, j])
        on_a, on_b = a[i] <= b[j] + window, b[j] <= a[i] + window
        i, j = i + on_a, j + on_b
    ends = [*pairs, [len(a), len(b)]][1:]
    for pair, end in zip(pairs, ends, strict=True):
        i, j = pair
        while j + 1 < end[1] and abs(a[i] - b[j + 1]) < abs(a[i] - b[j]):
            j += 1
        while i + 1 < end[0] and abs(a[i + 1] - b[j]) < abs(a[i] - b[j]):
            i += 1
        pair[:] = i, j
    return pairs


@pytest.mark.parametrize("mean_ps", [0.1, 3, 30, 300])
def test_pairs_are_those_of_the_walk(mean_ps: float) -> None:
    for n in LENGTHS:
        for m in (0, 1, 4, n):
            a, b = stream(n, n, mean_ps), stream(n + 1, m, mean_ps * n / m if m else 1)
            expected = walk(a.tolist(), b.tolist(), WINDOW)
            found = match_pairs(a, b, WINDOW)
            assert [list(pair) for pair in zip(*map(list, found), strict=True)] == expected
            assert match_count(a, b, WINDOW) == len(expected)


def test_many_stretches_and_one_that_never_ends() -> None:
    for mean_ps in (40.0, 0.01):  # occasional gaps; all within one window of the next
        a, b = stream(1, 50_000, mean_ps), stream(2, 40_000, 1.25 * mean_ps)
        found = match_pairs(a, b, WINDOW)
        assert np.stack(found, 1).tolist() == walk(a.tolist(), b.tolist(), WINDOW)


def test_one_side_silent_for_long() -> None:
    a = np.concatenate([np.arange(20_000), [10**9]])
    b = np.concatenate([[-(10**9)], np.arange(10**6, 10**6 + 20_000), [10**9 + 3]])
    found = match_pairs(a, b, WINDOW)
    assert np.stack(found, 1).tolist() == [[20_000, 20_001]]
    found = match_pairs(b, a, WINDOW)
    assert np.stack(found, 1).tolist() == [[20_001, 20_000]]


def test_buffers_that_are_used_again() -> None:
    a = np.arange(0, 100 * 40, 40)
    out = np.full(120, -1), np.full(120, -1)
    first, second = match_pairs(a, a + 3, WINDOW, out=out)
    assert first.base is out[0]
    assert first.tolist() == second.tolist() == list(range(100))
    with pytest.raises(NativeArgumentError):
        match_pairs(a, a, WINDOW, out=(out[0], out[1][:99]))
    with pytest.raises(NativeArgumentError):
        match_pairs(a, a, -1)


def fingerprint() -> str:
    digest = hashlib.sha256()
    for mean_ps in (0.5, 7.0, 60.0):
        for n in (*LENGTHS, 30_000):
            pairs = match_pairs(stream(n, n, mean_ps), stream(n + 1, n, mean_ps), WINDOW)
            digest.update(f"{n} {len(pairs[0])}".encode() + pairs[0].tobytes() + pairs[1].tobytes())
    return digest.hexdigest()


def test_every_level_finds_the_same() -> None:
    assert fingerprints(__file__) == {fingerprint()}


if __name__ == "__main__":
    print(simd_level(), fingerprint())
