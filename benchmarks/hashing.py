"""Privacy amplification and the hashes of authentication and verification."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Effort, Row, against, medians, peer
from photonlink.pipeline.native.hashing import PolyMac, Toeplitz
from photonlink.pipeline.native.secret import SecretBits

Uint8s = npt.NDArray[np.uint8]
SEEDS = 4  # used in turn, so that each run transforms another one


def random_block(n: int) -> tuple[SecretBits, Uint8s]:
    """n random bits, as a secret and as an array."""
    data = bytearray(os.urandom((n + 7) // 8))
    bits = np.unpackbits(np.frombuffer(bytes(data), np.uint8))[:n]
    return SecretBits.take(data, n), bits


def seed_bits(seed: bytes, n: int) -> Uint8s:
    return np.unpackbits(np.frombuffer(seed, np.uint8))[:n]


def amplify(context: Toeplitz, x: SecretBits, seeds: list[bytes], n_out: int) -> Callable[[], None]:
    turn = itertools.cycle(seeds)

    def work() -> None:
        context.modified(x, next(turn), n_out).close()

    return work


def seeds_for(n: int, how_many: int) -> list[bytes]:
    return [os.urandom((n - 1 + 7) // 8) for _ in range(how_many)]


# ---- n = 2^20 ----


def toeplitz_20(name: str, effort: Effort) -> Row:
    """Peer: the same hash by a float32 transform with pyfftw, its plans made beforehand."""
    n = max(1 << 12, 1 << 20 if effort.size >= 1 else 1 << 14)
    n_out = n // 2
    x, bits = random_block(n)
    seeds = seeds_for(n, SEEDS)
    context = Toeplitz()
    theirs = None
    pyfftw = peer("pyfftw")
    if pyfftw is not None:
        hashing = FloatHash(pyfftw, n, n_out)
        with context.modified(x, seeds[0], n_out) as y:
            if y.disclose() != hashing(bits, seeds[0]):
                raise AssertionError("toeplitz-20: the hashes differ")
        turn = itertools.cycle(seeds)

        def theirs() -> bytes:
            return hashing(bits, next(turn))

    row = against(
        name, "Mb/s", n / 1e6, amplify(context, x, seeds, n_out), theirs,
        baseline="pyfftw, float32", least=1, effort=effort,
    )  # fmt: skip
    row.goal = "≥ 500 Mb/s"
    row.met = row.ratio is not None and (row.figure or 0) >= 500
    row.note = "a fresh seed in every run; 1 Gb/s was the stretch"
    return row


class FloatHash:
    """y = x[:m] xor T x[m:] by convolution of real numbers. With the seed centred on zero the sums
    are small enough for float32."""

    def __init__(self, pyfftw: ModuleType, n: int, n_out: int) -> None:
        self.n, self.n_out = n, n_out
        empty = pyfftw.empty_aligned
        self.left, self.right = empty(n, "float32"), empty(n, "float32")
        self.left_f, self.right_f = (empty(n // 2 + 1, "complex64") for _ in range(2))
        plan = {"threads": 1, "flags": ("FFTW_MEASURE", "FFTW_DESTROY_INPUT")}
        back = {**plan, "direction": "FFTW_BACKWARD"}
        self.forward = pyfftw.FFTW(self.left, self.left_f, **plan)
        self.forward_seed = pyfftw.FFTW(self.right, self.right_f, **plan)
        self.backward = pyfftw.FFTW(self.left_f, self.left, **back)

    def __call__(self, x: Uint8s, seed: bytes) -> bytes:
        n, m = self.n, self.n_out
        self.left[: n - m] = x[m:]
        self.left[n - m :] = 0
        self.right[: n - 1] = seed_bits(seed, n - 1)
        self.right[: n - 1] -= 0.5
        self.right[n - 1] = 0
        half = 0.5 * float(np.count_nonzero(x[m:]))
        self.forward()
        self.forward_seed()
        self.left_f *= self.right_f
        self.backward()
        sums = np.rint(self.left[n - m - 1 : n - 1] + np.float32(half)).astype(np.int64)
        return np.packbits((sums & 1).astype(np.uint8) ^ x[:m]).tobytes()


# ---- n = 10^8 ----


PIECE_BITS = 1 << 21  # piece size of reconciliation (distil.py)


def toeplitz_large(name: str, effort: Effort) -> Row:
    """``toeplitz-BITS-RATIO``: the input in pieces. No peer does it; output bits picked at random
    are computed one by one instead."""
    size, ratio = (float(part) for part in name.split("-")[1:])
    n = effort.scaled(round(size), 10**4)
    n_out = round(n * ratio)
    goal = 300 if size <= 1e8 else 500  # 261 Mb/s is the published record of a CPU at 2.6e8 bits
    room_mib = 1024 if size < 1e9 else 2048
    pieces = [random_block(min(PIECE_BITS, n - at)) for at in range(0, n, PIECE_BITS)]
    seeds, y, context = seeds_for(n, 2), SecretBits(n_out), Toeplitz()
    turn = itertools.cycle(seeds)

    def work() -> bytes:
        seed = next(turn)
        context.begin(n, n_out)
        for piece, _ in pieces:
            context.add(piece)
        context.finish(y, seed)
        return seed

    packed = np.packbits(np.concatenate([bits for _, bits in pieces]))
    pieces = [(piece, packed[:0]) for piece, _ in pieces]
    before = reset_peak()
    (spent,) = medians([work], min(effort.repeats, 5))
    grown = peak_mib() - before
    seed = work()
    check_bits(np.unpackbits(packed)[:n], seed, y.disclose(), n_out)
    figure = n / spent / 1e6
    held = grown + (3 * n + n_out) / 8 / 2**20  # input, seeds and output were allocated before
    return Row(
        name, figure, "Mb/s", f"≥ {goal} Mb/s, ≤ {room_mib} MiB",
        figure >= goal and held <= room_mib,
        note=f"in pieces of 2^21 bits; input, two seeds, output and working memory: {held:.0f} MiB",
        details={"memory_mib": held},
    )  # fmt: skip


def check_bits(x: Uint8s, seed: bytes, y: bytes, n_out: int) -> None:
    """Check the first, the last and some other bits of y by their definition."""
    rows = len(x) - n_out
    word, tail = seed_bits(seed, len(x) - 1), x[n_out:][::-1]
    some = np.random.default_rng(40).integers(0, n_out, 6)
    for i in [0, n_out - 1, *some.tolist()]:
        bit = int(x[i]) ^ int(np.count_nonzero(word[i : i + rows] & tail) & 1)
        if bit != y[i // 8] >> (7 - i % 8) & 1:
            raise AssertionError(f"toeplitz: output bit {i} is wrong")


def _status(key: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(key + ":")[2].split()[0])


def reset_peak() -> float:
    """Start a new peak of memory; return the MiB in use."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS") / 1024


