"""Sequences of the Pulse Streamer as they travel: steps of nine bytes, outputs as lists.

Layouts: ``pulsestreamer`` 2.1.2. A step is u32 ns, u8 digital mask, i16 analog 0, i16 analog 1.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from photonlink.firmware_sim.kit.registers import Refusal

MOST_STEPS = 2_000_000
FULL_SCALE = 0x7FFF
Step = tuple[int, int, int, int]


class Sequence(NamedTuple):
    """steps: (ns, digital mask, analog 0, analog 1).  final: mask, a0, a1.  runs < 0: endless."""

    runs: int
    steps: list[Step]
    final: tuple[int, int, int]


def first(params: Any) -> Any:
    """The first positional parameter, or None."""
    return params[0] if isinstance(params, list) and params else None


def output_of(words: Any) -> tuple[int, int, int]:
    """``[0, mask, a0, a1]``."""
    if not isinstance(words, list) or len(words) != 4:
        raise Refusal("type", "an output is [0, mask, a0, a1]")
    if not all(type(w) is int for w in words) or not 0 <= words[1] <= 255:
        raise Refusal("range", "mask 0…255, analog -32767…32767")
    if not all(-FULL_SCALE - 1 <= w <= FULL_SCALE for w in words[2:]):
        raise Refusal("range", "analog -32767…32767")
    return words[1], words[2], words[3]


def steps_of(data: bytes, order: str = "<") -> list[Step]:
    """Whole steps in ``data``; ``order``: of their bytes."""
    whole = len(data) // 9 * 9
    if whole > 9 * MOST_STEPS:
        raise Refusal("range", "too many steps")
    return list(struct.iter_unpack(f"{order}IBhh", data[:whole]))
