"""Two ends of Cascade and their messages; which key bits a parity covers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from photonlink.pipeline.native.cascade import CascadeAlice, CascadeBob
from photonlink.pipeline.native.secret import SecretBits

Bits = npt.NDArray[np.uint8]


def secret(bits: Bits) -> SecretBits:
    return SecretBits.take(bytearray(np.packbits(bits).tobytes()), len(bits))


def opened(key: SecretBits) -> Bits:
    return np.unpackbits(np.frombuffer(bytes(key.disclose()), np.uint8))[: len(key)]


def entropy(rate: float) -> float:
    if rate in (0, 1):
        return 0.0
    return -rate * math.log2(rate) - (1 - rate) * math.log2(1 - rate)


@dataclass
class Talk:
    alice: Bits
    bob: Bits
    corrected: Bits
    leak: int
    rounds: int
    found: npt.NDArray[np.int64]
    seed: bytes
    messages: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def agree(self) -> bool:
        return bool(np.array_equal(self.corrected, self.alice))

    @property
    def f(self) -> float:
        n = len(self.alice)
        return self.leak / (n * entropy(float((self.alice != self.bob).mean())))


def converse(
    alice_bits: Bits, bob_bits: Bits, qber: float, seed: bytes, cap: int = 1 << 40
) -> Talk:
    alice = CascadeAlice(secret(alice_bits), qber=qber, seed=seed, leak_cap_bits=cap)
    bob = CascadeBob(secret(bob_bits), qber=qber, seed=seed)
    messages = []
    while (request := bob.request()) is not None:
        answer = alice.answer(request)
        bob.receive(answer)
        messages.append((request, answer))
    talk = Talk(
        alice_bits,
        bob_bits,
        opened(bob.corrected()),
        alice.leak_bits,
        alice.rounds,
        bob.error_positions(),
        seed,
        messages,
    )
    assert talk.rounds == len(messages)
    assert bob.errors_corrected >= len(talk.found)
    alice.close()
    bob.close()
    return talk


def noisy(n: int, rate: float, rng: np.random.Generator) -> tuple[Bits, Bits]:
    alice = rng.integers(0, 2, n, np.uint8)
    return alice, alice ^ (rng.random(n) < rate).astype(np.uint8)


def run(n: int, rate: float, number: int, estimate: float | None = None) -> Talk:
    rng = np.random.default_rng([n, int(1e4 * rate), number])
    alice, bob = noisy(n, rate, rng)
    return converse(alice, bob, rate if estimate is None else estimate, rng.bytes(32))


def pair(n: int = 1000, rate: float = 0.05, cap: int = 1 << 40) -> tuple[CascadeAlice, CascadeBob]:
    rng = np.random.default_rng(n)
    alice, bob = noisy(n, rate, rng)
    seed = rng.bytes(32)
    return (
        CascadeAlice(secret(alice), qber=rate, seed=seed, leak_cap_bits=cap),
        CascadeBob(secret(bob), qber=rate, seed=seed),
    )


# ---- the public part again, written from docs/cascade.md: which key bits a parity covers ----

MASK = (1 << 64) - 1


def stream(seed: bytes, number: int) -> Iterator[int]:
    def rotl(x: int, k: int) -> int:
        return (x << k | x >> (64 - k)) & MASK

    s, state = [], number
    for i in range(4):
        state = (
            (state ^ int.from_bytes(seed[8 * i : 8 * i + 8], "little")) + 0x9E3779B97F4A7C15
        ) & MASK
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        s.append(z ^ z >> 31)
    while True:
        yield rotl(s[1] * 5 & MASK, 7) * 9 & MASK
        t = s[1] << 17 & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)


def shuffled(numbers: Iterator[int], n: int) -> list[int]:
    items = list(range(n))
    for i in range(n - 1, 0, -1):
        j = (next(numbers) >> 32) * (i + 1) >> 32
        items[i], items[j] = items[j], items[i]
    return items


def groups(request: bytes) -> Iterator[tuple[int, int, int, int, list[int]]]:
    at = 0
    while at < len(request):
        frame, count = (int.from_bytes(request[at + k : at + k + 2], "little") for k in (0, 4))
        what, op, level = request[at + 2], request[at + 3] >> 5, request[at + 3] & 31
        at += 6
        items = list(range(count))
        if op in (0, 2):
            items = [int(x) for x in np.frombuffer(request[at : at + 2 * count], "<u2")]
            at += 2 * count
        yield frame, what, op, level, items


class Public:
    """Key indices by frame, pass and position (-1: padding) for a key of n bits."""

    def __init__(self, n: int, seed: bytes) -> None:
        units = -(-n // 4096)
        frames = -(-units // 16)
        self.orders: list[list[npt.NDArray[np.int64]]] = []
        index = np.where(np.arange(units * 4096) < n, np.arange(units * 4096), -1)
        for frame in range(frames):
            mine = [index[4096 * u : 4096 * u + 4096] for u in range(frame, units, frames)]
            plain = np.concatenate([unit.reshape(64, 64)[:, ::-1].T.ravel() for unit in mine])
            kind = len(mine) - units // frames
            orders = [plain]
            orders += [
                self.permuted(plain.reshape(-1, 64), stream(seed, 2 * number + kind))
                for number in (1, 2)
            ]
            self.orders.append(orders)
        numbers = stream(seed, 0)
        words = [next(numbers) for _ in range(1024)]
        bits = np.array([[word >> bit & 1 for bit in range(64)] for word in words], bool)
        self.subsets = [np.roll(bits, 4 * j, axis=1).ravel() for j in range(16)]

    @staticmethod
    def permuted(words: npt.NDArray[np.int64], numbers: Iterator[int]) -> npt.NDArray[np.int64]:
        n = len(words)
        first = shuffled(numbers, n)
        turns = [next(numbers) >> 58 for _ in range(n)]
        second = shuffled(numbers, n)
        turned = np.array([np.roll(words[first[a]], turns[a]) for a in range(n)])
        crossed = turned.reshape(-1, 64, 64).transpose(0, 2, 1).reshape(n, 64)
        return crossed[second].ravel()

    def questions(self, request: bytes) -> Iterator[npt.NDArray[np.int64]]:
        for frame, what, op, level, items in groups(request):
            for item in items:
                positions = self.orders[frame][what if what < 3 else 0]
                inside = np.zeros(len(positions), bool)
                if op == 0:
                    inside[item - (item & -item) : item] = True
                elif op == 3:
                    inside[:] = True
                else:
                    length = 1 << level - (op == 4)
                    inside[item << level : (item << level) + length] = True
                if what >= 16:
                    inside &= self.subsets[what - 16 + (item if op == 3 else 0)][: len(inside)]
                chosen = positions[inside]
                yield chosen[chosen >= 0]


def rank(rows: list[int]) -> int:
    pivots: dict[int, int] = {}
    for row in rows:
        while row:
            top = row.bit_length()
            if top not in pivots:
                pivots[top] = row
                break
            row ^= pivots[top]
    return len(pivots)
