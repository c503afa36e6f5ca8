"""Cascade by slots and pieces: many keys in progress over one stream, and a lying peer."""

from __future__ import annotations

import numpy as np
import pytest

from photonlink.pipeline.native.base import (
    NativeArgumentError,
    NativeDataError,
    NativeLimitError,
    NativeStateError,
)
from photonlink.pipeline.native.cascade import CascadeAlice, CascadeBob
from photonlink.pipeline.native.cascade_many import HEAD_BYTES, CascadeAlices, CascadeBobs
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages.reconcile import LeakCapReached, ReconcileError
from photonlink.pipeline.stages.reconcile_many import (
    OTHER,
    START,
    Block,
    ManyAnswerers,
    ManyCorrectors,
)

SEED = bytes(range(32))


def pair(n: int, rate: float, seed: int = 5) -> tuple[SecretBits, SecretBits]:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, n, np.uint8)
    noisy = bits ^ (rng.random(n) < rate)
    return tuple(SecretBits.take(bytearray(np.packbits(x)), n) for x in (bits, noisy))  # type: ignore[return-value]


def buffer(size: int = 1 << 21) -> memoryview:
    return memoryview(bytearray(size))


def record(slot: int, kind: int, body: bytes) -> bytes:
    head = slot.to_bytes(2, "little") + kind.to_bytes(2, "little")
    return head + len(body).to_bytes(4, "little") + body


def one_by_one(key: SecretBits, noisy: SecretBits, at: int, n: int) -> tuple[SecretBits, int]:
    alice = CascadeAlice(key.slice(at, at + n), qber=0.03, seed=SEED, leak_cap_bits=n)
    bob = CascadeBob(noisy.slice(at, at + n), qber=0.03, seed=SEED)
    while (request := bob.request()) is not None:
        bob.receive(alice.answer(request))
    return bob.corrected(), alice.leak_bits


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.05])
def test_fewer_rounds_cost_parities(rate: float) -> None:
    key, noisy = pair(1 << 18, rate)
    n, rounds, leaks = len(key), [], []
    for fewer in (False, True):
        alices, bobs = CascadeAlices(1), CascadeBobs(1, fewer_rounds=fewer)
        alices.start(0, key, 0, n, seed=SEED, leak_cap_bits=n)
        bobs.start(0, noisy, 0, n, seed=SEED, qber=rate)
        asked, answered, have, count = buffer(), buffer(), 0, 0
        while size := bobs.step(answered[:have], asked)[1]:
            have, count = alices.step(asked[:size], answered)[1], count + 1
        corrected = SecretBits(n)
        bobs.store(0, corrected, 0, n)
        assert corrected.equals(key)
        rounds.append(count)
        leaks.append(alices.leak_bits(0))
    assert rounds[1] < 0.4 * rounds[0]
    assert leaks[0] < leaks[1] < 1.06 * leaks[0]


@pytest.mark.parametrize("room", [1 << 12, 1 << 20])
def test_slots_are_as_many_single_keys(room: int) -> None:
    """Slots give the same parities and keys as single runs; small buffers only cost more steps."""
    spans = [(0, 4096), (4096, 16_000), (20_096, 11_003)]
    key, noisy = pair(31_099, 0.03)
    alices, bobs = CascadeAlices(3), CascadeBobs(3)
    for slot, (at, n) in enumerate(spans):
        alices.start(slot, key, at, n, seed=SEED, leak_cap_bits=n)
        bobs.start(slot, noisy, at, n, seed=SEED, qber=0.03)
    to_alice, to_bob = bytearray(), bytearray()
    asked, answered = buffer(room), buffer(room)
    while True:
        used, written = bobs.step(to_bob, asked)
        del to_bob[:used]
        to_alice += asked[:written]
        taken, put = alices.step(to_alice, answered, 1)
        del to_alice[:taken]
        to_bob += answered[:put]
        if not (used or written or taken):
            break
    corrected = SecretBits(len(key))
    ended = [bobs.finished() for _ in spans]
    assert set(ended) == {0, 1, 2}
    assert bobs.finished() is None
    for slot, (at, n) in enumerate(spans):
        alone, leak = one_by_one(key, noisy, at, n)
        bobs.store(slot, corrected, at, n)
        assert corrected.slice(at, at + n).equals(alone)
        assert alices.leak_bits(slot) == leak
        assert bobs.errors_corrected(slot) > 0
    assert corrected.equals(key)


def test_steps_stop_at_what_is_not_theirs() -> None:
    key, noisy = pair(4096, 0.02)
    alices, bobs = CascadeAlices(1), CascadeBobs(1)
    alices.start(0, key, 0, 4096, seed=SEED, leak_cap_bits=4096)
    bobs.start(0, noisy, 0, 4096, seed=SEED, qber=0.02)
    out = buffer()
    _, written = bobs.step(b"", out)
    request = bytes(out[:written])
    foreign = record(0, 16, b"hello")
    used, written = alices.step(request + foreign + request, out)
    assert used == len(request)
    used, written = alices.step(foreign + request, out)
    assert (used, written) == (0, 0)
    for cut in range(len(request)):
        assert alices.step(request[:cut], out) == (0, 0)


