"""Sifting from bitmaps against a list comprehension, at every length and every SIMD level; and
the functions that split a block's pairs."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from levels import fingerprints

from photonlink.pipeline.native.base import (
    NativeArgumentError,
    NativeDataError,
    NativeStateError,
)
from photonlink.pipeline.native.hashing import simd_level
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.native.sifting import bitmap_places, pair_table, sift_bits, sift_pairs

GATES = [*range(130), 511, 512, 513, 4096, 70_001]


def bitmap(bits: list[int]) -> np.ndarray:
    return np.packbits(np.array(bits, np.uint8)) if bits else np.empty(0, np.uint8)


def secret(bits: list[int]) -> SecretBits:
    return SecretBits.take(bytearray(bitmap(bits).tobytes()), len(bits))


def draw(rng: random.Random, n: int, density: float) -> list[int]:
    return [int(rng.random() < density) for _ in range(n)]


def sifted(bits: list[int], clicked: list[int], mine: list[int], theirs: list[int]) -> SecretBits:
    with secret(bits) as key:
        return sift_bits(key, bitmap(clicked), bitmap(mine), bitmap(theirs))


@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 1.0])
def test_keeps_what_clicked_in_one_basis(density: float) -> None:
    rng = random.Random(round(100 * density))
    for n in GATES:
        bits, mine, theirs = (draw(rng, n, 0.5) for _ in range(3))
        clicked = draw(rng, n, density)
        rows = zip(bits, clicked, mine, theirs, strict=True)
        expected = [bit for bit, click, one, other in rows if click and one == other]
        with sifted(bits, clicked, mine, theirs) as out:
            assert len(out) == len(expected), n
            assert out.disclose() == bitmap(expected).tobytes(), n


def test_all_gates_kept_and_none() -> None:
    for n in GATES:
        ones, zeros = [1] * n, [0] * n
        with sifted(ones, ones, zeros, zeros) as out:
            assert out.disclose() == bitmap(ones).tobytes()
        with sifted(ones, ones, ones, zeros) as out:
            assert len(out) == 0


def test_bits_beyond_the_last_gate_are_ignored() -> None:
    full = np.full(2, 255, np.uint8)
    with secret([1] * 9) as key, sift_bits(key, full, full, full) as out:
        assert len(out) == 9
        assert out.disclose() == b"\xff\x80"


def test_wrong_lengths_and_types() -> None:
    right, short = np.zeros(2, np.uint8), np.zeros(1, np.uint8)
    key = secret([1] * 9)
    for maps in ((short, right, right), (right, short, right), (right, right, short)):
        with pytest.raises(NativeArgumentError, match=r"9 gates need bitmaps of 2 bytes"):
            sift_bits(key, *maps)
    with pytest.raises(TypeError):
        sift_bits(key, right.astype(np.int64), right, right)  # type: ignore[arg-type]
    key.close()
    with pytest.raises(NativeStateError):
        sift_bits(key, right, right, right)


def fingerprint() -> str:
    rng, digest = random.Random(7), hashlib.sha256()
    for n in GATES:
        bits, clicked, mine, theirs = (draw(rng, n, 0.5) for _ in range(4))
        with sifted(bits, clicked, mine, theirs) as out:
            digest.update(len(out).to_bytes(8, "big") + out.disclose())
    return digest.hexdigest()


def test_every_level_gives_the_same_bits() -> None:
    assert fingerprints(__file__) == {fingerprint()}


if __name__ == "__main__":
    print(simd_level(), fingerprint())


# ---- splitting a block's pairs, positions in a bitmap, the table of disclosed pairs ----


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 63, 64, 65, 1000])
def test_a_block_is_taken_apart_as_numpy_does(n: int) -> None:
    rng = np.random.default_rng(n)
    same, basis = (rng.integers(0, 2, n, np.uint8) for _ in range(2))
    marks, steps = rng.integers(0, 4, n, np.uint8), rng.integers(-127, 128, n, np.int8)
    parts = sift_pairs(same, basis, marks, steps)
    agree = same.astype(bool)
    assert parts.hv.tobytes() == np.packbits(agree & (basis == 0)).tobytes()
    assert parts.da.tobytes() == np.packbits(agree & (basis == 1)).tobytes()
    assert parts.opened.tobytes() == np.packbits(~agree).tobytes()
    assert parts.open_basis.tolist() == basis[~agree].tolist()
    assert parts.open_steps.tolist() == steps[~agree].tolist()
    set_bits = (marks & 1) + (marks >> 1)
    assert parts.marked == tuple(int(set_bits[agree & (basis == b)].sum()) for b in (0, 1))


def test_a_block_of_other_values_is_refused() -> None:
    plain, steps = np.zeros(9, np.uint8), np.zeros(9, np.int8)
    for place in range(3):
        arrays = [plain.copy() for _ in range(3)]
        arrays[place][8] = 4
        with pytest.raises(NativeArgumentError):
            sift_pairs(*arrays, steps)
    with pytest.raises(NativeArgumentError):
        sift_pairs(plain, plain, plain[:8], steps)


@pytest.mark.parametrize("n", [0, 1, 8, 63, 64, 65, 129, 1000])
def test_places_of_a_bitmap(n: int) -> None:
    bits = np.random.default_rng(n).integers(0, 2, n, np.uint8)
    found = bitmap_places(n, np.packbits(bits).tobytes(), 5)
    assert found.tolist() == (np.flatnonzero(bits) + 5).tolist()


def test_a_bitmap_has_nothing_beyond_its_end() -> None:
    with pytest.raises(NativeDataError):
        bitmap_places(9, b"\xff\xc0")
    with pytest.raises(NativeArgumentError):
        bitmap_places(9, b"\xff")


@pytest.mark.parametrize(("n", "parts"), [(1, 1), (100, 1), (1000, 8), (1001, 64)])
def test_the_table_of_pairs(n: int, parts: int) -> None:
    rng = np.random.default_rng(n)
    alice, bob = (rng.integers(0, 4, n, np.uint8) for _ in range(2))
    residual = rng.integers(-5000, 5000, n)
    counts, sums, squares = pair_table(alice, bob, residual, parts)
    index = np.arange(n) * parts // n * 16 + 4 * alice.astype(np.int64) + bob
    assert counts.ravel().tolist() == np.bincount(index, minlength=16 * parts).tolist()
    assert sums.ravel().tolist() == np.bincount(index, residual, minlength=16 * parts).tolist()
    assert squares == pytest.approx(float((residual.astype(float) ** 2).sum()))


def test_the_table_knows_four_detectors() -> None:
    four, zero, times = np.array([4], np.uint8), np.zeros(1, np.uint8), np.zeros(1, np.int64)
    for alice, bob, parts in ((four, zero, 1), (zero, four, 1), (zero, zero, 2)):
        with pytest.raises(NativeArgumentError):
            pair_table(alice, bob, times, parts)
