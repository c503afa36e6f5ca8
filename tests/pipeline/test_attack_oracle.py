"""The oracle against brute force, which counts all raw keys that agree with Eve's record."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from photonlink.pipeline.attacks.oracle import (
    BlockView,
    guess_from_record,
    knowledge,
    linear_map,
    pack,
    rank,
    surely_better_than_chance,
)


def brute_force(view: BlockView) -> int:
    """Bits of the final key that Eve's knowledge fixes: its rank minus log2 of possible keys."""
    rng_key = np.arange(view.n) % 2
    hers = np.concatenate([view.public, np.eye(view.n, dtype=np.uint8)[view.known]])
    seen = hers @ rng_key % 2
    finals = set()
    every = set()
    for bits in itertools.product((0, 1), repeat=view.n):
        x = np.array(bits)
        key = tuple(view.final @ x % 2)
        every.add(key)
        if (hers @ x % 2 == seen).all():
            finals.add(key)
    return round(np.log2(len(every)) - np.log2(len(finals)))


@pytest.mark.parametrize("seed", range(15))
def test_fixed_combinations_are_those_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 8
    known = np.flatnonzero(rng.random(n) < rng.choice([0.0, 0.3, 0.7, 1.0]))
    view = BlockView(
        n,
        rng.integers(0, 2, (int(rng.integers(1, 7)), n), np.uint8),
        rng.integers(0, 2, (int(rng.integers(0, 5)), n), np.uint8),
        known,
        guess_from_record(n, known),
    )
    assert knowledge(view).known_bits == brute_force(view)


def rank_by_brute_force(rows: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
    """log2 of the number of different sums of rows (modulo 2)."""
    sums = {
        tuple(np.array(chosen) @ rows % 2) for chosen in itertools.product((0, 1), repeat=len(rows))
    }
    return len(sums).bit_length() - 1


@pytest.mark.parametrize("seed", range(12))
def test_the_rank_is_that_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 9), rng.integers(1, 90)
    rows = rng.integers(0, 2, (m, n), np.uint8)
    for i in range(1, m):
        if rng.random() < 0.5:  # linearly dependent on the rows before
            rows[i] = (rng.integers(0, 2, i) @ rows[:i] % 2).astype(np.uint8)
    assert rank(pack(rows)) == rank_by_brute_force(rows)


@dataclass
class Listed:
    """Figures from a list of all raw keys with their probabilities for Eve. entropy: min-entropy of
    the raw key. raw, key: Eve's mean probability to guess the raw and the final key, given the
    public messages. told: number of possible public messages."""

    entropy: float
    raw: float
    key: float
    told: int


