"""The universal hashes, against slow references, the vectors, and at every level of the machine.

Run as a program this file prints a fingerprint of many results; the test compares those of
processes that were forced to each level.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photonlink.pipeline.native.base import NativeArgumentError, NativeStateError
from photonlink.pipeline.native.hashing import (
    PolyMac,
    Toeplitz,
    simd_level,
    toeplitz,
    toeplitz_modified,
    verification_hash,
)
from photonlink.pipeline.native.secret import SecretBits

VECTORS = Path(__file__).resolve().parents[3] / "shared/vectors/security_vectors.json"
LEVELS = ["portable", "sse", "avx2", "vpclmul"]
BORDERS = [1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128, 129, 255, 256, 257]


def vectors(function: str) -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip(f"needs {VECTORS} (the shared vectors are not beside this repository)")
    every = json.loads(VECTORS.read_text())["vectors"]
    chosen = [v for v in every if v["function"] == function]
    assert chosen
    return chosen


def secret(data: bytes, n_bits: int | None = None) -> SecretBits:
    return SecretBits.take(bytearray(data), n_bits)


# ---- references: slow and obvious ----


def field_multiply(a: int, b: int) -> int:
    product = 0
    for i in range(128):
        if b >> i & 1:
            product ^= a << i
    for i in range(254, 127, -1):
        if product >> i & 1:
            product ^= (1 << 128 | 0x87) << (i - 128)
    return product


def polynomial(message: bytes, n_bits: int, point: int) -> int:
    blocks = [message[i : i + 16].ljust(16, b"\0") for i in range(0, len(message), 16)]
    value = 0
    for block in [*blocks, n_bits.to_bytes(16, "big")]:
        value = field_multiply(value ^ int.from_bytes(block, "big"), point)
    return value


def unpack(data: bytes, n: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.unpackbits(np.frombuffer(data, np.uint8))[:n]


def dense(x: bytes, n: int, seed: bytes, n_out: int, modified: bool) -> bytes:
    """By the matrix itself: row i, column j is seed[i - j + n - 1]."""
    bits, head = unpack(x, n), np.zeros(n_out, np.uint8)
    if modified:
        head, bits = bits[:n_out], bits[n_out:]
    n = bits.size
    s = unpack(seed, n + n_out - 1) if n else np.zeros(0, np.uint8)
    index = np.arange(n_out)[:, None] - np.arange(n)[None, :] + n - 1
    matrix = s[index] if n else np.zeros((n_out, 0), np.uint8)
    result: bytes = np.packbits(
        head ^ (matrix.astype(np.int64) @ bits & 1).astype(np.uint8)
    ).tobytes()
    return result


def by_fft(x: bytes, n: int, seed: bytes, n_out: int, modified: bool) -> bytes:
    """By a floating-point convolution: exact, as the sums stay far below 2^52."""
    bits, head = unpack(x, n), np.zeros(n_out, np.uint8)
    if modified:
        head, bits = bits[:n_out], bits[n_out:]
    n = bits.size
    s = unpack(seed, n + n_out - 1)
    size = 1 << (s.size + n).bit_length()
    full = np.fft.irfft(np.fft.rfft(s, size) * np.fft.rfft(bits, size), size)
    tail = np.rint(full[n - 1 : n - 1 + n_out]).astype(np.int64) & 1
    result: bytes = np.packbits(head ^ tail.astype(np.uint8)).tobytes()
    return result


def seed_bytes(n: int, n_out: int, modified: bool) -> int:
    return (max(0, n - 1 if modified else n + n_out - 1) + 7) // 8


def run_toeplitz(x: bytes, n: int, seed: bytes, n_out: int, modified: bool) -> bytes:
    function = toeplitz_modified if modified else toeplitz
    return function(secret(x, n), seed, n_out).disclose()


# ---- authentication ----


@pytest.mark.parametrize("vector", range(5))
def test_poly_mac_vectors(vector: int) -> None:
    case = vectors("poly_mac128")[vector]
    inputs = {k: bytes.fromhex(v) for k, v in case["inputs"].items()}
    mac, pad = PolyMac(secret(inputs["key_hex"])), secret(inputs["otp_hex"])
    mac.update(inputs["msg_hex"])
    assert mac.tag(pad, 0).hex() == case["expected"]["tag_hex"]


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 31, 32, 33, 111, 112, 113, 127, 128, 129, 1000])
def test_tag_against_reference_in_any_division(n: int) -> None:
    rng = random.Random(n)
    key, pad, message = rng.randbytes(16), rng.randbytes(48), rng.randbytes(n)
    mask = int.from_bytes(pad, "big") >> (384 - 128 - 77) & (1 << 128) - 1
    wanted = (polynomial(message, 8 * n, int.from_bytes(key, "big")) ^ mask).to_bytes(16, "big")
    mac = PolyMac(secret(key))
    for pieces in (1, 2, 7, 40):
        cuts = sorted(rng.randrange(n + 1) for _ in range(pieces - 1))
        for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
            mac.update(memoryview(message)[start:stop])
        assert mac.tag(secret(pad), 77) == wanted


def test_tag_starts_anew_and_reset_forgets() -> None:
    mac, pad = PolyMac(SecretBits.random(128)), SecretBits.random(128)
    mac.update(b"first")
    first = mac.tag(pad, 0)
    mac.update(b"noise that is forgotten")
    mac.reset()
    mac.update(b"first")
    assert mac.tag(pad, 0) == first
    assert mac.tag(pad, 0) != first


def test_length_is_part_of_the_hash() -> None:
    mac, pad = PolyMac(SecretBits.random(128)), SecretBits.random(128)
    tags = set()
    for n in range(50):
        mac.update(bytes(n))
        tags.add(mac.tag(pad, 0))
    assert len(tags) == 50


@pytest.mark.parametrize("n", [0, 1, 16, 100])
def test_every_forged_bit_is_refused(n: int) -> None:
    mac, pad, message = PolyMac(SecretBits.random(128)), SecretBits.random(256), os.urandom(n)
    mac.update(message)
    tag = mac.tag(pad, 100)

    def accepted(tag: bytes, message: bytes = message, offset: int = 100) -> bool:
        mac.update(message)
        return mac.verify(tag, pad, offset)

    assert accepted(tag)
    for i in range(128):
        assert not accepted((int.from_bytes(tag, "big") ^ 1 << i).to_bytes(16, "big"))
    for i in range(8 * n):
        forged = (int.from_bytes(message, "big") ^ 1 << i).to_bytes(n, "big")
        assert not accepted(tag, forged)
    assert not accepted(tag, message + b"\0")
    assert not accepted(tag, offset=99)
    for wrong in (b"", tag[:15], tag + b"\0"):
        assert not accepted(wrong)
    assert accepted(tag)


def test_mac_refusals() -> None:
    for n in (0, 127, 129):
        with pytest.raises(NativeArgumentError):
            PolyMac(SecretBits(n))
    mac = PolyMac(SecretBits.random(128))
    for pad_bits, offset in ((127, 0), (128, 1), (128, -1), (0, 0), (128, 2**60)):
        with pytest.raises(NativeArgumentError):
            mac.tag(SecretBits(pad_bits), offset)
    closed = SecretBits(128)
    closed.close()
    with pytest.raises(NativeStateError):
        mac.tag(closed, 0)
    with pytest.raises(NativeStateError):
        PolyMac(closed)
    mac.close()
    mac.close()
    for call in (mac.reset, lambda: mac.update(b"x"), lambda: mac.tag(SecretBits(128), 0)):
        with pytest.raises(NativeStateError):
            call()


def test_mac_shows_and_copies_nothing() -> None:
    mac = PolyMac(SecretBits.random(128))
    assert repr(mac) == "<PolyMac>"
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(mac)


# ---- verification ----


@given(st.binary(max_size=400), st.integers(0, 7), st.binary(min_size=16, max_size=16))
def test_verification_hash_against_reference(data: bytes, short: int, point: bytes) -> None:
    n = max(0, 8 * len(data) - short)
    block = secret(data, n)
    value = polynomial(block.disclose(), n, int.from_bytes(point, "big"))
    for tag_bits in (1, 8, 50, 64, 71, 127, 128):
        wanted = value >> (128 - tag_bits) << (-tag_bits % 8)
        assert verification_hash(block, point, tag_bits) == wanted.to_bytes(
            (tag_bits + 7) // 8, "big"
        )


def test_verification_hash_sees_every_bit_and_the_length() -> None:
    point = os.urandom(16)
    base = SecretBits.random(300)
    tags = {verification_hash(base, point, 64)}
    for i in range(300):
        other = base.slice(0, 300)
        other.xor_in(secret((1 << (303 - i)).to_bytes(38, "big"), 300))
        tags.add(verification_hash(other, point, 64))
    tags.update(verification_hash(SecretBits(n), point, 64) for n in range(100))
    assert len(tags) == 1 + 300 + 100


def test_verification_hash_collides_no_more_than_its_bound() -> None:
    """Over all points the bound is met, here at 6 bits, where collisions are frequent."""
    a, b = SecretBits.random(1000), SecretBits.random(1000)
    trials, tag_bits = 4000, 6
    rng = random.Random(5)
    points = [rng.randbytes(16) for _ in range(trials)]
    equal = sum(
        verification_hash(a, p, tag_bits) == verification_hash(b, p, tag_bits) for p in points
    )
    assert 0 < equal < trials * (8 + 1) * 2**-tag_bits


def test_verification_hash_refusals() -> None:
    for point, tag_bits in ((bytes(15), 64), (bytes(17), 64), (bytes(16), 0), (bytes(16), 129)):
        with pytest.raises(NativeArgumentError):
            verification_hash(SecretBits(8), point, tag_bits)


# ---- amplification ----


@pytest.mark.parametrize("vector", range(5))
def test_toeplitz_vectors(vector: int) -> None:
    case = vectors("toeplitz")[vector]
    inputs, expected = case["inputs"], case["expected"]
    n, n_out = inputs["n"], inputs["ell"]

    def labelled(name: str, n_bits: int) -> bytes:
        return hashlib.shake_256(inputs[name].encode()).digest((n_bits + 7) // 8)

    x = labelled("x_label", n)
    for name, seed, modified in (
        ("y_sha256", labelled("seed_label", n + n_out - 1), False),
        ("y_mod_sha256", labelled("seed_mod_label", n - 1), True),
    ):
        result = run_toeplitz(x, n, seed, n_out, modified)
        assert hashlib.sha256(result).hexdigest() == expected[name]
        reference = dense if n < 5000 else by_fft
        assert result == reference(x, n, seed, n_out, modified)


@pytest.mark.parametrize("modified", [False, True])
def test_toeplitz_at_every_border(modified: bool) -> None:
    rng = random.Random(1)
    for n in BORDERS:
        for n_out in [0, *(length for length in BORDERS if length <= n)]:
            size = seed_bytes(n, n_out, modified)
            for fill in (rng.randbytes(33), bytes(33), b"\xff" * 33):
                x, seed = fill[: (n + 7) // 8], rng.randbytes(size)
                result = run_toeplitz(x, n, seed, n_out, modified)
                assert result == dense(x, n, seed, n_out, modified), (n, n_out)


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize(
    ("n", "n_out"),
    [
        (1, 1), (4096, 2048), (16384, 16384), (16383, 8191), (16385, 8193), (32801, 1),
        (65536, 32768), (65537, 32769), (100000, 99999), (123457, 4321), (300001, 117001),
        (1 << 20, 1 << 19), ((1 << 20) + 33, 409001),
    ],
)  # fmt: skip
def test_toeplitz_against_fft(n: int, n_out: int, modified: bool) -> None:
    if modified and n == n_out:
        return
    rng = random.Random(n + n_out)
    x, seed = rng.randbytes((n + 7) // 8), rng.randbytes(seed_bytes(n, n_out, modified))
    result = run_toeplitz(x, n, seed, n_out, modified)
    assert result == by_fft(x, n, seed, n_out, modified)


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_toeplitz_of_constant_input(fill: bytes) -> None:
    n, n_out = 50021, 20011
    x, seed = fill * ((n + 7) // 8), random.Random(3).randbytes(seed_bytes(n, n_out, False))
    assert run_toeplitz(x, n, seed, n_out, False) == by_fft(x, n, seed, n_out, False)


@given(st.integers(1, 40000), st.integers(0, 40000), st.booleans(), st.integers(0, 2**32))
def test_toeplitz_is_linear(n: int, n_out: int, modified: bool, state: int) -> None:
    n_out = min(n, n_out)
    rng = random.Random(state)
    seed = rng.randbytes(seed_bytes(n, n_out, modified))
    left, right = (secret(rng.randbytes((n + 7) // 8), n) for _ in range(2))
    function = toeplitz_modified if modified else toeplitz
    together = function(left, seed, n_out)
    together.xor_in(function(right, seed, n_out))
    left.xor_in(right)
    assert function(left, seed, n_out).equals(together)


def test_modified_with_nothing_to_compress_is_the_identity() -> None:
    x = SecretBits.random(100)
    assert toeplitz_modified(x, bytes(13), 100).equals(x)


def test_a_kept_context_gives_the_same() -> None:
    context = Toeplitz()
    rng = random.Random(9)
    for n in (70000, 200, 40000, 0, 70000):
        x, seed = SecretBits.random(n), rng.randbytes(seed_bytes(n, n // 3, False))
        assert context.plain(x, seed, n // 3).equals(toeplitz(x, seed, n // 3))
    context.close()
    with pytest.raises(NativeStateError):
        context.plain(SecretBits(8), bytes(2), 4)


def test_unused_seed_bits_are_ignored() -> None:
    x = SecretBits.random(100)
    seed = bytearray(os.urandom(19))  # 149 bits: three are unused
    first = toeplitz(x, bytes(seed), 50)
    seed[-1] ^= 0x07
    assert toeplitz(x, bytes(seed), 50).equals(first)


@pytest.mark.parametrize(
    ("n", "n_out", "size", "modified"),
    [
        (100, 50, 18, False), (100, 50, 20, False), (100, 50, 0, False), (100, 50, 12, True),
        (100, 50, 14, True), (100, 101, 25, False), (100, 101, 13, True), (0, 1, 0, False),
        (100, -1, 13, True), (50000, 20000, 8750, True),
    ],
)  # fmt: skip
def test_toeplitz_refusals(n: int, n_out: int, size: int, modified: bool) -> None:
    with pytest.raises(NativeArgumentError):
        run_toeplitz(bytes((n + 7) // 8), n, bytes(size), n_out, modified)


# ---- levels ----


def fingerprint() -> str:
    """One digest over many results with fixed inputs."""
    rng, digest = random.Random(2024), hashlib.sha256()
    for n in [*range(0, 300, 7), 4096, 100003]:
        key, pad, message = rng.randbytes(16), rng.randbytes(16), rng.randbytes(n)
        mac = PolyMac(secret(key))
        mac.update(message)
        digest.update(mac.tag(secret(pad), 0))
        digest.update(verification_hash(secret(message), pad, 128))
    for n in [1, 33, 64, 500, 20000, 33333, 65536, 200000]:
        for modified in (False, True):
            for n_out in {n, n // 2, n // 10}:
                x, seed = rng.randbytes((n + 7) // 8), rng.randbytes(seed_bytes(n, n_out, modified))
                digest.update(run_toeplitz(x, n, seed, n_out, modified))
    return digest.hexdigest()


def at_level(level: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"PHOTONLINK_SIMD": level},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def machine_levels() -> list[str]:
    """What /proc/cpuinfo promises, independently of our own cpuid."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        pytest.skip("needs Linux's /proc/cpuinfo")
    flags = {
        flag for line in text.splitlines() if line.startswith("flags") for flag in line.split()
    }
    wanted = [
        set(),
        {"sse4_1", "ssse3", "pclmulqdq", "popcnt"},
        {"avx2", "bmi1", "bmi2"},
        {"vpclmulqdq"},
    ]
    count = next((i for i, needs in enumerate(wanted) if not needs <= flags), len(wanted))
    return LEVELS[:count]


def test_every_level_gives_the_same_bits() -> None:
    mine = fingerprint()
    levels = machine_levels()
    for level in levels:
        done = at_level(level)
        assert done.stdout.split() == [level, mine], done.stderr
    if not os.environ.get("PHOTONLINK_SIMD"):
        assert simd_level() == levels[-1]


def test_an_impossible_level_is_named_an_error() -> None:
    for level in {"avx9", "VPCLMUL", *LEVELS} - set(machine_levels()):
        done = at_level(level)
        assert done.returncode != 0
        assert "NativeArgumentError" in done.stderr


if __name__ == "__main__":
    print(simd_level(), fingerprint())


def test_a_buffer_is_used_again() -> None:
    """What the block before left in the buffer does not matter, nor that the seed may change."""
    context, y, seed = Toeplitz(), SecretBits(300), bytearray(os.urandom(125))
    for _ in range(3):
        x = SecretBits.random(1000)
        seed[:] = os.urandom(125)
        context.modified_into(y, x, seed)
        assert y.equals(context.modified(x, bytes(seed), 300))
    with pytest.raises(NativeArgumentError):
        context.modified_into(y, x, seed[:-1])
