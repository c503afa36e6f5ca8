"""LDPC: syndromes, decoding against belief propagation in numpy, leak, bit equality, bad input."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from photonlink.pipeline.native.base import (
    NativeArgumentError,
    NativeDataError,
    NativeLimitError,
    NativeStateError,
)
from photonlink.pipeline.native.ldpc import MAX_BITS, MIN_BITS, LdpcAlice, LdpcBob
from photonlink.pipeline.native.secret import SecretBits

ROOT = Path(__file__).resolve().parents[2]
Bits = npt.NDArray[np.uint8]


def _module(name: str) -> ModuleType:
    """Load a program of benchmarks/ by its path: the folder is not a package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


graph = _module("ldpc_graph")


def secret(bits: Bits) -> SecretBits:
    return SecretBits.take(bytearray(np.packbits(bits).tobytes()), len(bits))


def opened(key: SecretBits) -> Bits:
    return np.unpackbits(np.frombuffer(key.disclose(), np.uint8))[: len(key)]


def entropy(rate: float) -> float:
    return -rate * math.log2(rate) - (1 - rate) * math.log2(1 - rate)


def noisy(n: int, rate: float, *seed: int) -> tuple[Bits, Bits, bytes]:
    rng = np.random.default_rng([20261122, n, *seed])  # seeds not used in the design of the codes
    alice = rng.integers(0, 2, n, np.uint8)
    return alice, alice ^ (rng.random(n) < rate).astype(np.uint8), rng.bytes(32)


def ends(
    alice: Bits, bob: Bits, seed: bytes, qber: float, cap: int = 1 << 40
) -> tuple[LdpcAlice, LdpcBob]:
    return (
        LdpcAlice(secret(alice), qber=qber, seed=seed, leak_cap_bits=cap),
        LdpcBob(secret(bob), qber=qber, seed=seed),
    )


def finish(alice: LdpcAlice, bob: LdpcBob) -> int:
    """Run the clean-up phase; returns its number of rounds."""
    rounds = 0
    while (request := bob.request()) is not None:
        assert bob.request() == request
        bob.receive(alice.disclose(request))
        rounds += 1
    return rounds


@pytest.mark.parametrize(("n", "qber"), [(MIN_BITS, 0.01), (20_001, 0.03), (70_000, 0.08)])
def test_syndrome_is_that_of_the_published_matrix(n: int, qber: float) -> None:
    key, _, seed = noisy(n, qber)
    alice = LdpcAlice(secret(key), qber=qber, seed=seed, leak_cap_bits=1 << 40)
    message = alice.syndrome()
    layout = graph.layout_of(message)
    checks, bits = graph.edges(layout.code, layout.columns, layout.lift)
    ordered, height = key[graph.key_indices(n, seed)], layout.rows * layout.lift
    expected = []
    for start in range(0, n, layout.payload):
        frame = np.zeros(layout.columns * layout.lift, np.uint8)
        part = ordered[start : start + layout.payload]
        frame[: len(part)] = part
        expected.append(np.bincount(checks, frame[bits], height).astype(int) & 1)
    sent = np.unpackbits(np.frombuffer(message[8:], np.uint8), bitorder="little")
    assert np.array_equal(sent, np.concatenate(expected))
    assert alice.leak_bits == len(sent)


def test_syndrome_is_charged_once() -> None:
    key, _, seed = noisy(10_000, 0.02)
    alice = LdpcAlice(secret(key), qber=0.02, seed=seed, leak_cap_bits=1 << 40)
    assert alice.leak_bits == 0
    first = alice.syndrome()
    leak = alice.leak_bits
    assert leak == 8 * (len(first) - 8)
    assert alice.syndrome() == first
    assert alice.leak_bits == leak


