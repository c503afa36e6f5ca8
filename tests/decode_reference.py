"""Rules of time and loss that the slow decoders of ``test_decode_formats`` share."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

Event = tuple[int, int]


def rounded(x: Fraction) -> int:
    """To the nearest integer, half up."""
    return (2 * x + 1).__floor__() // 2


@dataclass
class Reference:
    """Collects the events of a format's loop and applies the rules common to all formats."""

    window: int = 0
    last: int | None = 0
    events: list[Event] = field(default_factory=list)
    dropped: int = 0
    dummies: int = 0

    def advance(self, t: int) -> None:
        self.last = t if self.last is None else max(self.last, t)

    def event(self, t: int, channel: int) -> None:
        if self.last is not None and t < self.last - self.window:
            self.dropped += 1
            return
        self.advance(t)
        self.events.append((t, channel))

    def pattern(self, t: int, low: int) -> None:
        if low & 16:
            self.dummies += 1
            self.advance(t)
        elif low & 15:
            for bit in range(4):
                if low >> bit & 1:
                    self.event(t, bit + 1)
        else:
            self.dropped += 1

    def sorted(self) -> list[Event]:
        return sorted(self.events, key=lambda event: event[0])  # stable


def words32(data: bytes) -> Iterator[int]:
    for (word,) in struct.iter_unpack("<I", data):
        yield word


def tdc1(data: bytes) -> Reference:
    out, base, previous = Reference(), 0, 0
    for word in words32(data):
        tag = word >> 5
        if tag < previous:
            base += 1 << 27
        previous = tag
        out.pattern((base + tag) * 2000, word & 31)
    return out


def a1(data: bytes, order: str = "low_first") -> Reference:
    out = Reference(window=(1 << 25) * 125 // 32, last=None)
    for low, high in struct.iter_unpack("<II", data):
        word = (high << 32 | low) if order == "low_first" else (low << 32 | high)
        out.pattern(rounded(Fraction(word >> 10) * 125 / 32), word & 31)
    return out


def ramp(rng: random.Random, n: int, wrap: int, step: int) -> Iterator[tuple[int, bool]]:
    """(time modulo wrap, whether it wrapped since the last one) of a mostly increasing stream."""
    t = 0
    for _ in range(n):
        before = t // wrap
        t += rng.choice([0, 0, 1, step // 4, step, 3 * step])
        yield t % wrap, t // wrap != before


def stream_a1(rng: random.Random, n: int, order: str = "low_first") -> bytes:
    low = [1, 2, 4, 8, 1, 2, 4, 8, 3, 24, 0]
    weights = [20] * 8 + [2, 2, 1]
    t = rng.choice([0, 1 << 40, (1 << 54) - 1 - 3 * 10**6 * n])
    out = []
    for tag, _ in ramp(rng, n, 1 << 53, rng.choice([100, 10**6])):
        late = rng.choice([0] * 30 + [1000, 1 << 24])
        word = max(t + tag - late, 0) << 10 | 0x300 | rng.choices(low, weights)[0]
        halves = struct.pack("<Q", word)
        out.append(halves if order == "low_first" else halves[4:] + halves[:4])
    return b"".join(out)