def peak_mib() -> float:
    return _status("VmHWM") / 1024


# ---- hashes ----

Tagger = Callable[[bytes, int], object]  # times that each message is hashed


def hashes(name: str, effort: Effort) -> Row:
    """Messages of one size, in sequence under one tag, as the link authenticates them; and
    with a tag each. Peer: the faster of Poly1305 and GMAC. Figure: 1 MiB under one tag."""
    running, each = openssl()
    figure, baseline = hash_rates(1 << 20, our_running, running, effort)
    small, small_peer = hash_rates(1 << 10, our_running, running, effort)
    tagged, tagged_peer = hash_rates(1 << 10, our_tags, each, effort)
    return Row(
        name, figure, "GB/s", "≥ 5 GB/s at 1 MiB, ≥ 1 GB/s at 1 KiB", figure >= 5 and small >= 1,
        "OpenSSL Poly1305 or GMAC through cryptography" + ("" if running else " (not installed)"),
        baseline, None if baseline is None else figure / baseline,
        f"1 KiB messages under one tag, as on the link, {compared(small, small_peer)}, with a tag "
        f"each {compared(tagged, tagged_peer)}; one call from Python for each update and each tag",
        {
            "figure_1kib": small, "baseline_figure_1kib": small_peer,
            "figure_1kib_tagged": tagged, "baseline_figure_1kib_tagged": tagged_peer,
        },
    )  # fmt: skip


