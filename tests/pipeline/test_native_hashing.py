"""The universal hashes against slow references and vectors, at every SIMD level of the machine.

Run as a program, this file prints a fingerprint of many results; the test compares the
fingerprints of processes that were forced to each level.
"""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hashes import run_toeplitz, secret, seed_bytes, vectors
from hypothesis import given
from hypothesis import strategies as st

from photonlink.pipeline.native.base import (
    NativeArgumentError,
    NativeStateError,
)
from photonlink.pipeline.native.hashing import (
    PolyMac,
    simd_level,
    verification_hash,
)
from photonlink.pipeline.native.secret import SecretBits

LEVELS = ["portable", "sse", "avx2", "vpclmul", "avx512"]


# ---- references: slow and simple ----


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


# ---- authentication ----


@pytest.mark.parametrize("vector", range(5))
def test_poly_mac_vectors(vector: int) -> None:
    case = vectors("poly_mac128")[vector]
    inputs = {k: bytes.fromhex(v) for k, v in case["inputs"].items()}
    mac, pad = PolyMac(secret(inputs["key_hex"])), secret(inputs["otp_hex"])
    mac.update(inputs["msg_hex"])
    assert mac.tag(pad, 0).hex() == case["expected"]["tag_hex"]


@pytest.mark.parametrize(
    "n", [0, 1, 15, 16, 17, 31, 32, 33, 111, 112, 113, 127, 128, 129, 255, 256, 511, 512, 513, 1040]
)
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
    """Over all points the collision bound holds; at 6 bits, where collisions are frequent."""
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
    """The SIMD levels according to /proc/cpuinfo, independent of the core's own cpuid."""
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
        {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vbmi2", "gfni"},
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
    for level in {"avx9", "VPCLMUL", "neon", *LEVELS} - set(machine_levels()):
        done = at_level(level)
        assert done.returncode != 0
        assert "NativeArgumentError" in done.stderr


if __name__ == "__main__":
    print(simd_level(), fingerprint())
