"""Frames on the stream between the nodes: one type byte, three length bytes, the payload.

Every bit of the header is used, so a flipped bit is either refused here or changes the bytes that
are authenticated. Memory is bounded by the longest frame the expected type may have: the reader
refuses a length before it waits for the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from photonlink.hal.errors import PhotonlinkError

HEADER_BYTES = 4
MAC_BYTES = 16  # end every frame but those of the handshake
MAX_PAYLOAD_BYTES = (1 << 24) - 1


class ProtocolError(PhotonlinkError):
    """The peer, or an attacker on the line, broke the protocol. ``code`` names the alarm."""

    def __init__(
        self, code: str, what: str, *, where: str = "", hint: str = "", seen: str = ""
    ) -> None:
        self.code = code
        super().__init__(what, where=where, hint=hint, seen=seen)


def encode_frame(kind: int, payload: bytes) -> bytes:
    """Header and payload. The payload must be shorter than 2^24 bytes."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of {len(payload)} bytes does not fit a frame")
    return bytes((kind,)) + len(payload).to_bytes(3, "big") + payload


class FrameReader:
    """Cuts a byte stream into frames. ``limits``: longest payload by type; others are refused."""

    def __init__(self, limits: Mapping[int, int]) -> None:
        self.limits = limits  # the caller may replace it between two frames
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, memoryview, bytes]]:
        """Yield (type, payload, whole frame) for every complete frame; the payload is part of it.

        Raises ProtocolError at the first header that no message can have.
        """
        self._buffer += data
        position = 0
        try:
            while len(self._buffer) - position >= HEADER_BYTES:
                kind = self._buffer[position]
                length = int.from_bytes(self._buffer[position + 1 : position + 4], "big")
                self._check(kind, length)
                end = position + HEADER_BYTES + length
                if len(self._buffer) < end:
                    break
                with memoryview(self._buffer) as view:
                    frame = bytes(view[position:end])
                position = end
                yield kind, memoryview(frame)[HEADER_BYTES:], frame
        finally:
            del self._buffer[:position]

    def _check(self, kind: int, length: int) -> None:
        limit = self.limits.get(kind)
        if limit is None:
            raise ProtocolError("unknown_message", f"no message has type {kind:#04x}")
        if length > limit:
            raise ProtocolError(
                "oversize_message",
                f"a message of type {kind:#04x} may hold {limit} bytes, its header says {length}",
            )

    @property
    def pending_bytes(self) -> int:
        return len(self._buffer)
