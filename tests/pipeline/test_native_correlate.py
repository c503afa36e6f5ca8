"""Histograms of time differences against brute force: edge cases of the kernels, every level."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from levels import fingerprints

from photonlink.pipeline.native.correlate import correlate_into
from photonlink.pipeline.native.hashing import simd_level

LENGTHS = [0, 1, 2, 7, 8, 9, 15, 16, 17, 100, 1000]


def stream(seed: int, n: int, mean_ps: float) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).integers(0, max(1, round(n * mean_ps)), n))


def brute(a: np.ndarray, b: np.ndarray, low: int, width: int, bins: int) -> np.ndarray:
    d = (b[None, :] - a[:, None] - low).ravel()
    inside = d[(d >= 0) & (d < width * bins)]
    return np.bincount(inside // width, minlength=bins)


@pytest.mark.parametrize("mean_ps", [1, 40, 1000])  # thousands, tens or none in range
@pytest.mark.parametrize(("low", "width", "bins"), [(-500, 10, 100), (0, 1, 7), (300, 33, 9)])
def test_every_pair_is_counted_once(mean_ps: int, low: int, width: int, bins: int) -> None:
    for n in LENGTHS:
        for m in (0, 1, 8, n):
            a, b = stream(n, n, mean_ps), stream(n + 1, m, mean_ps)
            hist = np.zeros(bins, np.uint64)
            assert correlate_into(hist, a, b, low, width) == hist.sum()
            np.testing.assert_array_equal(hist, brute(a, b, low, width, bins), f"{n} {m}")


def test_streams_far_apart_and_at_the_ends_of_time() -> None:
    early, late = np.arange(100) - 2**61, 2**61 - np.arange(100)[::-1]
    hist = np.zeros(10, np.uint64)
    assert correlate_into(hist, early, late, -5, 1) == 0
    assert correlate_into(hist, late, early, -5, 1) == 0
    for same in (early, late):
        hist[:] = 0
        correlate_into(hist, same, same, -5, 1)
        assert hist.tolist() == [100 - abs(k - 5) for k in range(10)]


def fingerprint() -> str:
    digest = hashlib.sha256()
    for n in (*LENGTHS, 30_000):
        hist = np.zeros(64, np.uint64)
        pairs = correlate_into(hist, stream(n, n, 50), stream(n + 1, n, 50), -400, 13)
        digest.update(f"{n} {pairs}".encode() + hist.tobytes())
    return digest.hexdigest()


def test_every_level_counts_the_same() -> None:
    assert fingerprints(__file__) == {fingerprint()}


if __name__ == "__main__":
    print(simd_level(), fingerprint())
