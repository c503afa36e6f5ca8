"""Sifting from bitmaps (pipeline/core/sift_bitmap.c): bits of gates, or of pairs, that share a
basis; and the table of the others (pair_table.c)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import NativeArgumentError, borrow, check
from photonlink.pipeline.native.secret import SecretBits, held

Bitmap = npt.NDArray[np.uint8]


def sift_bits(
    bits: SecretBits, clicked: Bitmap, own_basis: Bitmap, peer_basis: Bitmap
) -> SecretBits:
    """The bits of the gates that clicked and in which both ends used one basis, in their order.

    bits: one per gate. The other three are public: uint8 of ceil(gates / 8) bytes, most
    significant bit first as ``numpy.packbits`` makes them; bits beyond the last gate are ignored.
    Which of the two bases is 0 does not matter. To keep one basis only, clear the other's clicks.
    Raises NativeArgumentError when a bitmap has another length.
    """
    gates, size = len(bits), (len(bits) + 7) // 8
    if not len(clicked) == len(own_basis) == len(peer_basis) == size:
        error = NativeArgumentError(lib.PL_E_ARGUMENT)
        error.hint = f"{gates} gates need bitmaps of {size} bytes"
        raise error
    a, b, c = (borrow(bitmap, np.uint8) for bitmap in (clicked, own_basis, peer_basis))
    out = SecretBits(check(lib.pl_sift_count(a, b, c, gates)))
    with held(out._handle, bits._handle):
        check(lib.pl_sift_bits(out.handle, bits.handle, a, b, c, gates))
    return out


@dataclass(frozen=True, slots=True, eq=False)
class BlockParts:
    """A block's pairs taken apart. hv, da, opened: bitmaps over all pairs, most significant bit
    first. marked: bits of marks in each string. open_basis, open_steps: uint8 and int8 (m,), of the
    m pairs in different bases."""

    hv: Bitmap
    da: Bitmap
    opened: Bitmap
    marked: tuple[int, int]
    open_basis: Bitmap
    open_steps: npt.NDArray[np.int8]


def sift_pairs(
    same: npt.NDArray[np.uint8], basis: Bitmap, marks: Bitmap, steps: npt.NDArray[np.int8]
) -> BlockParts:
    """Takes a block apart by the bases of both ends, in one pass; (n,) each. same: 1 where both
    used one basis. basis: one's own. NativeArgumentError for other values."""
    n = len(same)
    if not len(basis) == len(marks) == len(steps) == n:
        raise NativeArgumentError(lib.PL_E_ARGUMENT)
    hv, da, opened = (np.empty((n + 7) // 8, np.uint8) for _ in range(3))
    open_basis, open_steps = np.empty(n + 1, np.uint8), np.empty(n + 1, np.int8)
    marked = np.empty(2, np.int64)
    m = check(
        lib.pl_sift_pairs(
            borrow(same, np.uint8), borrow(basis, np.uint8), borrow(marks, np.uint8),
            borrow(steps, np.int8), n,
            borrow(hv, np.uint8, writable=True), borrow(da, np.uint8, writable=True),
            borrow(opened, np.uint8, writable=True), borrow(open_basis, np.uint8, writable=True),
            borrow(open_steps, np.int8, writable=True), borrow(marked, np.int64, writable=True),
        )
    )  # fmt: skip
    both = int(marked[0]), int(marked[1])
    return BlockParts(hv, da, opened, both, open_basis[:m], open_steps[:m])


def bitmap_places(n: int, bitmap: bytes, first: int = 0) -> npt.NDArray[np.int64]:
    """Places of the ones among ``n`` bits, counted from ``first``: int64, ascending.
    NativeDataError for bits beyond the n, NativeArgumentError for another length."""
    if len(bitmap) != (n + 7) // 8:
        raise NativeArgumentError(lib.PL_E_ARGUMENT)
    out = np.empty(n, np.int64)
    found = check(lib.pl_bitmap_places(bitmap, n, first, borrow(out, np.int64, writable=True)))
    return out[:found]


def pair_table(
    alice: Bitmap, bob: Bitmap, residual_ps: npt.NDArray[np.int64], parts: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]:
    """Pairs counted by part of the row, Alice's detector and Bob's: counts and sums of residuals,
    int64 (parts, 4, 4) each, and the sum of all squared residuals.

    alice, bob: detectors 0..3, uint8 (n,). residual_ps: int64 (n,). parts: 1 to n.
    NativeArgumentError for other detectors, lengths or parts.
    """
    n = len(residual_ps)
    if not len(alice) == len(bob) == n:
        raise NativeArgumentError(lib.PL_E_ARGUMENT)
    counts, sums = (np.empty((parts, 4, 4), np.int64) for _ in range(2))
    squares = ffi.new("double *")
    a, b = (borrow(side, np.uint8) for side in (alice, bob))
    tables = (borrow(table, np.int64, writable=True) for table in (counts, sums))
    residuals = borrow(residual_ps, np.int64)
    check(lib.pl_pair_table(a, b, residuals, n, parts, next(tables), next(tables), squares))
    return counts, sums, float(squares[0])
