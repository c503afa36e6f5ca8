"""No node uses this yet, as nodes speak BBM92 only: sifting of a pulsed link from bitmaps.

C: pipeline/core/sift_bitmap.c.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from photonlink.pipeline._core import lib
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
