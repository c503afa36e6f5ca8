"""The codes as matrices, read from the C tables: for benchmarks/ldpc.py and for tests."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from photonlink.pipeline.native.ldpc import LdpcAlice
from photonlink.pipeline.native.secret import SecretBits

CORE = Path(__file__).resolve().parents[1] / "pipeline" / "core"
Ints = npt.NDArray[np.int64]


def _numbers(kind: str, code: int) -> list[int]:
    text = "".join(path.read_text() for path in sorted(CORE.glob("ldpc_tables*.c")))
    found = re.search(rf"{kind}{code}\[\] = {{([^}}]*)}}", text)
    if found is None:
        raise ValueError(f"no table {kind}{code}")
    return [int(number) for number in found[1].replace("\n", " ").split(",") if number.strip()]


def edges(code: int, columns: int, lift: int) -> tuple[Ints, Ints]:
    """Check and bit of every edge of a frame. Check t of block row r meets bit (t + s) mod lift of
    a block column, s being the entry's shift modulo the lift."""
    degrees, entries = _numbers("degree", code), iter(_numbers("edge", code))
    checks, bits, t = [], [], np.arange(lift)
    for column, degree in enumerate(degrees[:columns]):
        for _ in range(degree):
            entry = next(entries)
            checks.append((entry >> 10) * lift + t)
            bits.append(column * lift + (t + (entry & 1023)) % lift)
    return np.concatenate(checks), np.concatenate(bits)


def key_indices(bits: int, seed: bytes) -> Ints:
    """Key index of each order position."""
    a, b, c, d = (int.from_bytes(seed[8 * i : 8 * i + 8], "little") for i in range(4))
    step, offset = (a ^ c) % bits, (b ^ d) % bits
    while math.gcd(step, bits) != 1:
        step = (step + 1) % bits
    return np.array((np.arange(bits) * step + offset) % bits)


@dataclass
class Layout:
    """The content of the head of Alice's message."""

    code: int
    columns: int
    lift: int
    bits: int
    frames: int
    rows: int

    @property
    def payload(self) -> int:
        return -(-self.bits // self.frames)


def layout_of(message: bytes) -> Layout:
    code, columns, lift, bits = (
        message[1], message[2], 64 * message[3], int.from_bytes(message[4:8], "little"),
    )  # fmt: skip
    rows = 1 + max(entry >> 10 for entry in _numbers("edge", code))
    frames = (len(message) - 8) * 8 // (rows * lift)
    return Layout(code, columns, lift, bits, frames, rows)


@dataclass
class Frame:
    matrix: csr_matrix
    syndrome: npt.NDArray[np.uint8]
    errors: npt.NDArray[np.bool_]


def frame_of(hint: float, seed: bytes, errors: npt.NDArray[np.bool_]) -> Frame:
    """The first frame of a block with this error pattern: what a decoder has to solve."""
    alice = LdpcAlice(SecretBits(len(errors)), qber=hint, seed=seed, leak_cap_bits=1 << 40)
    layout = layout_of(alice.syndrome())
    checks, bits = edges(layout.code, layout.columns, layout.lift)
    keep = bits < layout.payload
    shape = (layout.rows * layout.lift, layout.payload)
    ones = np.ones(int(keep.sum()), np.uint8)
    matrix = csr_matrix((ones, (checks[keep], bits[keep])), shape=shape)
    mine = errors[key_indices(len(errors), seed)[: layout.payload]]
    return Frame(matrix, (matrix @ mine.astype(np.uint8)) % 2, mine)
