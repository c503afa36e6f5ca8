"""The two one-time tags of a block, the MAC of a frame, and the pads they spend."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import pytest

from photonlink.pipeline.keys.ledger import PAD_BYTES
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.native.hashing import PolyMac
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel import authentication
from photonlink.pipeline.protocol.channel.authentication import (
    Covered,
    LineHashes,
    blocks_left,
    bob_tag,
    statement,
    tag_epsilon,
)
from photonlink.pipeline.protocol.channel.frame_mac import FrameMac
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import CloseBlock, Message
from photonlink.pipeline.stages.finite_key import authentication_cost

SESSION = bytes(range(32))
AMPLIFY = b"the message with a tag of zeros"


@pytest.fixture(scope="module")
def psk() -> PreSharedKey:
    return PreSharedKey.generate(2048)


class Talk(NamedTuple):
    """The bytes sent in each direction, before and after the marks."""

    alice: tuple[bytes, ...] = (b"one", b"two" * 40)
    bob: tuple[bytes, ...] = (b"three",)
    later_alice: tuple[bytes, ...] = ()
    later_bob: tuple[bytes, ...] = ()
    session: bytes = SESSION


def covered(psk: PreSharedKey, own: str, talk: Talk) -> Covered:
    transcript = LineHashes(psk, talk.session, own)
    alice, bob = transcript.sent, transcript.received
    if own == "bob":
        alice, bob = bob, alice
    for side, early, late in (
        (alice, talk.alice, talk.later_alice),
        (bob, talk.bob, talk.later_bob),
    ):
        for frame in early:
            side.absorb(frame)
        side.mark()
        for frame in late:
            side.absorb(frame)
    return transcript.cut()


def check(psk: PreSharedKey, tag: bytes, talk: Talk, amplify: bytes = AMPLIFY, at: int = 0) -> bool:
    with psk.pad("alice", False, at, PAD_BYTES) as pad:
        return covered(psk, "bob", talk).check_alice_tag(tag, amplify, pad, at)


def tag_of(psk: PreSharedKey, talk: Talk) -> bytes:
    with psk.pad("alice", False, 0, PAD_BYTES) as pad:
        return covered(psk, "alice", talk).alice_tag(AMPLIFY, pad, 0)


def test_both_ends_agree_whatever_division_and_whatever_came_after_the_marks(
    psk: PreSharedKey,
) -> None:
    tag = tag_of(psk, Talk())
    assert check(psk, tag, Talk())
    assert check(psk, tag, Talk(later_alice=(b"next block",), later_bob=(b"ping", b"ping")))
    joined = Talk(alice=(b"".join(Talk().alice),))
    assert check(psk, tag, joined)


@pytest.mark.parametrize(
    "talk",
    [
        Talk(alice=(b"onE", b"two" * 40)),
        Talk(alice=(b"two" * 40, b"one")),
        Talk(alice=(b"one",)),
        Talk(bob=(b"thrEe",)),
        Talk(bob=()),
        Talk(bob=(b"three", b"")),
        Talk(alice=Talk().bob, bob=Talk().alice),
        Talk(session=bytes(32)),
    ],
)
def test_what_either_direction_carried_is_bound(psk: PreSharedKey, talk: Talk) -> None:
    same = b"".join(talk.bob) == b"three" and talk.session == SESSION
    same = same and b"".join(talk.alice) == b"".join(Talk().alice)
    assert check(psk, tag_of(psk, Talk()), talk) is same


def test_message_pad_and_every_bit_of_the_tag_are_bound(psk: PreSharedKey) -> None:
    tag = tag_of(psk, Talk())
    assert not check(psk, tag, Talk(), AMPLIFY + b"!")
    assert not check(psk, tag, Talk(), at=PAD_BYTES)
    for bit in range(128):
        changed = bytearray(tag)
        changed[bit // 8] ^= 0x80 >> bit % 8
        assert not check(psk, bytes(changed), Talk())


def test_the_tag_is_that_of_the_formula(psk: PreSharedKey) -> None:
    """Hash of Alice's direction xor hash of Bob's xor pad xor mask, computed independently."""
    hashes = []
    for role, frames, end in (("alice", Talk().alice, AMPLIFY), ("bob", Talk().bob, b"")):
        prefix = SESSION + role.encode().ljust(16, b"\0") + bytes(16)
        with psk.mac_key(role) as key, SecretBits(128) as nothing:
            mac = PolyMac(key)
            mac.update(prefix + b"".join(frames) + end)
            hashes.append(int.from_bytes(mac.tag(nothing, 0), "big"))
    with psk.pad("alice", False, 0, PAD_BYTES) as pad:
        expected = hashes[0] ^ hashes[1] ^ int.from_bytes(pad.disclose(), "big")
    segment = b""
    for role, frames in (("alice", Talk().alice), ("bob", Talk().bob)):
        prefix = SESSION + role.encode().ljust(16, b"\0") + bytes(16)
        segment += hashlib.sha256(prefix + b"".join(frames)).digest()
    head = SESSION + b"alice".ljust(16, b"\0") + bytes(8)
    mask = psk.tag_mask(head + hashlib.sha256(segment + AMPLIFY).digest())
    assert tag_of(psk, Talk()) == (expected ^ int.from_bytes(mask, "big")).to_bytes(16, "big")


def test_a_pad_used_twice_shows_no_hash(psk: PreSharedKey) -> None:
    """Both stores are restored: masks differ, so the xor of two tags is not that of two hashes."""
    first = tag_of(psk, Talk())
    second = tag_of(psk, Talk(bob=(b"other",)))
    with psk.pad("alice", False, 0, PAD_BYTES) as pad:
        plain = []
        for talk in (Talk(), Talk(bob=(b"other",))):
            both = covered(psk, "alice", talk)._fold(AMPLIFY, pad)
            plain.append(both.disclose())
    xor = bytes(a ^ b for a, b in zip(first, second, strict=True))
    assert xor != bytes(a ^ b for a, b in zip(*plain, strict=True))


def test_an_aborted_block_is_covered_by_the_next_tag(psk: PreSharedKey) -> None:
    transcript = LineHashes(psk, SESSION, "alice")
    transcript.sent.absorb(b"one")
    transcript.sent.mark()
    transcript.sent.absorb(b"two" * 40)
    transcript.received.absorb(b"three")
    transcript.unmark()
    transcript.sent.mark()
    transcript.received.mark()
    with psk.pad("alice", False, 0, PAD_BYTES) as pad:
        assert transcript.cut().alice_tag(AMPLIFY, pad, 0) == tag_of(psk, Talk())


def test_a_later_segment_is_another_one(psk: PreSharedKey) -> None:
    transcript = LineHashes(psk, SESSION, "alice")
    transcript.cut()
    for frame in Talk().alice:
        transcript.sent.absorb(frame)
    for frame in Talk().bob:
        transcript.received.absorb(frame)
    with psk.pad("alice", False, 0, PAD_BYTES) as pad:
        assert transcript.cut().alice_tag(AMPLIFY, pad, 0) != tag_of(psk, Talk())


def test_bobs_tag_binds_session_block_pad_and_alices_tag(psk: PreSharedKey) -> None:
    tags = set()
    for said in (
        statement(SESSION, 1, 0, bytes(16)),
        statement(bytes(32), 1, 0, bytes(16)),
        statement(SESSION, 2, 0, bytes(16)),
        statement(SESSION, 1, 16, bytes(16)),
        statement(SESSION, 1, 0, b"\1" * 16),
    ):
        assert len(said) <= authentication.STATEMENT_BYTES
        with psk.pad("bob", False, 0, PAD_BYTES) as pad:
            tags.add(bob_tag(psk, said, pad, 0))
    assert len(tags) == 5


def test_the_epsilon_is_that_of_the_formula() -> None:
    for n in (1, 16, 1000, 10**7):
        assert tag_epsilon(n) == authentication_cost([8 * n], 128).eps_auth


def test_worn_hash_keys_make_no_more_tags() -> None:
    last = authentication.MAX_TAGS_PER_KEY // 2 - 1
    assert blocks_left(0) == last + 1
    assert blocks_left(PAD_BYTES * last) == 1
    assert blocks_left(PAD_BYTES * (last + 1)) == blocks_left(PAD_BYTES * (last + 9)) == 0


# ---- frames ----


def frames(psk: PreSharedKey, *messages: Message, role: str = "alice") -> list[bytes]:
    mac = FrameMac(psk, SESSION, role)
    return [mac.close_frame(message) for message in messages]


def test_frames_open_in_their_order_only(psk: PreSharedKey) -> None:
    first, second = frames(psk, CloseBlock(1, 2, 30, 30), CloseBlock(2, 2, 30, 30))
    inn = FrameMac(psk, SESSION, "alice")
    assert inn.open_frame(first) == CloseBlock(1, 2, 30, 30).encode()[4:]
    with pytest.raises(ProtocolError):
        FrameMac(psk, SESSION, "alice").open_frame(second)
    for other in (FrameMac(psk, SESSION, "bob"), FrameMac(psk, bytes(32), "alice")):
        with pytest.raises(ProtocolError):
            other.open_frame(first)
    assert inn.open_frame(second) == CloseBlock(2, 2, 30, 30).encode()[4:]
    with pytest.raises(ProtocolError):
        inn.open_frame(second)


def test_every_bit_of_a_frame_is_bound(psk: PreSharedKey) -> None:
    (frame,) = frames(psk, CloseBlock(1, 2, 30, 30))
    for bit in range(8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError) as caught:
            FrameMac(psk, SESSION, "alice").open_frame(bytes(changed))
        assert caught.value.code == "authentication_failed"
