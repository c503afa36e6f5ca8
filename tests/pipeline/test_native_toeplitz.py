"""Privacy amplification, whole and in pieces, against slow references, vectors and another
group's implementation. At every SIMD level: test_native_hashing.py."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hashes import run_toeplitz, secret, seed_bytes, vectors
from hypothesis import given
from hypothesis import strategies as st

from photonlink.pipeline.native.base import (
    NativeArgumentError,
    NativeLimitError,
    NativeStateError,
)
from photonlink.pipeline.native.hashing import Toeplitz, toeplitz, toeplitz_modified
from photonlink.pipeline.native.secret import SecretBits

BORDERS = [1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128, 129, 255, 256, 257]


def unpack(data: bytes, n: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.unpackbits(np.frombuffer(data, np.uint8))[:n]


def dense(x: bytes, n: int, seed: bytes, n_out: int, modified: bool) -> bytes:
    """Multiplication by the matrix itself: row i, column j is seed[i - j + n - 1]."""
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
    """Floating-point convolution; exact, as the sums stay far below 2^52."""
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


def test_a_buffer_is_used_again() -> None:
    """Earlier content of the buffer does not change the result; the seed may change in between."""
    context, y, seed = Toeplitz(), SecretBits(300), bytearray(os.urandom(125))
    for _ in range(3):
        x = SecretBits.random(1000)
        seed[:] = os.urandom(125)
        context.modified_into(y, x, seed)
        assert y.equals(context.modified(x, bytes(seed), 300))
    with pytest.raises(NativeArgumentError):
        context.modified_into(y, x, seed[:-1])


@given(st.data())
def test_pieces_give_the_hash_of_the_whole(data: st.DataObject) -> None:
    """At any cuts, including empty pieces and single bits, and from any position in a buffer."""
    n = data.draw(st.one_of(st.integers(0, 300), st.sampled_from(BORDERS), st.just(40000)))
    n_out, modified = data.draw(st.integers(0, n)), data.draw(st.booleans())
    cut = st.one_of(st.integers(0, n), st.sampled_from([0, 1, 31, 32, 33, 64, 65, n_out, n]))
    cuts = sorted(min(n, at) for at in data.draw(st.lists(cut, max_size=8)))
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    x, seed = rng.randbytes((n + 7) // 8), rng.randbytes(seed_bytes(n, n_out, modified))
    shift = data.draw(st.integers(0, 65))
    filled = int.from_bytes(x, "big") >> -n % 8 | ((1 << shift) - 1) << n
    holder = secret((filled << -(n + shift) % 8).to_bytes((n + shift + 7) // 8, "big"), n + shift)
    context, y = Toeplitz(), SecretBits(n_out)
    context.begin(n, n_out, modified=modified)
    for start, stop in itertools.pairwise([0, *cuts, n]):
        context.add(holder, shift + start, shift + stop)
    context.finish(y, seed)
    assert y.disclose() == run_toeplitz(x, n, seed, n_out, modified)


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("bits", [1 << 16, (1 << 16) + 1, 99_991])
def test_a_long_block_in_pieces_of_their_own(bits: int, modified: bool) -> None:
    n = 1_000_003
    n_out, rng = 390_001, random.Random(bits)
    x, seed = rng.randbytes((n + 7) // 8), rng.randbytes(seed_bytes(n, n_out, modified))
    block, context, y = secret(x, n), Toeplitz(), SecretBits(n_out)
    context.begin(n, n_out, modified=modified)
    for start in range(0, n, bits):
        with block.slice(start, min(n, start + bits)) as piece:
            context.add(piece)
    context.finish(y, seed)
    assert y.disclose() == by_fft(x, n, seed, n_out, modified)


def test_pieces_that_do_not_make_the_block() -> None:
    context, x, y = Toeplitz(), SecretBits.random(200), SecretBits(50)
    seed = os.urandom(13)
    calls: list[Callable[[], None]]
    calls = [lambda: context.add(x, 0, 0), lambda: context.finish(y, seed)]
    for call in calls:
        with pytest.raises(NativeStateError):
            call()
    for n, n_out in ((-1, 0), (100, 101), (100, -1), (2**62, 1)):
        with pytest.raises(NativeArgumentError):
            context.begin(n, n_out)
    context.begin(100, 50)
    for start, stop in ((-1, 5), (5, 4), (0, 201), (2**62, 2**62 + 1)):
        with pytest.raises(NativeArgumentError):
            context.add(x, start, stop)
    context.add(x, 0, 99)
    with pytest.raises(NativeLimitError):
        context.add(x, 0, 2)
    with pytest.raises(NativeStateError):
        context.finish(y, seed)
    assert y.ones() == 0, "something was written"
    context.add(x, 99, 100)
    for other, bad in ((y, seed[1:]), (y, seed + b"1"), (SecretBits(51), seed)):
        with pytest.raises(NativeArgumentError):
            context.finish(other, bad)
    context.finish(y, seed)
    assert y.equals(toeplitz_modified(x.slice(0, 100), seed, 50))
    for call in calls:
        with pytest.raises(NativeStateError):
            call()


def test_a_block_begun_anew_forgets_the_one_before() -> None:
    context, x, y = Toeplitz(), SecretBits.random(90_000), SecretBits(30_000)
    seed = os.urandom(11250)
    context.begin(100_000, 50_000, modified=False)
    context.add(x)
    context.begin(90_000, 30_000)
    context.add(x)
    context.finish(y, seed)
    assert y.equals(toeplitz_modified(x, seed, 30_000))


# SHA-256 of the output of randextract 0.2.2 (another group's reference, MIT) for the same bits.
RANDEXTRACT = {
    (2, 1, False): "6e340b9cffb37a98",
    (2, 1, True): "6e340b9cffb37a98",
    (33, 32, False): "74fc69a456b7f247",
    (33, 32, True): "c6c5a8acdc71e4a1",
    (65, 64, False): "146cbf81a7f53173",
    (65, 64, True): "9f69b5b627aae5b7",
    (1000, 1, False): "76be8b528d0075f7",
    (1000, 1, True): "76be8b528d0075f7",
    (1000, 333, False): "cc48b6adafd5b4d4",
    (1000, 333, True): "9209c522ac1fdb21",
    (20011, 8009, False): "540d120f3277ebb8",
    (20011, 8009, True): "669cd4b7634de382",
    (300001, 117001, False): "a5a7a91e09d1f8ec",
    (300001, 117001, True): "ab5e4b8629129329",
}


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize(
    ("n", "n_out"),
    [(2, 1), (33, 32), (65, 64), (1000, 1), (1000, 333), (20011, 8009), (300001, 117001)],
)
def test_bit_for_bit_what_randextract_gives(n: int, n_out: int, modified: bool) -> None:
    """Against its recorded results; the longer job also runs randextract (it takes 9 s to load)."""
    rng = random.Random(n + n_out)
    x, seed = rng.randbytes((n + 7) // 8), rng.randbytes(seed_bytes(n, n_out, modified))
    digest = hashlib.sha256(run_toeplitz(x, n, seed, n_out, modified)).hexdigest()
    assert digest[:16] == RANDEXTRACT[n, n_out, modified]
    if not os.environ.get("PHOTONLINK_LONG"):
        return
    peer = pytest.importorskip("randextract", reason="needs randextract (pip install randextract)")
    kind = peer.ModifiedToeplitzHashing if modified else peer.ToeplitzHashing
    bits, s = unpack(x, n), unpack(seed, n - 1 if modified else n + n_out - 1)
    if modified:  # randextract's matrix is [T | I]
        bits = np.roll(bits, -n_out)
    theirs = kind(input_length=n, output_length=n_out).extract(bits, s, seed_mode="row-first")
    assert hashlib.sha256(np.packbits(np.asarray(theirs)).tobytes()).hexdigest() == digest
