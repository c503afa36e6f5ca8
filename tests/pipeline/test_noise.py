"""Discrete Laplace noise: the law, its source, its bound, and its effect on an edge in time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from photonlink.pipeline.native.base import NativeArgumentError
from photonlink.pipeline.native.quiet import Noise

SEED = bytes(range(32))


def draws(n: int, scale_ps: int, bound_ps: int, seed: bytes = SEED) -> np.ndarray:
    times = np.zeros(n, np.int64)
    Noise(seed, scale_ps=scale_ps, bound_ps=bound_ps).add(times)
    return times


def test_words_are_those_of_chacha20() -> None:
    """Compared with the cryptography package: counter 0, stream number as the nonce."""
    algorithms = pytest.importorskip("cryptography.hazmat.primitives.ciphers.algorithms")
    ciphers = pytest.importorskip("cryptography.hazmat.primitives.ciphers")
    stream = 0x1122334455667788
    nonce = (0).to_bytes(8, "little") + stream.to_bytes(8, "little")
    cipher = ciphers.Cipher(algorithms.ChaCha20(SEED, nonce), mode=None).encryptor()
    right = np.frombuffer(cipher.update(bytes(64 * 8 * 5)), "<u4").reshape(5, 8, 16)
    words = Noise(SEED, scale_ps=0, bound_ps=0, stream=stream).words(right.size)
    assert (words.reshape(5, 16, 8).transpose(0, 2, 1) == right).all()


@pytest.mark.parametrize("scale_ps", [1, 7, 200, 1000, 4096])
def test_the_law_is_discrete_laplace(scale_ps: int) -> None:
    """Chi-squared over cells of the exact law; a scale that is wrong by 2 % is detected."""
    n = 400_000
    got = draws(n, scale_ps, 40 * scale_ps)
    edges = np.unique(np.rint(np.linspace(-6, 6, 49) * scale_ps).astype(np.int64))

    def cells(scale: float) -> np.ndarray:
        p = math.exp(-1 / scale)

        def below(x: np.ndarray) -> np.ndarray:  # P(n < x)
            x = x.astype(float)
            return np.where(x <= 0, p ** (1 - x) / (1 + p), 1 - p ** np.maximum(x, 0) / (1 + p))

        return np.diff(np.concatenate([[0.0], below(edges), [1.0]]))

    seen = np.histogram(got, np.concatenate([[-(10**9)], edges, [10**9]]))[0]
    assert stats.chisquare(seen, n * cells(scale_ps)).pvalue > 1e-6
    assert stats.chisquare(seen, n * cells(1.02 * scale_ps + 0.02)).pvalue < 1e-6


def test_draws_are_cut_at_the_bound_and_independent() -> None:
    noise = Noise(SEED, scale_ps=100, bound_ps=100)
    assert 100 <= noise.bound_ps < 164
    times = np.zeros(200_000, np.int64)
    noise.add(times)
    assert times.min() == -noise.bound_ps
    assert times.max() == noise.bound_ps - 1
    free = draws(200_000, 100, 4000).astype(float)
    for lag in (1, 2, 64):
        assert abs(np.corrcoef(free[:-lag], free[lag:])[0, 1]) < 0.012


def test_one_seed_gives_one_stream_however_it_is_cut() -> None:
    whole = draws(1000, 300, 12_000)
    noise = Noise(SEED, scale_ps=300, bound_ps=12_000)
    pieces = np.zeros(1000, np.int64)
    for at in range(0, 1000, 77):
        noise.add(pieces[at : at + 77])
    assert (pieces == whole).all()
    assert (draws(1000, 300, 12_000, bytes(32)) != whole).any()
    assert (draws(1000, 0, 0) == 0).all()


@pytest.mark.parametrize(("scale", "bound"), [(-1, 0), (5000, 6000), (10, 9), (10, 641)])
def test_what_cannot_be_is_refused(scale: int, bound: int) -> None:
    with pytest.raises(NativeArgumentError):
        Noise(SEED, scale_ps=scale, bound_ps=bound)
    with pytest.raises(ValueError, match="32"):
        Noise(b"short", scale_ps=1, bound_ps=10)


def test_no_edge_tells_two_delays_apart_beyond_the_bound() -> None:
    """Row C2, the window's edge: the delays of two detectors differ by D. For any hard window that
    Eve chooses, the ratio of accepted counts is at most exp(D / b); without noise, unbounded."""
    n, scale, apart = 400_000, 400, 100
    rng = np.random.default_rng(3)
    jitter = rng.normal(0, 150, n).astype(np.int64)
    plain = (jitter, jitter + apart)
    noised = (plain[0] + draws(n, scale, 16_000), plain[1] + draws(n, scale, 16_000, bytes(32)))

    def worst(times: tuple[np.ndarray, np.ndarray]) -> float:
        worst = 1.0
        for edge in range(-1500, 2000, 100):
            early, late = ((t < edge).sum() for t in times)
            if late > 400:
                worst = max(worst, early / late)
        return worst

    assert worst(noised) < math.exp(apart / scale) * 1.1
    assert worst(plain) > 2
