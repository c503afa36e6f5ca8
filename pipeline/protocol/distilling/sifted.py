"""A block after its bases were announced: a string for each basis, and the disclosed pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.native.sifting import sift_bits, sift_pairs
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.sifting.pair_row import RawBlock
from photonlink.pipeline.stages.window import Bools, Int64s, Uint8s


def pack_bits(bits: Uint8s | Bools) -> bytes:
    return np.packbits(bits).tobytes()


def unpack_bits(n: int, data: bytes) -> Uint8s:
    """n bits of a message as uint8. Raises ProtocolError unless it holds n bits and zero
    padding.
    """
    if len(data) != (n + 7) // 8:
        raise ProtocolError("malformed_message", f"{n} bits came in {len(data)} bytes")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bits[n:].any():
        raise ProtocolError("malformed_message", "bits beyond the end")
    return bits[:n]


def join_parts(parts: Sequence[bytes]) -> tuple[int, bytes]:
    """Join Cascade's bytes for both strings: (length of the first part, all bytes)."""
    return len(parts[0]), b"".join(parts)


def split_parts(strings: int, first: int, body: bytes) -> list[bytes]:
    """Inverse of ``join_parts``. Raises ProtocolError for lengths that cannot be."""
    if first > len(body) or (strings == 1 and first != len(body)):
        raise ProtocolError("malformed_message", "Cascade's bytes do not fit the block's strings")
    return [body[:first], body[first:]][:strings]


@dataclass(slots=True, eq=False)
class OpenSide:
    """One side's events of the pairs in different bases: detectors 0..3, full times against the
    announced ones."""

    detector: Uint8s
    offset_ps: Int64s

    def pack_detectors(self) -> bytes:
        return pack_bits(self.detector & np.uint8(1))

    def pack(self, step_ps: int) -> bytes:
        """Detectors and times."""
        steps = (self.offset_ps // step_ps).astype(np.int8)
        return self.pack_detectors() + steps.tobytes()

    @classmethod
    def unpack(cls, body: bytes, own_basis: Uint8s, step_ps: int) -> OpenSide:
        """``own_basis``: the receiver's basis of these pairs; the peer's is the other one. step_ps
        0: the message has no times, because the announced times are exact.
        """
        n = len(own_basis)
        flags = (n + 7) // 8
        if len(body) != flags + (n if step_ps else 0):
            raise ProtocolError("malformed_message", f"{n} disclosed events in {len(body)} bytes")
        bit = unpack_bits(n, body[:flags])
        detector = ((1 - own_basis) << 1 | bit).astype(np.uint8)
        if not step_ps:
            return cls(detector, np.zeros(n, np.int64))
        steps = np.frombuffer(body[flags:], np.int8)
        return cls(detector, steps.astype(np.int64) * step_ps)


def _chosen(bits: SecretBits, bitmap: Uint8s) -> SecretBits:
    """The bits at the ones of a bitmap, in their order."""
    return sift_bits(bits, bitmap, bitmap, bitmap)


@dataclass(slots=True, eq=False)
class SiftedBlock:
    """hv, da: bits of the pairs that both ends measured in the same basis. marks: for each string,
    how many later clicks may depend on its bits; counted on this side alone, never sent.
    """

    hv: SecretBits
    da: SecretBits
    marks: tuple[int, int]
    open: OpenSide
    open_basis: Uint8s

    @classmethod
    def of(cls, raw: RawBlock, mask: Bools, step_ps: int) -> SiftedBlock:
        """Split a block. ``mask``: which pairs were measured in the same basis. The outcomes of the
        others become public.
        """
        parts = sift_pairs(mask.view(np.uint8), raw.basis, raw.marks, raw.offset)
        open_basis = parts.open_basis
        offset_ps = parts.open_steps.astype(np.int64) * step_ps
        with _chosen(raw.bits, parts.opened) as bits:
            bit = unpack_bits(len(open_basis), bits.disclose())
        return cls(
            _chosen(raw.bits, parts.hv),
            _chosen(raw.bits, parts.da),
            parts.marked,
            OpenSide(open_basis << np.uint8(1) | bit, offset_ps),
            open_basis,
        )

    def close(self) -> None:
        self.hv.close()
        self.da.close()
