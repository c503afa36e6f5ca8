"""A hash key makes no more tags than its limit: a pad becomes the next one, on both ends alike."""

from __future__ import annotations

from collections import Counter

import pytest
from link import BENCH, SMALL, Wire, feed, keys, pair

from photonlink.pipeline.keys.ledger import PAD_BYTES, Ledger
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.keys.store import MemoryStore
from photonlink.pipeline.native.base import NativeError
from photonlink.pipeline.native.hashing import PolyMac
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel import authentication
from photonlink.pipeline.protocol.channel.authentication import MAX_TAGS_PER_KEY, Stream
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.channel.pads import Pads, PoolKey
from photonlink.pipeline.protocol.messages import PoolName

BLOCK, HANDSHAKE = PoolName.BLOCK, PoolName.HANDSHAKE
SESSION = bytes(range(32))


def watch(patch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How many tags each hash key makes from now on, over all streams of this process."""
    made: Counter[bytes] = Counter()

    class Counted(PolyMac):
        def __init__(self, key: SecretBits) -> None:
            super().__init__(key)
            self.name = key.disclose()

        def tag(self, pad: SecretBits, pad_offset_bits: int) -> bytes:
            made[self.name] += 1
            return super().tag(pad, pad_offset_bits)

    patch.setattr(authentication, "PolyMac", Counted)
    return made


def limited(patch: pytest.MonkeyPatch, limit: int) -> None:
    patch.setattr(authentication, "MAX_TAGS_PER_KEY", limit)


def ends(psk: PreSharedKey) -> tuple[Stream, Stream]:
    return tuple(  # type: ignore[return-value]
        Stream(own, Pads(own, Ledger.memory(), MemoryStore()), "alice", SESSION)
        for own in (psk.copy(), psk.copy())
    )


def test_the_limit_is_that_of_the_documents() -> None:
    assert MAX_TAGS_PER_KEY == 2**20


def test_a_worn_key_is_followed_by_the_next_pad_of_the_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited(monkeypatch, 3)
    made = watch(monkeypatch)
    psk = PreSharedKey.generate(2048)
    sender, receiver = ends(psk)
    positions = []
    for n in range(8):
        for one in (sender, receiver):
            one.absorb(bytes([n] * 40))
        tag = sender.make_tag(BLOCK)
        positions.append(tag.position // PAD_BYTES)
        receiver.check_tag(tag, BLOCK)
    assert positions == [0, 1, 2, 4, 5, 6, 8, 9], "pads 3 and 7 are hash keys"
    expected = [psk.mac_key("alice").disclose()]
    expected += [psk.pad("alice", False, at * PAD_BYTES, PAD_BYTES).disclose() for at in (3, 7)]
    assert made == dict(zip(expected, (3, 3, 2), strict=True))


def test_an_end_that_goes_on_with_a_worn_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = ends(PreSharedKey.generate(2048))
    for n in range(4):
        limited(monkeypatch, 1000)  # the sender has been tampered with
        sender.absorb(b"data")
        tag = sender.make_tag(BLOCK)
        limited(monkeypatch, 3)
        receiver.absorb(b"data")
        if n < 3:
            receiver.check_tag(tag, BLOCK)
    with pytest.raises(ProtocolError) as caught:
        receiver.check_tag(tag, BLOCK)
    assert caught.value.code == "authentication_failed"


def test_a_later_session_never_takes_up_the_first_key_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the ledger says of both pools decides, whoever spent the pads."""
    limited(monkeypatch, 5)
    made = watch(monkeypatch)
    psk = PreSharedKey.generate(2048)
    ledger = Ledger.memory()
    pads = Pads(psk.copy(), ledger, MemoryStore())
    first = psk.mac_key("alice").disclose()
    for session in range(4):
        stream = Stream(psk, pads, "alice", SESSION)
        stream.make_tag(HANDSHAKE)
        stream.make_tag(BLOCK)
        stream.close()
        assert made[first] == min(2 * session + 2, 5)
        assert max(made.values()) <= 5
    agreed = {HANDSHAKE: 10 * PAD_BYTES, BLOCK: 0}  # the peer remembers more than this ledger
    pads = Pads(psk.copy(), Ledger.memory(), MemoryStore())
    stream = Stream(psk, pads, "alice", SESSION, agreed)
    assert stream.make_tag(HANDSHAKE).position == 11 * PAD_BYTES
    assert made[psk.pad("alice", True, 10 * PAD_BYTES, PAD_BYTES).disclose()] == 1


def test_without_a_pad_for_a_key_nothing_more_is_tagged(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 2)
    psk = PreSharedKey.generate(2048)
    sender, receiver = ends(psk)
    last = psk.pool_bytes(handshake=False) - 2 * PAD_BYTES
    for one in (sender, receiver):
        one._positions[BLOCK] = last
    receiver.check_tag(sender.make_tag(BLOCK), BLOCK)
    with pytest.raises(ProtocolError) as caught:
        sender.make_tag(BLOCK)
    assert caught.value.code == "pads_exhausted"
    assert "pre-shared key" in str(caught.value)
    with pytest.raises(NativeError):  # the other pool has pads, but there is no hash key
        sender.make_tag(HANDSHAKE)


def test_a_link_goes_on_over_worn_keys_and_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 7)
    made = watch(monkeypatch)
    alice, bob = pair(parameters=SMALL)
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire, BENCH, end=False)
    before = dict(keys(alice))
    assert len(before) >= 2
    assert before == keys(bob)
    for node in (alice, bob):
        node.start()
    wire.connect()
    feed(wire, BENCH)
    assert len(keys(alice)) > len(before)
    assert keys(alice) == keys(bob)
    assert alice.finished
    assert bob.finished
    assert "authentication_failed" not in alice.codes() | bob.codes()
    assert max(made.values()) <= 7
    assert len(made) > 4, "several keys were used"
    first = {alice.psk.mac_key(d).disclose() for d in ("alice", "bob")}
    assert all(made[key] == 7 for key in first)
    for role in ("alice", "bob"):
        pool = str(PoolKey(role, BLOCK))
        assert alice.ledger.state.pads[pool] == bob.ledger.state.pads[pool]


def test_a_link_without_pads_for_a_key_stops_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handshakes take them too: when none is left, no tag leaves at all."""
    limited(monkeypatch, 4)
    alice, bob = pair(PreSharedKey.generate(1024), parameters=SMALL)
    wire = Wire(alice, bob)
    for _ in range(12):
        wire.connect()
        wire.cut()
    full = alice.psk.pool_bytes(handshake=True)
    assert "pads_exhausted" in alice.codes() & bob.codes()
    text = next(a.text for a in alice.alarms if a.code == "pads_exhausted")
    assert "new pre-shared key" in text
    for node in (alice, bob):
        assert all(end <= full for end in node.ledger.state.pads.values())