def test_errors_are_named_and_nothing_is_counted() -> None:
    key, noisy = pair(4096, 0.02)
    alices, bobs = CascadeAlices(2), CascadeBobs(2)
    out = buffer()
    with pytest.raises(NativeDataError):  # the slot is not started
        alices.step(record(0, 0, b"\0" * 8), out)
    alices.start(0, key, 0, 4096, seed=SEED, leak_cap_bits=10)
    bobs.start(0, noisy, 0, 4096, seed=SEED, qber=0.02)
    with pytest.raises(NativeStateError):  # the slot waits for a step
        bobs.start(0, noisy, 0, 4096, seed=SEED, qber=0.02)
    _, written = bobs.step(b"", out)
    request = bytes(out[:written])
    with pytest.raises(NativeLimitError):
        alices.step(request, buffer())
    assert alices.leak_bits(0) == 0
    for slot in (1, 2, 65535):
        with pytest.raises(NativeDataError):
            alices.step(record(slot, 0, request[HEAD_BYTES:]), out)
        with pytest.raises(NativeDataError):
            bobs.step(record(slot, 0, b"\0"), out)
    with pytest.raises(NativeDataError):  # an answer that is too long
        bobs.step(record(0, 0, bytes(1000)), out)


@pytest.mark.parametrize(("slot", "at", "n"), [(-1, 0, 8), (2, 0, 8), (0, 4, 8), (0, 0, 12),
                                               (0, 8, 4096), (0, -8, 8), (0, 0, 0)])  # fmt: skip
def test_pieces_are_whole_bytes_inside_the_key(slot: int, at: int, n: int) -> None:
    key, noisy = pair(4096, 0.02)
    with pytest.raises(NativeArgumentError):
        CascadeAlices(2).start(slot, key, at, n, seed=SEED, leak_cap_bits=9)
    with pytest.raises(NativeArgumentError):
        CascadeBobs(2).start(slot, noisy, at, n, seed=SEED, qber=0.02)
    with pytest.raises(NativeArgumentError):
        CascadeAlices(0)


# ---- blocks in pieces ----


def talk(alice: ManyAnswerers, bob: ManyCorrectors) -> None:
    to_alice, to_bob, room = bytearray(), bytearray(), buffer()
    for _ in range(100_000):
        used, written = bob.step(memoryview(bytes(to_bob)), room)
        del to_bob[:used]
        to_alice += room[:written]
        taken, put = alice.step(memoryview(bytes(to_alice)), room)
        del to_alice[:taken]
        to_bob += room[:put]
        if not (used or written or taken or put):
            return
    raise AssertionError("no end")


def test_blocks_are_corrected_piece_by_piece() -> None:
    alice, bob = ManyAnswerers(3), ManyCorrectors(3)
    keys = [pair(n, 0.03, n) for n in (30_000, 20_008)]
    blocks = []
    for number, (key, noisy) in enumerate(keys):
        alice.add(Block(number, key, SEED, 8192))
        blocks.append(Block(number, noisy, SEED, 8192, 0.03, SecretBits(len(key))))
        bob.add(blocks[-1])
    talk(alice, bob)
    ended = sorted(alice.finished, key=lambda block: block.number)  # a short block may overtake
    assert [block.number for block in ended] == [0, 1]
    assert len(bob.finished) == 2
    assert bob.pieces_finished == blocks[0].pieces + blocks[1].pieces == 7
    for (key, noisy), mine, theirs in zip(keys, blocks, ended, strict=True):
        assert mine.corrected is not None
        assert mine.corrected.equals(key)
        assert not noisy.equals(key)
        assert mine.errors > 0
        assert theirs.leak_bits > 0.15 * len(key)
    alice.close()
    bob.close()


def start(slot: int, block: int, piece: int) -> bytes:
    return record(slot, START, block.to_bytes(4, "little") + piece.to_bytes(4, "little"))


def test_alice_believes_no_start() -> None:
    key, _ = pair(16_384, 0.03)
    for lies in (
        [start(0, 1, 0)],  # a block that Alice did not announce
        [start(0, 0, 2)],  # a piece that the block does not have
        [start(0, 0, 0), start(0, 0, 1)],  # the slot is in use
        [start(0, 0, 0), start(1, 0, 0)],  # the same parities, with other permutations
        [start(9, 0, 0)],  # no such slot
        [record(0, START, b"") + bytes(8)],
        [record(0, 2, bytes(8))],  # "finished" before any start
    ):
        alice = ManyAnswerers(2)
        alice.add(Block(0, key, SEED, 8192))
        with pytest.raises((ReconcileError, NativeArgumentError)):
            alice.step(memoryview(b"".join(lies)), buffer())


def test_the_leak_cap_is_per_piece() -> None:
    key, noisy = pair(16_384, 0.05)
    alice, bob = ManyAnswerers(2, leak_cap=0.1), ManyCorrectors(2)
    alice.add(Block(0, key, SEED, 8192))
    bob.add(Block(0, noisy, SEED, 8192, 0.05, SecretBits(16_384)))
    with pytest.raises(LeakCapReached):
        talk(alice, bob)


def test_what_others_say_is_left_to_them() -> None:
    alice = ManyAnswerers(1)
    assert alice.step(memoryview(record(0, OTHER, bytes(20))), buffer()) == (0, 0)
    bob = ManyCorrectors(1)
    assert bob.step(memoryview(record(0, OTHER, bytes(20))), buffer()) == (0, 0)