def by_belief_propagation(
    checks: npt.NDArray[np.int64], bits: npt.NDArray[np.int64], n: int, syndrome: Bits, qber: float
) -> npt.NDArray[np.bool_] | None:
    """Sum-product in floating point, all checks at once; None when it does not converge."""
    prior = math.log((1 - qber) / qber)
    message, signs = np.zeros(len(bits)), 1.0 - 2.0 * syndrome
    for _ in range(150):
        value = prior + np.bincount(bits, message, n)
        guess = value < 0
        if np.array_equal(
            np.bincount(checks, guess[bits], len(syndrome)).astype(int) & 1, syndrome
        ):
            return np.asarray(guess)
        extrinsic = np.clip(value[bits] - message, -30, 30)
        extrinsic[np.abs(extrinsic) < 1e-9] = 1e-9
        log_size = np.log(np.tanh(np.abs(extrinsic) / 2))
        negative = np.bincount(checks, extrinsic < 0, len(syndrome)).astype(int)
        sign = signs[checks] * np.where((negative[checks] - (extrinsic < 0)) & 1, -1.0, 1.0)
        rest = np.minimum(np.bincount(checks, log_size, len(syndrome))[checks] - log_size, -1e-12)
        message = sign * 2 * np.arctanh(np.exp(rest))
    return None


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.06])
@pytest.mark.parametrize("number", range(3))
def test_decoding_agrees_with_belief_propagation(rate: float, number: int) -> None:
    n = 12_000
    key, other, seed = noisy(n, 0.85 * rate, number)
    alice, bob = ends(key, other, seed, rate)
    message = alice.syndrome()
    layout = graph.layout_of(message)
    assert layout.frames == 1
    checks, bits = graph.edges(layout.code, layout.columns, layout.lift)
    keep = bits < n
    order = graph.key_indices(n, seed)
    error = (key != other)[order]
    height = layout.rows * layout.lift
    syndrome = (np.bincount(checks[keep], error[bits[keep]], height).astype(int) & 1).astype(
        np.uint8
    )
    found = by_belief_propagation(checks[keep], bits[keep], n, syndrome, rate)
    assert found is not None
    assert np.array_equal(found, error)
    assert bob.decode(message) == 0
    assert np.array_equal(opened(bob.corrected()), key)
    assert bob.errors_corrected == int(error.sum())


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.03, 0.05, 0.08, 0.11])
def test_keys_agree_and_the_leak_is_small(rate: float) -> None:
    n = 4_000_000
    key, other, seed = noisy(n, rate)
    alice, bob = ends(key, other, seed, rate)
    bob.decode(alice.syndrome())
    assert finish(alice, bob) <= 4
    assert np.array_equal(opened(bob.corrected()), key)
    # 1.20 at 1 %; the error rate of 4 Mbit varies by half a per cent
    assert alice.leak_bits / (n * entropy(float((key != other).mean()))) <= 1.21


@pytest.mark.parametrize("n", [MIN_BITS, MIN_BITS + 1, 9973, 16_384, 33_333, 65_536, 99_991])
@pytest.mark.parametrize("rate", [0.0, 0.004, 0.025, 0.1])
def test_every_length(n: int, rate: float) -> None:
    key, other, seed = noisy(n, rate)
    alice, bob = ends(key, other, seed, rate)
    bob.decode(alice.syndrome())
    finish(alice, bob)
    assert np.array_equal(opened(bob.corrected()), key)


@pytest.mark.parametrize("factor", [0.6, 1.3])
def test_a_wrong_estimate_costs_leak_not_the_key(factor: float) -> None:
    n = 150_000
    key, other, seed = noisy(n, 0.03 * factor)
    alice, bob = ends(key, other, seed, 0.03)
    still_open, first = bob.decode(alice.syndrome()), alice.leak_bits
    assert (still_open > 0) == (factor > 1)
    rounds = finish(alice, bob)
    assert (rounds > 0) == (factor > 1)
    assert np.array_equal(opened(bob.corrected()), key)
    assert alice.leak_bits <= 1.4 * first


def test_a_burst_of_errors_is_spread() -> None:
    key, other, seed = noisy(100_000, 0.02)
    other[50_000:50_600] ^= 1
    alice, bob = ends(key, other, seed, 0.03)
    bob.decode(alice.syndrome())
    finish(alice, bob)
    assert np.array_equal(opened(bob.corrected()), key)


def test_leak_is_not_below_the_rank_of_what_was_said() -> None:
    n = MIN_BITS
    key, other, seed = noisy(n, 0.06)
    alice, bob = ends(key, other, seed, 0.045)
    message = alice.syndrome()
    layout = graph.layout_of(message)
    checks, bits = graph.edges(layout.code, layout.columns, layout.lift)
    order = graph.key_indices(n, seed)
    said = [0] * (layout.rows * layout.lift)
    for check, bit in zip(checks.tolist(), bits.tolist(), strict=True):
        if bit < n:
            said[check] ^= 1 << int(order[bit])
    assert bob.decode(message) == 1
    while (request := bob.request()) is not None:
        wanted = np.frombuffer(request, "<u4")
        answer = alice.disclose(request)
        got = np.unpackbits(np.frombuffer(answer, np.uint8), bitorder="little")
        assert np.array_equal(got[: len(wanted)], key[wanted])
        assert not got[len(wanted) :].any()
        said += [1 << int(i) for i in wanted]
        bob.receive(answer)
    assert np.array_equal(opened(bob.corrected()), key)
    assert alice.leak_bits == len(said)
    pivots: dict[int, int] = {}
    for row in said:
        while row and (top := row.bit_length()) in pivots:
            row ^= pivots[top]
        if row:
            pivots[row.bit_length()] = row
    assert len(pivots) <= alice.leak_bits


