"""Cascade: agreement, efficiency, leak by linear algebra."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cascade_talk import Public, converse, groups, noisy, opened, pair, rank, run, secret

from photonlink.pipeline.native.cascade import CascadeAlice, CascadeBob
from photonlink.pipeline.stages.agreed import AgreedParameters


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 1000, 4095, 4096, 4097, 65535, 65536, 65537])
@pytest.mark.parametrize("rate", [0, 0.005, 0.02, 0.05, 0.11])
def test_keys_agree(n: int, rate: float) -> None:
    talk = run(n, rate, 0)
    assert talk.agree
    assert np.array_equal(talk.found, np.flatnonzero(talk.alice != talk.bob))


def test_many_frames_share_their_rounds() -> None:
    talk = run(200_000, 0.03, 0)
    assert talk.agree
    frames = {int.from_bytes(request[:2], "little") for request, _ in talk.messages}
    assert frames
    assert talk.rounds < 1500
    assert {f for f, *_ in groups(talk.messages[0][0])} == {0, 1, 2, 3}


@pytest.mark.parametrize("number", range(30))
def test_short_keys_many_seeds(number: int) -> None:
    rng = np.random.default_rng(number)
    n, rate = int(rng.integers(1, 700)), float(rng.choice([0.01, 0.05, 0.11, 0.25]))
    assert run(n, rate, number).agree


@pytest.mark.parametrize("start", [0, 30_000, 49_000])
def test_burst_of_errors(start: int) -> None:
    rng = np.random.default_rng(start)
    alice, bob = noisy(50_000, 0.01, rng)
    bob[start : start + 1000] = rng.integers(0, 2, len(bob[start : start + 1000]), np.uint8)
    assert converse(alice, bob, 0.02, rng.bytes(32)).agree


@pytest.mark.parametrize("bob_bits", ["complement", "noise"])
def test_keys_that_have_nothing_to_do_with_each_other(bob_bits: str) -> None:
    rng = np.random.default_rng(1)
    alice = rng.integers(0, 2, 3000, np.uint8)
    bob = 1 - alice if bob_bits == "complement" else rng.integers(0, 2, 3000, np.uint8)
    talk = converse(alice, bob, 0.05, rng.bytes(32))  # must end; agreement is not guaranteed
    assert talk.leak > 1500


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.03, 0.05, 0.08])
def test_efficiency(rate: float) -> None:
    talks = [run(50_000, rate, k, rate * (0.9, 1.1)[k % 2]) for k in range(4)]
    assert all(talk.agree for talk in talks)
    assert sum(talk.f for talk in talks) / len(talks) <= 1.15


@pytest.mark.parametrize("wrong", [0.5, 2])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.11])
def test_wrong_estimate_costs_parities_only(rate: float, wrong: float) -> None:
    talk = run(50_000, rate, 0, rate * wrong)
    assert talk.agree
    assert talk.f <= 1.3


@pytest.mark.parametrize(("rate", "estimate"), [(0.0, 0.05), (0.11, 0.0), (0.02, 0.5)])
def test_absurd_estimate(rate: float, estimate: float) -> None:
    assert run(50_000, rate, 0, estimate).agree


@pytest.mark.parametrize(
    ("n", "rate"), [(1, 0.5), (100, 0.05), (1000, 0.03), (5000, 0.06), (70_001, 0.01)]
)
def test_leak_recomputed_from_the_conversation(n: int, rate: float) -> None:
    """Every answer is the parity of its bits, and the rank of all parities is at most leak_bits."""
    talk = run(n, rate, 7)
    public, rows, asked = Public(n, talk.seed), [], 0
    for request, answer in talk.messages:
        parities = np.unpackbits(np.frombuffer(answer, np.uint8), bitorder="little")
        for k, positions in enumerate(public.questions(request)):
            assert parities[k] == talk.alice[positions].sum() % 2
            if n <= 5000:
                rows.append(sum(1 << int(i) for i in positions))
            asked += 1
    assert talk.leak == asked
    assert rank(rows) <= talk.leak
    if n == 5000:
        assert rank(rows) > 0.9 * talk.leak  # the count is at most a little above the rank


def test_restart_is_a_new_block() -> None:
    alice, bob = pair(n=70_000)
    bob.receive(alice.answer(bob.request() or b""))
    rng = np.random.default_rng(8)
    for n in (500, 100_000, 3000):
        bits, other = noisy(n, 0.04, rng)
        seed = rng.bytes(32)
        alice.restart(secret(bits), seed=seed, leak_cap_bits=n)
        bob.restart(secret(other), qber=0.04, seed=seed)
        fresh = converse(bits, other, 0.04, seed)
        for request, answer in fresh.messages:
            assert bob.request() == request
            assert alice.answer(request) == answer
            bob.receive(answer)
        assert bob.request() is None
        assert alice.leak_bits == fresh.leak
        assert np.array_equal(opened(bob.corrected()), bits)


DIGEST = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import cascade_talk
digest = hashlib.sha256()
for request, answer in cascade_talk.run(80_000, 0.04, 3).messages:
    digest.update(request + answer)
print(digest.hexdigest())
"""


