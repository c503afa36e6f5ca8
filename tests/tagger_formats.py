"""Slow, simple decoders of the taggers' own formats, and realistic streams."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction

from decode_reference import Reference, a1, ramp, rounded, stream_a1, words32

from photonlink.hal.tags import WireFormat

LATE_PS = (1 << 25) * 125 // 32


def a_text(data: bytes, digits: int) -> Reference:
    lines = data.decode("ascii").split()
    step = 16 // digits
    words = ["".join(reversed(lines[i : i + step])) for i in range(0, len(lines), step)]
    return a1(b"".join(struct.pack("<Q", int(word, 16)) for word in words))


def s15_fast(data: bytes) -> Reference:
    """Expand the fast words to 64-bit words like the vendor's program, and decode these."""
    out, roll, before = Reference(), 0, 0
    for w in words32(data):
        roll += before >> 31 & ~(w >> 31) & 1
        before = w
        value = ((w & ~0x3F) | roll << 32) << 4 | 0x300 | (w & 0x3F)
        out.pattern(rounded(Fraction(value >> 10) * 125 / 32), value & 31)
    return out


def edge(channel: int, rising: int) -> int:
    return channel + 1 if rising else 129 + channel


def flat64(data: bytes, unit: Fraction) -> Reference:
    out = Reference(window=LATE_PS, last=None)
    for (word,) in struct.iter_unpack("<Q", data):
        t = rounded((word & (1 << 60) - 1) * unit)
        if t >= 1 << 63:
            out.dropped += 1
        else:
            out.event(t, edge(word >> 61, word >> 60 & 1))
    return out


def packed32(data: bytes, unit: Fraction) -> Reference:
    out, high = Reference(window=LATE_PS, last=None), 0
    for word in words32(data):
        if word >> 31:
            high = word & 0x7FFFFFFF
            out.dummies += 1
            out.advance(rounded((high << 27) * unit))
        else:
            t = rounded((high << 27 | word & 0x7FFFFFF) * unit)
            out.event(t, edge(word >> 28 & 7, word >> 27 & 1))
    return out


def nox(data: bytes) -> Reference:
    out, base, before = Reference(window=LATE_PS, last=None), 0, 0
    unit, period, sixteenth = Fraction(10**12, 130_000_000 * 4096), 1 << 48, 1 << 44
    for at in range(0, len(data), 8):
        r = data[at : at + 8]
        coarse = int.from_bytes(r[1:6], "big") >> 4
        if r[0] == 0x25:
            out.dummies += 1
        elif r[0] != 0x24 or r[6] >> 4 == 0:
            out.dropped += 1
        else:
            tag = coarse * 4096 + ((r[6] & 15) << 8 | r[7])
            late = base > 0 and before < sixteenth and tag > period - sixteenth
            base += period * (tag < sixteenth and before > period - sixteenth)
            before = before if late else tag
            out.event(rounded((base + tag - late * period) * unit), (r[6] >> 4) - 1)
    return out


