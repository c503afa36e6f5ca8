"""Tags over the running streams, and the pads they spend."""

from __future__ import annotations

import pytest

from photonlink.pipeline.keys.ledger import PAD_BYTES, Ledger
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import MemoryStore
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel.authentication import TAG_HEAD_BYTES, Stream
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.channel.pads import POOLS, Pads, PoolKey
from photonlink.pipeline.protocol.messages import AuthTag, PoolName
from photonlink.pipeline.stages.finite_key import authentication_cost

SESSION = bytes(range(32))
BLOCK = PoolName.BLOCK


@pytest.fixture
def psk() -> PreSharedKey:
    return PreSharedKey.generate(2048)


def stream(psk: PreSharedKey, direction: str = "alice", session: bytes = SESSION) -> Stream:
    own = psk.copy()  # spent pads become zero in it
    return Stream(own, Pads(own, Ledger.memory(), MemoryStore()), direction, session)


def test_what_was_sent_is_accepted_in_any_division(psk: PreSharedKey) -> None:
    sender, receiver = stream(psk), stream(psk)
    for n in range(5):
        data = bytes(range(n * 7, n * 7 + 100))
        sender.absorb(data)
        receiver.absorb(data[:33])
        receiver.absorb(data[33:])
        tag = sender.make_tag(BLOCK)
        assert (tag.counter, tag.position) == (n, n * PAD_BYTES)
        receiver.check_tag(tag, BLOCK)


