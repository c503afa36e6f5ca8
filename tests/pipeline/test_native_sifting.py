"""Sifting from bitmaps: against a list comprehension, at every length and every kernel level."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from levels import fingerprints

from photonlink.pipeline.native.base import NativeArgumentError, NativeStateError
from photonlink.pipeline.native.hashing import simd_level
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.native.sifting import sift_bits

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