def fpga_link(data: bytes) -> Reference:
    """Decode consecutive frames, each by its length field."""
    out, at, base, before = Reference(window=LATE_PS, last=None), 0, 0, 0
    while at + 36 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        frame, at = data[at + 4 : at + 4 + length], at + 4 + length
        if frame[12:20] != b"\x80\x9bSITT\0\0":
            continue
        (rollover,) = struct.unpack_from("<I", frame, 28)
        base += (1 << 32) * (rollover < before - (1 << 31))
        before = rollover
        for word in words32(frame[32 : len(frame) // 4 * 4]):
            index, sub, coarse = word >> 24 & 63, word >> 12 & 4095, word & 4095
            t = rounded(Fraction(((base + rollover) << 12 | coarse) * 4000 + sub) / 3)
            if word >> 30 != 1:
                out.dummies += 1
            elif index >= 40:
                out.dropped += 1
            else:
                out.event(t, index + 1 if index < 20 else 128 + index - 19)
    return out


def timetagger4(data: bytes, packet: Fraction, unit: Fraction) -> Reference:
    out, at = Reference(window=(unit * (1 << 24)).__floor__() + 1, last=None), 0
    while at + 16 <= len(data):
        _, _, _, flags, length, start = struct.unpack_from("<BBBBIQ", data, at)
        hits = words32(data[at + 16 : at + 16 + 8 * length])
        at += 16 + 8 * length
        out.event(rounded(start * packet), 64)
        turns = 0
        for hit in list(hits)[: 2 * length - (flags & 1)]:
            if hit >> 4 & 2:
                turns += 1
                out.dummies += 1
            elif hit & 15 > 3:
                out.dropped += 1
            else:
                t = rounded(start * packet + (turns * (1 << 24) + (hit >> 8)) * unit)
                out.event(t, hit & 15 if hit >> 4 & 1 else 128 + (hit & 15))
    return out


def stream_text(rng: random.Random, n: int, digits: int) -> bytes:
    lines = []
    for (word,) in struct.iter_unpack("<Q", stream_a1(rng, n)):
        text = f"{word:016x}"
        lines += [text] if digits == 16 else [text[8:], text[:8]]
    return "".join(line + "\n" for line in lines).encode()


def stream_s15_fast(rng: random.Random, n: int) -> bytes:
    low = [1, 2, 4, 8, 1, 2, 3, 15, 16, 48, 0]
    words = [tag << 6 | rng.choice(low) for tag, _ in ramp(rng, n, 1 << 26, 10**6)]
    return struct.pack(f"<{n}I", *words)


def late(rng: random.Random, t: int) -> int:
    return max(0, t - rng.choice([0] * 30 + [100, 1 << 20]))


def stream_flat64(rng: random.Random, n: int) -> bytes:
    start = rng.choice([0, 1 << 55])
    times = [late(rng, start + tag) for tag, _ in ramp(rng, n, 1 << 58, 10**6)]
    return struct.pack(f"<{n}Q", *(rng.randrange(16) << 60 | t for t in times))


def stream_packed32(rng: random.Random, n: int) -> bytes:
    words, high = [], 0
    for t, _ in ramp(rng, n, 1 << 57, rng.choice([100, 10**7])):
        if t >> 27 != high:
            high = t >> 27
            words.append(1 << 31 | high)
        words.append(rng.randrange(16) << 27 | t & 0x7FFFFFF)
    return struct.pack(f"<{len(words)}I", *words)


def nox_record(tag: int, channel: int) -> bytes:
    head = ((tag >> 12) << 4).to_bytes(5, "big")
    return b"\x24" + head + bytes([(channel + 1) << 4 | tag >> 8 & 15, tag & 255])


def stream_nox(rng: random.Random, n: int) -> bytes:
    start = rng.choice([0, (1 << 48) - 3 * 10**5 * n])
    out = []
    for tag, _ in ramp(rng, n, 1 << 50, 10**6):
        good = nox_record(late(rng, start + tag) % (1 << 48), rng.randrange(15))
        out.append(rng.choice([good] * 30 + [b"\x25" + bytes(7), b"\x24" + bytes(7), bytes(8)]))
    return b"".join(out)


def frame(sequence: int, rollover: int, words: list[int], head: bytes = b"SITT\0\0") -> bytes:
    body = b"\xff" * 12 + b"\x80\x9b" + head + bytes(4) + struct.pack("<II", sequence, rollover)
    body += struct.pack(f"<{len(words)}I", *words)
    return struct.pack("<I", len(body)) + body


def stream_fpga_link(rng: random.Random, n: int) -> bytes:
    out, words, rollover, sequence = [], [], 0, rng.choice([0, (1 << 32) - 2])
    first = rng.choice([0, (1 << 44) - 2 * 10**3 * n])
    for coarse, _ in ramp(rng, n, 1 << 50, 10**3):
        coarse += first
        if words and coarse >> 12 != rollover:
            out.append(frame(sequence % (1 << 32), rollover % (1 << 32), words))
            sequence, words = sequence + 1, []
            if rng.random() < 0.02:
                out.append(struct.pack("<I", 64) + b"\1" * 64)  # an unknown frame
        rollover = coarse >> 12
        kind, index = rng.choice([1] * 20 + [0, 2]), rng.choice([0, 3, 19, 20, 39, 0, 1, 50])
        words.append(kind << 30 | index << 24 | rng.randrange(2) << 12 | coarse & 4095)
    return b"".join([*out, frame(sequence % (1 << 32), rollover % (1 << 32), words)])


def stream_timetagger4(rng: random.Random, n: int) -> bytes:
    out, start = [], rng.choice([0, 1 << 40])
    for _ in range(max(1, n // 10)):
        start += rng.randrange(1, 10**4)
        hits = sorted(rng.randrange(10**4) for _ in range(rng.randrange(1, 12)))
        words = [t << 8 | rng.choice([5, 4, 1]) << 4 | rng.choice([0, 1, 3, 0, 9]) for t in hits]
        if rng.random() < 0.1:
            words += [2 << 4, 4000 << 8 | 5 << 4]
        odd = len(words) % 2
        words += [rng.randrange(1 << 32)] * odd
        out.append(struct.pack("<BBBBIQ", 0, 0, 6, odd, len(words) // 2, start))
        out.append(struct.pack(f"<{len(words)}I", *words))
    return b"".join(out)


def _ticks(value: str) -> tuple[dict[str, float], Fraction]:
    return {"resolution_ps": float(value)}, Fraction(value)


_TTM, _TTM_PS = _ticks("82.3045")
_TT4 = {"packet_ps": 500.0, "resolution_ps": 100.0}
Case = tuple[WireFormat, Callable[[random.Random, int], bytes], Callable[[bytes], Reference]]
CASES: list[Case] = [
    (WireFormat("a0"), lambda r, n: stream_text(r, n, 8), lambda d: a_text(d, 8)),
    (WireFormat("a2"), lambda r, n: stream_text(r, n, 16), lambda d: a_text(d, 16)),
    (WireFormat("s15_fast"), stream_s15_fast, s15_fast),
    (WireFormat("flat64", _TTM), stream_flat64, lambda d: flat64(d, _TTM_PS)),
    (WireFormat("flat64", {"resolution_ps": 1.0}), stream_flat64, lambda d: flat64(d, Fraction(1))),
    (WireFormat("packed32", _TTM), stream_packed32, lambda d: packed32(d, _TTM_PS)),
    (WireFormat("nox"), stream_nox, nox),
    (WireFormat("fpga_link"), stream_fpga_link, fpga_link),
    (
        WireFormat("timetagger4", _TT4),
        stream_timetagger4,
        lambda d: timetagger4(d, Fraction(500), Fraction(100)),
    ),
]


def records(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