def compared(ours: float, theirs: float | None) -> str:
    return f"{ours:.2f} GB/s" + ("" if theirs is None else f" (OpenSSL {theirs:.2g})")


def our_running(mac: PolyMac, message: bytes, times: int) -> bytes:
    for _ in range(times):
        mac.update(message)
    return mac.tag(SecretBits(128), 0)  # zeros: only the hash is timed


def our_tags(mac: PolyMac, message: bytes, times: int) -> bytes:
    """Our tags, each with its own pad."""
    tag, pads = b"", SecretBits(128 * times)
    for at in range(0, 128 * times, 128):
        mac.update(message)
        tag = mac.tag(pads, at)
    return tag


def openssl() -> tuple[list[Tagger], list[Tagger]]:
    """One tag at the end, and one for every message."""
    poly = peer("cryptography.hazmat.primitives.poly1305")
    ciphers = peer("cryptography.hazmat.primitives.ciphers")
    aead = peer("cryptography.hazmat.primitives.ciphers.aead")
    if poly is None or ciphers is None or aead is None:
        return [], []
    key = os.urandom(32)
    aes, gcm, tags = ciphers.algorithms.AES(key), ciphers.modes.GCM, aead.AESGCM(key)
    one_shot = poly.Poly1305.generate_tag

    def poly1305(message: bytes, times: int) -> object:
        running = poly.Poly1305(key)
        for _ in range(times):
            running.update(message)
        return running.finalize()

    def gmac(message: bytes, times: int) -> object:
        running = ciphers.Cipher(aes, gcm(key[:12])).encryptor()
        for _ in range(times):
            running.authenticate_additional_data(message)
        return running.finalize()

    def poly1305_each(message: bytes, times: int) -> object:
        return [one_shot(key, message) for _ in range(times)]

    def gmac_each(message: bytes, times: int) -> object:
        return [tags.encrypt(i.to_bytes(12, "big"), b"", message) for i in range(times)]

    return [poly1305, gmac], [poly1305_each, gmac_each]


def hash_rates(
    size: int, ours: Callable[[PolyMac, bytes, int], bytes], peers: list[Tagger], effort: Effort
) -> tuple[float, float | None]:
    """GB/s, ours and the faster peer's, over 32 MiB of messages."""
    calls = effort.scaled((1 << 25) // size)
    message, key = os.urandom(size), os.urandom(16)
    mac = PolyMac(SecretBits.take(bytearray(key)))
    if ours(mac, message, 1) != reference_tag(key, message):
        raise AssertionError("hash: the tag is wrong")

    taggers: list[Tagger] = [partial(ours, mac), *peers]
    mine, *others = medians([partial(tagger, message, calls) for tagger in taggers], effort.repeats)
    amount = calls * size / 1e9
    return amount / mine, amount / min(others) if others else None


def reference_tag(key: bytes, message: bytes) -> bytes:
    """The polynomial of PolyMac by tables of multiples of the key, one per byte of a block."""
    multiple = [int.from_bytes(key, "big")]
    for _ in range(127):
        up = multiple[-1] << 1
        multiple.append((up ^ 0x87) & ((1 << 128) - 1) if up >> 128 else up)
    tables = [[0] * 256 for _ in range(16)]
    for place, table in enumerate(tables):
        for value in range(1, 256):
            low = value & -value
            table[value] = table[value ^ low] ^ multiple[8 * place + low.bit_length() - 1]
    padded = message + bytes(-len(message) % 16) + (8 * len(message)).to_bytes(16, "big")
    state = 0
    for at in range(0, len(padded), 16):
        state ^= int.from_bytes(padded[at : at + 16], "big")
        data = state.to_bytes(16, "little")
        state = 0
        for table, value in zip(tables, data, strict=True):
            state ^= table[value]
    return state.to_bytes(16, "big")