@pytest.mark.parametrize("level", ["portable", "sse", "avx2", "vpclmul", "avx512"])
def test_same_bits_at_every_level(level: str) -> None:
    digest = hashlib.sha256()
    for request, answer in run(80_000, 0.04, 3).messages:
        digest.update(request + answer)
    result = subprocess.run(
        [sys.executable, "-c", DIGEST, str(Path(__file__).parent)],
        env={**os.environ, "PHOTONLINK_SIMD": level},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.strip() == digest.hexdigest()


def test_keys_given_are_not_modified_and_may_be_closed() -> None:
    rng = np.random.default_rng(5)
    bits, other = noisy(3000, 0.03, rng)
    a, b, seed = secret(bits), secret(other), rng.bytes(32)
    alice = CascadeAlice(a, qber=0.03, seed=seed, leak_cap_bits=10_000)
    bob = CascadeBob(b, qber=0.03, seed=seed)
    assert np.array_equal(opened(a), bits)
    assert np.array_equal(opened(b), other)
    a.close()
    b.close()
    while (request := bob.request()) is not None:
        bob.receive(alice.answer(request))
    assert np.array_equal(opened(bob.corrected()), bits)


@pytest.mark.parametrize("rate", [0.004, 0.03, 0.11, 0.25, 0.5])
@pytest.mark.parametrize("n", [3_000, 200_000])
def test_what_is_asked_and_what_errors_are_seen_are_known_before_the_end(
    n: int, rate: float
) -> None:
    """At any true error rate, more errors than the threshold allows are found before the leak cap
    that follows from the threshold is reached. Correction can then stop with a named reason."""
    rng = np.random.default_rng([n, int(1000 * rate)])
    a, b = noisy(n, rate, rng)
    seed, q_tol, errors = rng.bytes(32), min(rate / 1.5, 0.11), int((a != b).sum())
    alice = CascadeAlice(secret(a), qber=q_tol, seed=seed, leak_cap_bits=1 << 40)
    bob = CascadeBob(secret(b), qber=q_tol / 3, seed=seed)
    cap = AgreedParameters(q_tol=q_tol).leak_cap_bits(n)
    told, seen = 0, [bob.errors_seen]
    assert bob.asked_bits == 0
    while (request := bob.request()) is not None:
        if told + bob.asked_bits > cap:
            assert bob.errors_seen > q_tol * n
        told += bob.asked_bits
        bob.receive(alice.answer(request))
        assert told == alice.leak_bits
        seen.append(bob.errors_seen)
    assert seen[0] == bob.asked_bits == 0
    assert seen == sorted(seen)
    assert seen[-1] == errors or (rate == 0.5 and seen[-1] < errors), "never more than there are"
    for end in (alice, bob):
        end.close()