def listed(view: BlockView) -> Listed:
    raw: dict[tuple[int, ...], float] = {}
    key: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
    most = 0.0
    for bits in itertools.product((0, 1), repeat=view.n):
        x = np.array(bits)
        p = float(np.prod(np.where(x == 0, view.guess, 1 - view.guess)))  # Eve guesses zero
        heard, final = tuple(view.public @ x % 2), tuple(view.final @ x % 2)
        most = max(most, p)
        raw[heard] = max(raw.get(heard, 0.0), p)
        key[heard, final] = key.get((heard, final), 0.0) + p
    best: dict[tuple[int, ...], float] = {}
    for (heard, _), p in key.items():
        best[heard] = max(best.get(heard, 0.0), p)
    return Listed(
        -np.log2(most), sum(raw.values()), sum(best.values()), sum(p > 0 for p in raw.values())
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_deficit_is_that_of_brute_force(seed: int) -> None:
    """Lists every raw key of a small block with its probability. It also checks two bounds: public
    messages raise the guessing probability of the raw key by at most 2^rank, and known
    combinations of bits raise that of the final key by the same amount."""
    rng = np.random.default_rng(100 + seed)
    n = 9
    known = np.flatnonzero(rng.random(n) < 0.2)
    unsure = np.flatnonzero(rng.random(n) < 0.4).tolist()
    view = BlockView(
        n,
        rng.integers(0, 2, (int(rng.integers(1, 8)), n), np.uint8),
        rng.integers(0, 2, (int(rng.integers(0, 5)), n), np.uint8),
        known,
        guess_from_record(n, known, {j: float(rng.choice([0.6, 0.8, 0.95])) for j in unsure}),
    )
    found, brute = knowledge(view), listed(view)
    told = brute.told.bit_length() - 1
    assert brute.told == 2**told == 2**found.told_bits
    assert found.entropy_deficit == pytest.approx(max(len(view.final) + told - brute.entropy, 0.0))
    assert brute.raw <= 2.0 ** (told - brute.entropy) * (1 + 1e-9)
    length = rank_by_brute_force(view.final)
    assert brute.key >= 2.0 ** (found.known_bits - length) * (1 - 1e-9)
    if not unsure:
        assert brute.key == pytest.approx(2.0 ** (found.known_bits - length))


def test_rank() -> None:
    rng = np.random.default_rng(1)
    assert rank(pack(np.eye(200, dtype=np.uint8))) == 200
    a = rng.integers(0, 2, (150, 40), np.uint8)
    b = rng.integers(0, 2, (40, 300), np.uint8)
    assert rank(pack((a @ b % 2).astype(np.uint8))) == 40
    assert rank(pack(np.zeros((3, 10), np.uint8))) == 0
    assert rank(pack(np.zeros((0, 10), np.uint8))) == 0


def test_a_backed_key_is_unknown_and_one_that_is_too_long_is_not() -> None:
    rng = np.random.default_rng(2)
    n, known, parities = 1500, np.arange(300), 200

    def view(length: int) -> BlockView:
        return BlockView(
            n,
            rng.integers(0, 2, (length, n), np.uint8),
            rng.integers(0, 2, (parities, n), np.uint8),
            known,
            guess_from_record(n, known),
        )

    backed = knowledge(view(900))
    assert (backed.known_bits, backed.entropy_deficit) == (0, 0.0)
    assert (backed.raw_known, backed.told_bits, backed.released_bits) == (300, 200, 900)
    too_long = knowledge(view(1100))
    assert too_long.known_bits == pytest.approx(100, abs=3)
    assert too_long.entropy_deficit == pytest.approx(100, abs=1)


def test_clues_count_as_min_entropy() -> None:
    n = 100
    clue = guess_from_record(n, np.array([0]), {5: 0.25, 6: 0.75})
    assert clue[0] == 1.0
    assert clue[5] == clue[6] == 0.75
    view = BlockView(n, np.eye(n, dtype=np.uint8)[:99], np.zeros((0, n), np.uint8),
                     np.array([0]), clue)  # fmt: skip
    found = knowledge(view)
    assert found.entropy_deficit == pytest.approx(99 - (97 - 2 * np.log2(0.75)))
    assert found.known_bits == 1


def test_the_matrix_of_a_map_is_found_from_its_values() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.integers(0, 2, (7, 20), np.uint8)
    offset = rng.integers(0, 2, 7, np.uint8)
    found = linear_map(lambda x: (matrix @ x % 2).astype(np.uint8) ^ offset, 20)
    assert np.array_equal(found, matrix)


def test_the_products_own_hashes_are_linear_as_the_oracle_takes_them() -> None:
    from photonlink.pipeline.attacks.transcript import amplification, rows_of, verification
    from photonlink.pipeline.native.hashing import toeplitz_modified, verification_hash
    from photonlink.pipeline.native.secret import SecretBits

    n, length, rng = 300, 90, np.random.default_rng(4)
    x = rng.integers(0, 2, n, np.uint8)
    seed, point = os.urandom((n - 1 + 7) // 8), os.urandom(16)
    with SecretBits.take(bytearray(np.packbits(x).tobytes()), n) as key:
        with toeplitz_modified(key, seed, length) as out:
            expected = np.unpackbits(np.frombuffer(bytes(out.export()), np.uint8))[:length]
        tag = np.unpackbits(np.frombuffer(verification_hash(key, point, 60), np.uint8))[:60]
        nothing = SecretBits(n)
        offset = np.unpackbits(np.frombuffer(verification_hash(nothing, point, 60), np.uint8))[:60]
    final, told = rows_of(n, amplification(seed, length), verification(point, 60))
    assert np.array_equal(final @ x % 2, expected)
    assert np.array_equal((told @ x + offset) % 2, tag)


def test_blocks_beyond_the_oracle_are_refused() -> None:
    nothing = np.zeros((0, 9000), np.uint8)
    with pytest.raises(ValueError, match="8192"):
        knowledge(BlockView(9000, nothing, nothing, np.empty(0, np.int64), np.full(9000, 0.5)))


def test_luck_is_told_from_knowledge() -> None:
    assert surely_better_than_chance(700, 1000)
    assert not surely_better_than_chance(540, 1000)
    assert not surely_better_than_chance(0, 0)