TRANSCRIPT = """
import sys; sys.path.insert(0, sys.argv[1])
import test_ldpc
print(test_ldpc.transcript())
"""


def transcript() -> str:
    """Digest of all messages of two ends; some frames fail in the first decoding."""
    digest = hashlib.sha256()
    for rate, estimate in ((0.01, 0.01), (0.035, 0.03), (0.09, 0.08)):
        key, other, seed = noisy(24_000, rate)
        alice, bob = ends(key, other, seed, estimate)
        message = alice.syndrome()
        digest.update(message + bytes([bob.decode(message)]))
        while (request := bob.request()) is not None:
            digest.update(request)
            bob.receive(alice.disclose(request))
        digest.update(f"{bob.iterations} {bob.errors_corrected}".encode())
        digest.update(bob.corrected().disclose())
    return digest.hexdigest()


def test_every_level_gives_the_same_bits() -> None:
    seen = {}
    for level in ("portable", "sse", "avx2", "vpclmul", "avx512"):
        done = subprocess.run(
            [sys.executable, "-c", TRANSCRIPT, str(Path(__file__).parent)],
            env={**os.environ, "PHOTONLINK_SIMD": level},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        seen[level] = done.stdout
    assert len(set(seen.values())) == 1, seen


def conversation(alice: LdpcAlice, bob: LdpcBob) -> list[bytes | int]:
    """All messages and counts of one run."""
    said: list[bytes | int] = [alice.syndrome()]
    bob.decode(alice.syndrome())
    while (request := bob.request()) is not None:
        said += [request, alice.disclose(request)]
        bob.receive(alice.disclose(request))
    said += [alice.leak_bits, bob.frames, bob.iterations, bob.errors_corrected]
    return [*said, bob.corrected().disclose()]


def test_a_restarted_pair_says_what_a_new_one_does() -> None:
    """Varying lengths and rates; a block that is abandoned half-way; a lost block."""
    kept = ends(*noisy(20_000, 0.02), 0.02)
    for n, rate, estimate in (
        (60_001, 0.05, 0.04),
        (MIN_BITS, 0.02, 0.03),
        (120_000, 0.01, 0.01),
        (30_011, 0.09, 0.08),
    ):
        key, other, seed = noisy(n, rate)
        kept[0].restart(secret(key), qber=estimate, seed=seed, leak_cap_bits=1 << 40)
        kept[1].restart(secret(other), qber=estimate, seed=seed)
        assert conversation(*kept) == conversation(*ends(key, other, seed, estimate))
        kept[0].restart(secret(key), qber=0.01, seed=seed, leak_cap_bits=1 << 40)
        kept[1].restart(secret(other[::-1]), qber=0.01, seed=seed)
        assert kept[1].decode(kept[0].syndrome()) > 0
        assert kept[1].request() is not None


# ---- bad input ----


def test_a_refused_restart_leaves_the_running_block() -> None:
    key, other, seed = noisy(30_000, 0.04)
    alice, bob = ends(key, other, seed, 0.03)
    assert bob.decode(alice.syndrome()) > 0
    request, leak, good, closed = bob.request(), alice.leak_bits, secret(key), secret(key)
    closed.close()
    for bad, error in (
        ({"key": closed}, NativeStateError),
        ({"key": SecretBits(MIN_BITS - 1)}, NativeArgumentError),
        ({"key": SecretBits(MAX_BITS + 1)}, NativeArgumentError),
        ({"qber": math.nan}, NativeArgumentError),
        ({"seed": bytes(31)}, ValueError),
    ):
        asked: dict[str, Any] = {"key": good, "qber": 0.02, "seed": seed} | bad
        with pytest.raises(error):
            alice.restart(**asked, leak_cap_bits=1)
        with pytest.raises(error):
            bob.restart(**asked)
    assert bob.request() == request
    assert alice.leak_bits == leak
    assert request is not None
    bob.receive(alice.disclose(request))
    finish(alice, bob)
    assert np.array_equal(opened(bob.corrected()), key)


def test_messages_that_do_not_fit_are_refused() -> None:
    key, other, seed = noisy(20_000, 0.02)
    alice, bob = ends(key, other, seed, 0.02)
    message = alice.syndrome()
    with pytest.raises(NativeStateError):
        bob.request()
    foreign = LdpcAlice(secret(key), qber=0.05, seed=seed, leak_cap_bits=1 << 40).syndrome()
    for bad in (b"", message[:-1], message + b"\0", b"\2" + message[1:], foreign):
        with pytest.raises(NativeDataError):
            bob.decode(bad)
    assert bob.decode(message) == 0
    with pytest.raises(NativeStateError):
        bob.decode(message)
    with pytest.raises(NativeStateError):
        bob.receive(b"")
    assert np.array_equal(opened(bob.corrected()), key)


def test_requests_that_do_not_fit_are_refused_and_cost_nothing() -> None:
    key, _, seed = noisy(10_000, 0.02)
    alice = LdpcAlice(secret(key), qber=0.02, seed=seed, leak_cap_bits=100)
    words = lambda *numbers: np.array(numbers, "<u4").tobytes()  # noqa: E731
    for bad in (b"", b"\0" * 3, words(10_000), words(5, 5), words(6, 5), words(1, 2**32 - 1)):
        with pytest.raises(NativeDataError):
            alice.disclose(bad)
    with pytest.raises(NativeLimitError):
        alice.syndrome()
    with pytest.raises(NativeLimitError):
        alice.disclose(words(*range(101)))
    assert alice.leak_bits == 0
    assert alice.disclose(words(0, 9999))[0] == int(key[0]) | int(key[9999]) << 1
    assert alice.leak_bits == 2


def test_answers_of_the_wrong_size_leave_the_question_open() -> None:
    key, other, seed = noisy(30_000, 0.04)
    alice, bob = ends(key, other, seed, 0.03)
    assert bob.decode(alice.syndrome()) > 0
    request = bob.request()
    assert request is not None
    for bad in (b"", alice.disclose(request) + b"\0"):
        with pytest.raises(NativeDataError):
            bob.receive(bad)
    assert bob.request() == request
    bob.receive(alice.disclose(request))
    finish(alice, bob)
    assert np.array_equal(opened(bob.corrected()), key)


@pytest.mark.parametrize("n", [MIN_BITS, 100_003])
@pytest.mark.parametrize("lie", ["syndrome", "bits"])
def test_a_peer_that_lies_ends_the_block(lie: str, n: int) -> None:
    """Also while other frames still have open requests."""
    rng = np.random.default_rng(3)
    key, other, seed = noisy(n, 0.03)
    alice, bob = ends(key, other, seed, 0.03)
    message = alice.syndrome()
    if lie == "syndrome":
        message = message[:8] + rng.bytes(len(message) - 8)
    else:
        other ^= (rng.random(len(other)) < 0.1).astype(np.uint8)
        bob = LdpcBob(secret(other), qber=0.03, seed=seed)
    assert bob.decode(message) > 0

    def go_on() -> None:
        for _ in range(20):
            request = bob.request()
            assert request is not None
            answer = bytearray(alice.disclose(request))
            if lie == "bits":
                answer = bytearray(rng.bytes(len(answer)))
                answer[-1] &= (1 << ((len(request) // 4 - 1) % 8 + 1)) - 1
            bob.receive(bytes(answer))

    with pytest.raises(NativeDataError):
        go_on()
    with pytest.raises(NativeStateError):
        bob.request()


@pytest.mark.parametrize("qber", [-0.01, 0.2, math.nan, math.inf])
def test_rates_out_of_range(qber: float) -> None:
    for end in (LdpcBob, lambda key, **k: LdpcAlice(key, leak_cap_bits=1, **k)):
        with pytest.raises(NativeArgumentError):
            end(SecretBits(MIN_BITS), qber=qber, seed=bytes(32))


def test_keys_and_seeds_out_of_range() -> None:
    for n in (1, MIN_BITS - 1, MAX_BITS + 1):
        with pytest.raises(NativeArgumentError):
            LdpcBob(SecretBits(n), qber=0.02, seed=bytes(32))
    with pytest.raises(ValueError, match="31 bytes"):
        LdpcBob(SecretBits(MIN_BITS), qber=0.02, seed=bytes(31))


def test_after_close() -> None:
    alice, bob = ends(*noisy(MIN_BITS, 0.02), 0.02)
    alice.close()
    bob.close()
    for call in (alice.syndrome, bob.corrected, bob.request):
        with pytest.raises(NativeStateError):
            call()


def test_tables_are_those_of_the_generator() -> None:
    """Generates one code again (for all codes: benchmarks/ldpc_design.py --check)."""
    design = _module("ldpc_design")
    last = len(design.CODES) - 1
    text, _ = design.render(design.CODES[last], last)
    assert text in (ROOT / "pipeline" / "core" / "ldpc_tables_more.c").read_text()
