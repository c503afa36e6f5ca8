"""Cascade and a peer that misbehaves: the cap, damaged and hostile messages, lies, wrong use."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from cascade_talk import groups, pair, secret

from photonlink.pipeline.native.base import (
    NativeArgumentError,
    NativeDataError,
    NativeLimitError,
    NativeStateError,
)
from photonlink.pipeline.native.cascade import CascadeAlice, CascadeBob
from photonlink.pipeline.native.secret import SecretBits


def test_cap_is_never_passed() -> None:
    alice, bob = pair(cap=100)
    request = bob.request()
    assert request is not None
    with contextlib.suppress(NativeLimitError):
        while True:
            bob.receive(alice.answer(request))
            request = bob.request() or b""
    assert alice.leak_bits <= 100
    before, rounds = alice.leak_bits, alice.rounds
    one = bytes([0, 0, 0, 0, 1, 0, 1, 0])
    while alice.leak_bits < 100:
        assert len(alice.answer(one)) == 1
    with pytest.raises(NativeLimitError):
        alice.answer(one)
    assert alice.rounds == rounds + 100 - before


def test_repeated_question_is_charged_again() -> None:
    alice, bob = pair()
    request = bob.request()
    assert request is not None
    assert bob.request() == request
    first = alice.answer(request)
    leak = alice.leak_bits
    assert alice.answer(request) == first
    assert alice.leak_bits == 2 * leak


HOSTILE = {
    "empty": b"",
    "short header": bytes(5),
    "no items": bytes([0, 0, 0, 0, 0, 0]),
    "frame": bytes([1, 0, 0, 0, 1, 0, 1, 0]),
    "pass": bytes([0, 0, 3, 0, 1, 0, 1, 0]),
    "operation": bytes([0, 0, 0, 5 << 5, 1, 0, 1, 0]),
    "middle 0": bytes([0, 0, 0, 0, 1, 0, 0, 0]),
    "middle beyond": bytes([0, 0, 0, 0, 1, 0, 1, 16]),
    "list cut off": bytes([0, 0, 0, 0, 2, 0, 1, 0, 1]),
    "left over": bytes([0, 0, 0, 0, 1, 0, 1, 0, 9]),
    "level on halves": bytes([0, 0, 0, 1, 1, 0, 1, 0]),
    "level 1": bytes([0, 0, 0, 1 << 5 | 1, 0, 8]),
    "level 13": bytes([0, 0, 0, 1 << 5 | 13, 1, 0]),
    "not all blocks": bytes([0, 0, 0, 1 << 5 | 6, 63, 0]),
    "lower halves of some": bytes([0, 0, 0, 4 << 5 | 6, 63, 0]),
    "lower halves of a subset": bytes([0, 0, 16, 4 << 5 | 6, 64, 0]),
    "listed beyond": bytes([0, 0, 0, 2 << 5 | 6, 1, 0, 64, 0]),
    "blocks of a subset": bytes([0, 0, 16, 1 << 5 | 6, 64, 0]),
    "subsets": bytes([0, 0, 16, 3 << 5, 17, 0]),
    "subset 16": bytes([0, 0, 32, 0, 1, 0, 1, 0]),
    "good, then bad": bytes([0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
}


@pytest.mark.parametrize("request_bytes", HOSTILE.values(), ids=HOSTILE.keys())
def test_malformed_request_is_refused_and_not_counted(request_bytes: bytes) -> None:
    alice, _ = pair()
    with pytest.raises(NativeDataError):
        alice.answer(request_bytes)
    assert (alice.leak_bits, alice.rounds) == (0, 0)


def test_random_requests() -> None:
    alice, bob = pair()
    rng = np.random.default_rng(3)
    good = bob.request()
    assert good is not None
    for k in range(3000):
        data = bytearray(good)
        if k % 3 == 0:
            data = bytearray(rng.bytes(int(rng.integers(1, 60))))
        elif k % 3 == 1:
            data = data[: int(rng.integers(0, len(data)))]
        else:
            data[int(rng.integers(0, len(data)))] ^= 1 << int(rng.integers(0, 8))
        before = alice.leak_bits
        try:
            answer = alice.answer(bytes(data))
        except NativeDataError:
            assert alice.leak_bits == before
        else:
            assert len(answer) == (alice.leak_bits - before + 7) // 8


def test_answer_of_wrong_length_leaves_the_question_open() -> None:
    alice, bob = pair()
    request = bob.request()
    assert request is not None
    answer = alice.answer(request)
    for wrong in (b"", answer[:-1], answer + b"\0"):
        with pytest.raises(NativeDataError):
            bob.receive(wrong)
    bob.receive(answer)
    with pytest.raises(NativeStateError):
        bob.receive(answer)


def test_lying_peer_is_found_out_or_outlasted() -> None:
    outcomes = []
    for number in range(20):
        rng = np.random.default_rng(number)
        _, bob = pair(int(rng.integers(1, 5000)))
        rounds = 0
        try:
            while (request := bob.request()) is not None:
                n_bits = sum(len(items) for *_, items in groups(request))
                bob.receive(rng.bytes((n_bits + 7) // 8))
                rounds += 1
                assert rounds < 20_000
            outcomes.append("ended")
        except NativeDataError:
            for call in (bob.request, bob.corrected, bob.error_positions):
                with pytest.raises(NativeStateError):
                    call()
            outcomes.append("contradiction")
    assert "contradiction" in outcomes


def test_lies_about_subsets_only() -> None:
    """Each false answer makes the search flip a correct bit. The parities of the passes restore it;
    when a second search arrives at the same bit, the contradiction is detected."""
    rng = np.random.default_rng(11)
    key, seed = rng.integers(0, 2, 4096, np.uint8), rng.bytes(32)
    alice = CascadeAlice(secret(key), qber=0.01, seed=seed, leak_cap_bits=1 << 40)
    bob = CascadeBob(secret(key), qber=0.01, seed=seed)

    def talk() -> None:
        for _ in range(2000):
            request = bob.request()
            assert request is not None
            answer = alice.answer(request)
            lie = any(op == 3 for _, _, op, *_ in groups(request))
            bob.receive(bytes(b ^ 0xFF for b in answer) if lie else answer)

    with pytest.raises(NativeDataError):
        talk()
    assert bob.errors_corrected > 1


def test_bad_arguments() -> None:
    key = SecretBits(100)
    with pytest.raises(NativeArgumentError):
        CascadeBob(SecretBits(0), qber=0.02, seed=bytes(32))
    with pytest.raises(ValueError, match="seed has 31"):
        CascadeBob(key, qber=0.02, seed=bytes(31))
    for qber in (-0.1, 0.6, math.nan):
        with pytest.raises(ValueError, match="qber"):
            CascadeBob(key, qber=qber, seed=bytes(32))


def test_use_after_close() -> None:
    alice, bob = pair()
    alice.close()
    bob.close()
    bob.close()
    for call in (
        lambda: alice.answer(b"\0" * 8),
        lambda: alice.leak_bits,
        bob.request,
        bob.corrected,
        lambda: bob.receive(b""),
        bob.error_positions,
    ):
        with pytest.raises(NativeStateError):
            call()
