"""What Eve knows of a final key, exactly: linear algebra over GF(2).

The raw key is a vector x of n bits. Eve holds some of its bits (from her light), the parities of
error correction and the verification hash: all of them linear in x. The final key is linear
in x too. A combination of final-key bits is fixed for her if and only if it lies in the
span of what she holds, so the number of independent fixed combinations is

    rank(final) + rank(hers) - rank(both together).

Where she only guesses a bit with probability p, the leftover hash lemma counts -log2 p of
min-entropy; :func:`entropy_deficit` compares the sum with what amplification assumed.

Matrices are packed rows, uint64 (rows, ceil(n / 64)); bit j of x is bit j % 64 of word j // 64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.uint64]
Bits = npt.NDArray[np.uint8]
MAX_BITS = 8192


def pack(rows: npt.NDArray[np.uint8]) -> Rows:
    """Packed rows of a matrix of 0 and 1, (m, n)."""
    m, n = rows.shape
    padded = np.zeros((m, -(-n // 64) * 64), np.uint8)
    padded[:, :n] = rows
    packed: Rows = np.packbits(padded, axis=1, bitorder="little").reshape(-1).view(np.uint64)
    return packed.reshape(m, padded.shape[1] // 64)


def rank(rows: Rows) -> int:
    """Rank over GF(2), by elimination on a copy."""
    work = rows[rows.any(axis=1)].copy()
    found = 0
    for column in range(work.shape[1] * 64):
        if found >= len(work):
            break
        word, bit = divmod(column, 64)
        has = (work[found:, word] >> np.uint64(bit)) & np.uint64(1)
        at = np.flatnonzero(has)
        if len(at) == 0:
            continue
        pivot = found + int(at[0])
        work[[found, pivot]] = work[[pivot, found]]
        below = found + at[1:]
        work[below, word:] ^= work[found, word:]
        found += 1
    return found


def linear_map(evaluate: Callable[[Bits], Bits], n: int) -> npt.NDArray[np.uint8]:
    """The matrix (m, n) of a linear, or affine, map of n bits to m bits, from its values."""
    zero = evaluate(np.zeros(n, np.uint8))
    columns = np.empty((n, len(zero)), np.uint8)
    unit = np.zeros(n, np.uint8)
    for j in range(n):
        unit[j] = 1
        columns[j] = evaluate(unit) ^ zero
        unit[j] = 0
    return np.ascontiguousarray(columns.T)


@dataclass(frozen=True, slots=True)
class BlockView:
    """One block as Eve sees it.

    n: raw key bits. final: rows of the key that was released, (l, n) of 0 and 1. public: rows of
    the sent functions of x (parities, verification hash).   known: positions whose bit she holds.
    guess: (n,), the probability with which she guesses each bit, 1/2 where she knows nothing, 1 at
    the positions of ``known``.
    """

    n: int
    final: npt.NDArray[np.uint8]
    public: npt.NDArray[np.uint8]
    known: npt.NDArray[np.int64]
    guess: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """known_bits: independent combinations of the final key that are fixed for Eve.

    entropy_deficit: bits by which her min-entropy of the raw key is below the final length plus the
    bits told in public; above 0 the key is not secret, even when no combination is fixed.
    """

    released_bits: int
    raw_bits: int
    raw_known: int
    told_bits: int
    known_bits: int
    entropy_deficit: float


def knowledge(view: BlockView) -> Knowledge:
    """ValueError for a block beyond MAX_BITS."""
    if view.n > MAX_BITS:
        raise ValueError(f"{view.n} bits: the oracle takes up to {MAX_BITS}")
    hidden = np.ones(view.n, np.bool_)
    hidden[view.known] = False
    # a bit that she knows drops out of every combination: only the others can hide it
    final, public = pack(view.final[:, hidden]), pack(view.public[:, hidden])
    told = rank(public)
    fixed = rank(pack(view.final)) + told - rank(np.concatenate([public, final]))
    entropy = float(-np.log2(np.clip(view.guess, 0.5, 1.0)).sum())
    short = len(view.final) + told - entropy
    return Knowledge(
        released_bits=len(view.final),
        raw_bits=view.n,
        raw_known=int(view.n - hidden.sum()),
        told_bits=told,
        known_bits=fixed,
        entropy_deficit=max(short, 0.0),
    )


def guess_from_record(
    n: int, known: npt.NDArray[np.int64], partial: dict[int, float] | None = None
) -> npt.NDArray[np.float64]:
    """The ``guess`` of a BlockView: 1 where known, the given probability where she guesses better
    than chance.
    """
    guess = np.full(n, 0.5)
    for at, probability in (partial or {}).items():
        guess[at] = max(probability, 1 - probability)
    guess[known] = 1.0
    return guess


def surely_better_than_chance(right: int, n: int, failure: float = 1e-9) -> bool:
    """Whether ``right`` of n guesses is significantly above chance: Hoeffding, one-sided."""
    return n > 0 and right - n / 2 > math.sqrt(n * math.log(1 / failure) / 2)
