"""Wegman-Carter authentication: two one-time tags a block, over what both directions carried.

Per direction a polynomial hash over GF(2^128) runs over every frame of *this connection*, the
handshake included. ``LineHashes.mark_sent`` and ``mark_received`` end the part that the block's
tags cover (after Verify and VerifyResult, so that both ends cover the same bytes whatever else
is under way); what follows waits, and goes into the next segment once the tag exists, or into
the same one when the block was aborted: an aborted block costs no pad.

Alice's tag = H_A(her frames, Amplify) xor H_B(Bob's frames) xor pad xor mask; Bob's tag covers his
statement that he verified hers. mask = HMAC-SHA256 under a key of its own of the segment's SHA-256,
connection, direction and pad: it costs no security, and a pad that was used twice (both stores
restored) then gives nothing away. eps per tag <= (ceil(L / 128) + 1) 2^-128 for L bits; the sum of
two hashes under independent keys collides with at most the larger of both.

Each tag may leak a little about its hash keys (Portmann, IEEE TIT 60, 4383, 2014): so a key makes
at most MAX_TAGS_PER_KEY tags.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct

from photonlink.pipeline.keys.ledger import PAD_BYTES
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.native import sizes
from photonlink.pipeline.native.hashing import PolyMac
from photonlink.pipeline.native.secret import SecretBits

TAG_BITS = 8 * sizes.TAG_BYTES
MAX_TAGS_PER_KEY = 1 << 20
ROLES = ("alice", "bob")
STATEMENT_BYTES = 256  # longest content of Bob's tag; its epsilon is computed for this length
_PREFIX = struct.Struct("<32s16sQQ")  # session, direction, segment, 0
_STATEMENT = struct.Struct("<32s16sQQ16s")  # session, "bob prepared", block, pad, Alice's tag
_MASK = struct.Struct("<16sQ")


def tag_epsilon(covered_bytes: int) -> float:
    """Probability that a forgery passes one tag over so many bytes."""
    return float((math.ceil(covered_bytes / sizes.POINT_BYTES) + 1) * 2.0**-TAG_BITS)


class _Direction:
    """The running hash of one direction, and the frames behind its mark that are not hashed yet."""

    def __init__(self, psk: PreSharedKey, session_id: bytes, direction: str) -> None:
        self._psk, self._session_id, self._direction = psk, session_id, direction
        self._segment = 0
        self._marked = False
        self._waiting: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        with self._psk.mac_key(self._direction) as key:
            self.mac = PolyMac(key)
        self.digest = hashlib.sha256()
        self.bytes = 0
        self._absorb(_PREFIX.pack(self._session_id, self._direction.encode(), self._segment, 0))

    def _absorb(self, data: bytes) -> None:
        self.mac.update(data)
        self.digest.update(data)
        self.bytes += len(data)

    def absorb(self, frame: bytes) -> None:
        if self._marked:
            self._waiting.append(frame)
        else:
            self._absorb(frame)

    def mark(self) -> None:
        self._marked = True

    def unmark(self) -> None:
        waiting, self._waiting, self._marked = self._waiting, [], False
        for frame in waiting:
            self._absorb(frame)

    def cut(self) -> tuple[PolyMac, bytes, int]:
        """Hand out what was hashed up to the mark; go on with the next segment."""
        found = self.mac, self.digest.digest(), self.bytes
        self._segment += 1
        self._begin()
        self.unmark()
        return found

    def close(self) -> None:
        self.mac.close()


class Covered:
    """What a block's tags cover: both directions' segments, frozen. Outlives the connection: stored
    tags are sent again byte for byte and checked against this.
    """

    def __init__(
        self,
        psk: PreSharedKey,
        session_id: bytes,
        alice: tuple[PolyMac, bytes, int],
        bob: tuple[PolyMac, bytes, int],
    ) -> None:
        self._psk, self._session_id = psk, session_id
        (self._alice, a_digest, self.alice_bytes) = alice
        (self._bob, b_digest, self.bob_bytes) = bob
        self._digest = a_digest + b_digest

    def epsilon(self, amplify_bytes: int) -> float:
        """Sum for both of the block's tags."""
        longest = max(self.alice_bytes + amplify_bytes, self.bob_bytes)
        return tag_epsilon(longest) + tag_epsilon(STATEMENT_BYTES)

    def alice_tag(self, amplify: bytes, pad: SecretBits, position: int) -> bytes:
        """Alice's tag. ``amplify``: the message's payload with a tag of zeros. Once only."""
        both = self._fold(amplify, pad)
        with both:
            tag = self._bob.tag(both, 0)
        return _xor(tag, self._mask("alice", position, self._digest + amplify))

    def check_alice_tag(self, tag: bytes, amplify: bytes, pad: SecretBits, position: int) -> bool:
        """Bob's check, in constant time. Once only: a second try needs another connection."""
        expected = self.alice_tag(amplify, pad, position)
        return hmac.compare_digest(tag, expected)

    def _fold(self, amplify: bytes, pad: SecretBits) -> SecretBits:
        """Hash of Alice's direction xor ``pad``, in locked memory: the hash itself never leaves."""
        self._alice.update(amplify)
        with SecretBits.random(TAG_BITS) as hide:
            both = SecretBits.take(bytearray(self._alice.tag(hide, 0)))
            both.xor_in(hide)
        both.xor_in(pad)
        return both

    def _mask(self, direction: str, position: int, segment: bytes) -> bytes:
        head = self._session_id + _MASK.pack(direction.encode(), position)
        return self._psk.tag_mask(head + hashlib.sha256(segment).digest())

    def close(self) -> None:
        self._alice.close()
        self._bob.close()


