"""Wegman-Carter authentication of the two byte streams, one tag per phase and direction.

tag = PolyMac_k(segment) xor pad. A segment is all bytes one direction has carried since its
last tag, the head of the AuthTag frame included, after a prefix of 64 bytes: session id, direction
and the tag's counter, so that a segment of another session, direction or time never fits.
eps per tag <= (ceil(L / 128) + 1) 2^-128 for L bits (security facts, 1.5); they add up.

Each tag may leak a little about k (Portmann, IEEE TIT 60, 4383, 2014), so a hash key makes at most
MAX_TAGS_PER_KEY of them; after that pads become hash keys. Which key is due follows from the
positions of the pads alone, which both nodes have in their ledgers and agree on.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

from photonlink.pipeline.keys.ledger import PAD_BYTES
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.native.hashing import PolyMac
from photonlink.pipeline.protocol.channel.framing import HEADER_BYTES, ProtocolError
from photonlink.pipeline.protocol.channel.pads import Pads, PoolKey
from photonlink.pipeline.protocol.messages import AuthTag, PoolName

_PREFIX = struct.Struct("<32s16sQQ")
TAG_BITS = 128
MAX_TAGS_PER_KEY = 1 << 20
TAG_HEAD_BYTES = HEADER_BYTES + 13  # of an AuthTag frame, all but the tag itself


class Stream:
    """One direction: the running hash and what it has cost.

    positions: where both nodes agreed in their Hellos that the next pads lie.
    """

    def __init__(
        self,
        psk: PreSharedKey,
        pads: Pads,
        direction: str,
        session_id: bytes,
        positions: Mapping[PoolName, int] | None = None,
    ) -> None:
        self.direction = direction
        self.tags = 0
        self.epsilon = 0.0
        self._pads, self._session_id = pads, session_id
        self._bytes = 0
        self._positions = {pool: pads.position(PoolKey(direction, pool)) for pool in PoolName}
        self._positions.update(positions or {})
        # every tag under the pre-shared hash key took a pad, so there were at most so many
        self._key_tags = sum(self._positions.values()) // PAD_BYTES
        if self._key_tags < MAX_TAGS_PER_KEY:
            with psk.mac_key(direction) as key:
                self._mac = PolyMac(key)
        else:
            self._mac = self._fresh_key(PoolName.HANDSHAKE)
        self._begin()

    def _fresh_key(self, pool: PoolName) -> PolyMac:
        """The pool's next pad as hash key, for this session; raises ProtocolError without one."""
        key, position = PoolKey(self.direction, pool), self._positions[pool]
        with self._pads.read(key, position) as pad:
            self._pads.mark_spent(key, position)
            self._positions[pool] = position + PAD_BYTES
            self._key_tags = 0
            return PolyMac(pad)

    def _begin(self) -> None:
        self._bytes = 0
        name = self.direction.encode()
        self.absorb(_PREFIX.pack(self._session_id, name, self.tags, 0))

    def absorb(self, data: bytes) -> None:
        self._mac.update(data)
        self._bytes += len(data)

    def make_tag(self, pool: PoolName) -> AuthTag:
        """Close the segment: spends one pad, which the ledger knows before it is used."""
        key, position = PoolKey(self.direction, pool), self._positions[pool]
        with self._pads.read(key, position) as pad:
            self._pads.mark_spent(key, position)
            self._end(pool, position)
            message = AuthTag(self.tags, int(pool), position, self._mac.tag(pad, 0))
        self._next(pool, position)
        return message

    def check_tag(self, message: AuthTag, pool: PoolName) -> None:
        """Verify the peer's tag over everything received. Raises ProtocolError.

        The pad counts as spent once the tag was found right: a forged tag must not push the
        receiver's position past the sender's.
        """
        key, position = PoolKey(self.direction, pool), self._positions[pool]
        if (message.counter, message.pool, message.position) != (self.tags, int(pool), position):
            raise ProtocolError(
                "authentication_failed",
                f"tag {message.counter} of {self.direction} stands at pool {message.pool}, byte "
                f"{message.position}; expected tag {self.tags}, pool {int(pool)}, byte {position}",
                hint="A message was replayed, reordered or lost.",
            )
        with self._pads.read(key, position) as pad:
            self._end(pool, position)
            if not self._mac.verify(message.tag, pad, 0):
                raise ProtocolError(
                    "authentication_failed",
                    f"tag {self.tags} of {self.direction} does not fit what was received",
                    hint="The channel was changed on the way, or the pre-shared keys differ.",
                )
            self._pads.mark_spent(key, position)
        self._next(pool, position)

    def close(self) -> None:
        self._mac.close()

    def _end(self, pool: PoolName, position: int) -> None:
        head = AuthTag(self.tags, int(pool), position, bytes(16)).encode()
        self.absorb(head[:TAG_HEAD_BYTES])
        self.epsilon += (math.ceil(self._bytes / 16) + 1) * 2.0**-TAG_BITS

    def _next(self, pool: PoolName, position: int) -> None:
        self._positions[pool] = position + PAD_BYTES
        self.tags += 1
        self._key_tags += 1
        if self._key_tags >= MAX_TAGS_PER_KEY:
            self._mac.close()  # no pad, no key: then nothing can be tagged any more
            self._mac = self._fresh_key(pool)
        self._begin()
