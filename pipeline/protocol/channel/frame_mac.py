"""Early refusal: a MAC on every frame that follows the handshake's proofs.

HMAC-SHA256 under the pre-shared key's proof key over both nonces, the sender's role, the frame's
number in its direction and the SHA-256 of the frame, cut to 16 bytes: the frame is public, so
hashlib may hash it, and only the short HMAC runs in the code that holds the key. Its security is
computational. It protects the connection only: a frame that fails it ends the connection before its
content is parsed. Changes that outlive the connection need the one-time tags (authentication.py).
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.channel.framing import (
    HEADER_BYTES,
    MAC_BYTES,
    MAX_PAYLOAD_BYTES,
    ProtocolError,
)
from photonlink.pipeline.protocol.messages import Message

_DOMAIN = b"photonlink frame\x00"
_NUMBER = struct.Struct("<16sQ")


class FrameMac:
    """One direction of one connection."""

    def __init__(self, psk: PreSharedKey, session_id: bytes, direction: str) -> None:
        self._psk, self._prefix = psk, _DOMAIN + session_id
        self._direction = direction.encode()
        self._number = 0

    def _mac(self, *covered: bytes | memoryview) -> bytes:
        number = _NUMBER.pack(self._direction, self._number)
        self._number += 1
        running = hashlib.sha256()
        for part in covered:
            running.update(part)
        digest = running.digest()
        return self._psk.prove(self._prefix + number + digest)[:MAC_BYTES]

    def close_frame(self, message: Message) -> bytes:
        """The message as it goes on the wire, its MAC at the end."""
        fixed, tail = message.parts()
        length = len(fixed) + len(tail) + MAC_BYTES
        if length > MAX_PAYLOAD_BYTES:
            raise ValueError(f"payload of {length} bytes does not fit a frame")
        head = bytes((message.TYPE,)) + length.to_bytes(3, "big") + fixed
        return b"".join((head, tail, self._mac(head, tail)))

    def open_frame(self, frame: bytes) -> memoryview:
        """The payload of the next frame of this direction. Raises ProtocolError."""
        covered, mac = memoryview(frame)[:-MAC_BYTES], frame[-MAC_BYTES:]
        if len(frame) < HEADER_BYTES + MAC_BYTES or not hmac.compare_digest(
            mac, self._mac(covered)
        ):
            raise ProtocolError(
                "authentication_failed",
                f"frame {self._number} of the peer is not of this connection",
                hint="A message was changed, replayed, moved or lost on the way.",
            )
        return covered[HEADER_BYTES:]