class LineHashes:
    """Both directions of one connection; dies with it."""

    def __init__(self, psk: PreSharedKey, session_id: bytes, own: str) -> None:
        self._psk, self.session_id, self._own = psk, session_id, own
        self._directions = {role: _Direction(psk, session_id, role) for role in ROLES}

    @property
    def sent(self) -> _Direction:
        return self._directions[self._own]

    @property
    def received(self) -> _Direction:
        return next(d for role, d in self._directions.items() if role != self._own)

    def unmark(self) -> None:
        """The block was aborted: its bytes wait for the next block's tags."""
        for direction in self._directions.values():
            direction.unmark()

    def cut(self) -> Covered:
        """What both directions carried up to their marks."""
        alice, bob = (self._directions[role].cut() for role in ROLES)
        return Covered(self._psk, self.session_id, alice, bob)

    @property
    def bytes(self) -> int:
        return sum(d.bytes for d in self._directions.values())

    def close(self) -> None:
        for direction in self._directions.values():
            direction.close()


def statement(session_id: bytes, block: int, position: int, alice_tag: bytes) -> bytes:
    """What Bob's tag says: I have verified Alice's tag of this block and stored its key."""
    return _STATEMENT.pack(session_id, b"bob prepared", block, position, alice_tag)


def bob_tag(psk: PreSharedKey, said: bytes, pad: SecretBits, position: int) -> bytes:
    """Bob's tag of a :func:`statement`; Alice computes it again to check."""
    with psk.mac_key("bob") as key:
        mac = PolyMac(key)
    try:
        mac.update(said)
        tag = mac.tag(pad, 0)
    finally:
        mac.close()
    head = said[:32] + _MASK.pack(b"bob", position)
    return _xor(tag, psk.tag_mask(head + hashlib.sha256(said).digest()))


BLOCKS_PER_KEY = MAX_TAGS_PER_KEY // 2  # Bob's key makes two tags a block: his, half of hers


def blocks_left(position: int) -> int:
    """How many blocks the pre-shared hash keys still serve; each block takes a pad."""
    return max(BLOCKS_PER_KEY - position // PAD_BYTES, 0)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