@pytest.mark.parametrize("bit", range(0, 400, 7))
def test_one_flipped_bit_of_the_data_is_refused(psk: PreSharedKey, bit: int) -> None:
    sender, receiver = stream(psk), stream(psk)
    data = bytearray(range(50))
    sender.absorb(bytes(data))
    data[bit // 8] ^= 0x80 >> bit % 8
    receiver.absorb(bytes(data))
    with pytest.raises(ProtocolError) as caught:
        receiver.check_tag(sender.make_tag(BLOCK), BLOCK)
    assert caught.value.code == "authentication_failed"


def test_one_flipped_bit_of_the_tag_frame_is_refused(psk: PreSharedKey) -> None:
    frame = stream(psk).make_tag(BLOCK).encode()
    for bit in range(32, 8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(ProtocolError):
            stream(psk).check_tag(AuthTag.decode(bytes(changed[4:])), BLOCK)
    stream(psk).check_tag(AuthTag.decode(frame[4:]), BLOCK)
    assert len(frame) - 16 == TAG_HEAD_BYTES


def test_session_direction_counter_and_pool_are_bound(psk: PreSharedKey) -> None:
    tag = stream(psk).make_tag(BLOCK)
    others = (
        stream(psk, direction="bob"),
        stream(psk, session=bytes(32)),
    )
    for other in others:
        with pytest.raises(ProtocolError):
            other.check_tag(tag, BLOCK)
    with pytest.raises(ProtocolError):
        stream(psk).check_tag(tag, PoolName.HANDSHAKE)
    twice = stream(psk)
    twice.check_tag(tag, BLOCK)
    with pytest.raises(ProtocolError):
        twice.check_tag(tag, BLOCK)


def test_a_segment_does_not_move_between_tags(psk: PreSharedKey) -> None:
    sender, receiver = stream(psk), stream(psk)
    sender.absorb(b"one")
    first = sender.make_tag(BLOCK)
    sender.absorb(b"two")
    sender.make_tag(BLOCK)
    receiver.absorb(b"onetwo")
    with pytest.raises(ProtocolError):
        receiver.check_tag(first, BLOCK)


def test_the_pad_is_in_the_ledger_before_the_tag_exists(
    psk: PreSharedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.memory()
    sender = Stream(psk, Pads(psk, ledger, MemoryStore()), "alice", SESSION)

    def fail(pool: str, end: int) -> None:
        raise RuntimeError("disk")

    monkeypatch.setattr(ledger, "spend_pad", fail)
    with pytest.raises(RuntimeError):
        sender.make_tag(BLOCK)
    assert sender.tags == 0


def test_a_forged_tag_spends_nothing_at_the_receiver(psk: PreSharedKey) -> None:
    ledger = Ledger.memory()
    receiver = Stream(psk, Pads(psk, ledger, MemoryStore()), "alice", SESSION)
    with pytest.raises(ProtocolError):
        receiver.check_tag(AuthTag(0, int(BLOCK), 0, bytes(16)), BLOCK)
    assert ledger.state.pads == {}


def test_the_epsilon_is_that_of_the_formula(psk: PreSharedKey) -> None:
    one = stream(psk)
    one.absorb(bytes(1000))
    one.make_tag(BLOCK)
    bits = 8 * (64 + 1000 + TAG_HEAD_BYTES)
    assert one.epsilon == authentication_cost([bits], 128).eps_auth


def test_an_exhausted_pool_and_a_spent_pad_are_named(psk: PreSharedKey) -> None:
    pads = Pads(psk, Ledger.memory(), MemoryStore())
    key = PoolKey("alice", BLOCK)
    pads.mark_spent(key, 32)
    with pytest.raises(ProtocolError) as caught:
        pads.read(key, 32)
    assert caught.value.code == "pad_reuse"
    with pytest.raises(ProtocolError) as caught:
        pads.read(key, pads.size(key))
    assert caught.value.code == "pads_exhausted"
    assert pads.left(key) == psk.pool_bytes(False) - 48


def test_refilled_pads_follow_in_the_order_of_release(psk: PreSharedKey) -> None:
    """Four pools, three blocks with different refills: every byte once, at its place."""
    ledger, store = Ledger.memory(), MemoryStore()
    pads = Pads(psk, ledger, store)
    expected: dict[PoolKey, list[bytes]] = {key: [] for key in POOLS}
    for block, (handshake, usual) in ((1, (16, 48)), (2, (0, 32)), (5, (32, 0))):
        bits = SecretBits.random(16 * (handshake + usual))
        raw = bits.disclose()
        store.put_pads(block, bits)
        ledger.append({"t": "block", "block": block, "status": "open"})
        ledger.append({
            "t": "block", "block": block, "status": "prepared", "secret_bits": 10_000,
            "refill_handshake_bytes": handshake, "refill_block_bytes": usual,
        })  # fmt: skip
        before = {key: pads.size(key) for key in POOLS}
        at = 0
        for key in POOLS:
            size = handshake if key.pool is PoolName.HANDSHAKE else usual
            expected[key] += [raw[at + i : at + i + 16] for i in range(0, size, 16)]
            at += size
        assert before == {key: pads.size(key) for key in POOLS}, "in doubt: not usable"
        ledger.append({"t": "block", "block": block, "status": "released"})
    for key in POOLS:
        own = psk.pool_bytes(key.pool is PoolName.HANDSHAKE)
        found = [pads.read(key, position).disclose() for position in range(own, pads.size(key), 16)]
        assert found == expected[key]
        assert len(set(found)) == len(found)


def test_a_refill_is_wiped_when_all_of_it_is_spent(psk: PreSharedKey) -> None:
    ledger, store = Ledger.memory(), MemoryStore()
    pads = Pads(psk, ledger, store)
    for block in (1, 2):
        store.put_pads(block, SecretBits.random(8 * 2 * 32))
        ledger.append({"t": "block", "block": block, "status": "open"})
        ledger.append({
            "t": "block", "block": block, "status": "prepared",
            "refill_handshake_bytes": 16, "refill_block_bytes": 16,
        })  # fmt: skip
        ledger.append({"t": "block", "block": block, "status": "released"})
    for key in POOLS:
        assert set(store._bits) == {(1, "pad"), (2, "pad")}
        pads.mark_spent(key, pads.size(key) - 2 * PAD_BYTES)
    assert set(store._bits) == {(2, "pad")}
    for key in POOLS:
        pads.mark_spent(key, pads.size(key) - PAD_BYTES)
    assert store._bits == {}
