"""Sifting of a pulsed link from bitmaps: a clock of 2.5 GHz, a click in every eighth gate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Effort, Row, medians
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.native.sifting import sift_bits

Bitmap = npt.NDArray[np.uint8]
CLICKS = 1 / 8
GATES = 1 << 23  # per call: 3.4 ms of the link


def sifting(name: str, effort: Effort) -> Row:
    """Sifting against numpy: unpack, select, pack."""
    gates = effort.scaled(GATES, 4096) // 8 * 8
    rng = np.random.default_rng(50)
    clicked = np.packbits(rng.random(gates) < CLICKS)
    mine, theirs, plain = (rng.integers(0, 256, gates // 8, np.uint8) for _ in range(3))
    bits = SecretBits.take(bytearray(plain.tobytes()))
    calls = effort.scaled(20)

    def ours() -> None:
        for _ in range(calls):
            sift_bits(bits, clicked, mine, theirs).close()

    def numpys() -> bytes:
        return by_numpy(plain, clicked, mine, theirs)

    with sift_bits(bits, clicked, mine, theirs) as out:
        sifted = len(out)
        if out.disclose() != numpys():
            raise AssertionError("sifting: the bits differ")
    mine_s, numpy_s = medians([ours, numpys], effort.repeats)
    figure, other = calls * gates / mine_s / 1e9, gates / numpy_s / 1e9
    return Row(
        name, figure, "G gates/s", "≥ 10 G gates/s", figure >= 10, "numpy", other, figure / other,
        f"{figure * sifted / gates:.2g} Gb/s of sifted key: a click in every eighth gate",
    )  # fmt: skip


def by_numpy(bits: Bitmap, clicked: Bitmap, mine: Bitmap, theirs: Bitmap) -> bytes:
    kept = np.unpackbits(clicked & ~(mine ^ theirs)).astype(bool)
    return np.packbits(np.unpackbits(bits)[kept]).tobytes()
