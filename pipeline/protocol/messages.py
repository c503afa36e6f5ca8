"""Messages between the nodes: fixed little-endian fields, then at most one tail of bytes.

docs/protocol.md is the wire specification; this file is its only implementation. Decoding
accepts exactly the layouts written here and raises ProtocolError for everything else.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import struct
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from photonlink.pipeline.protocol.channel.framing import (
    MAC_BYTES,
    ProtocolError,
    encode_frame,
)

PROTOCOL_VERSION = 3
MAX_JSON_BYTES = 4096
MAX_BULK_BYTES = 15 << 20
BLOCK_NONCE_BYTES = 16


class IntervalKind(enum.IntEnum):
    """The use of a requested interval of Bob's time."""

    ACQUIRE = 0  # the clock is not locked yet: these events never become key
    KEY = 1


@dataclass(frozen=True, slots=True)
class Message:
    """Base: subclasses set TYPE, the struct LAYOUT of their fields and TAIL_BYTES."""

    TYPE: ClassVar[int] = -1
    LAYOUT: ClassVar[str] = ""
    TAIL_BYTES: ClassVar[int] = 0  # longest tail; when > 0 the last field is the tail

    def parts(self) -> tuple[bytes, bytes]:
        """The payload: fixed fields, tail."""
        values = [getattr(self, f.name) for f in dataclasses.fields(self)]
        tail = values.pop() if self.TAIL_BYTES else b""
        return struct.pack("<" + self.LAYOUT, *values), tail

    def encode(self) -> bytes:
        """The whole frame, without a MAC."""
        return encode_frame(self.TYPE, b"".join(self.parts()))

    @classmethod
    def decode(cls, payload: bytes | memoryview) -> Self:
        size = struct.calcsize("<" + cls.LAYOUT)
        if len(payload) < size or len(payload) > size + cls.TAIL_BYTES:
            raise ProtocolError(
                "malformed_message", f"{cls.__name__} cannot have {len(payload)} bytes"
            )
        values = list(struct.unpack_from("<" + cls.LAYOUT, payload))
        if any(isinstance(v, float) and not math.isfinite(v) for v in values):
            raise ProtocolError("malformed_message", f"{cls.__name__} holds a number not finite")
        if cls.TAIL_BYTES:
            values.append(bytes(payload[size:]))
        return cls(*values)

    @classmethod
    def max_payload_bytes(cls) -> int:
        return struct.calcsize("<" + cls.LAYOUT) + cls.TAIL_BYTES


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Identity, agreed parameters and ledger claim of the sender. JSON object, canonical."""

    TYPE = 0x01
    TAIL_BYTES = MAX_JSON_BYTES
    body: bytes

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Hello:
        return cls(canonical_json(fields))

    def fields(self) -> dict[str, Any]:
        return parse_json(self.body, "Hello")


@dataclass(frozen=True, slots=True)
class Proof(Message):
    """HMAC over both Hellos: proves the pre-shared key before any field is used."""

    TYPE = 0x02
    LAYOUT = "32s"
    mac: bytes


@dataclass(frozen=True, slots=True)
class Refuse(Message):
    """The handshake ends here; JSON with ``code``, ``text`` and what differs."""

    TYPE = 0x04
    TAIL_BYTES = MAX_JSON_BYTES
    body: bytes


@dataclass(frozen=True, slots=True)
class Ping(Message):
    """Keeps the connection alive; sent when no other message was sent for
    ``Limits.keepalive_s``.
    """

    TYPE = 0x05


@dataclass(frozen=True, slots=True)
class Bye(Message):
    """The sender has finished and closes."""

    TYPE = 0x06


@dataclass(frozen=True, slots=True)
class Acquisition(Message):
    """A tagger has started: UNIX time of its zero, and what its time bins are."""

    TYPE = 0x10
    LAYOUT = "ddqqdBB"
    host_time_s: float
    uncertainty_s: float
    start_ps: int  # events from here on exist
    origin_ps: int  # raw time of the instrument at time 0 (recordings whose clock starts late)
    resolution_ps: float
    host_stamped: int  # 0: a recording without host time; host_time_s is then unused
    provenance: int  # of tags and randomness: index into hal.tags.Provenance


@dataclass(frozen=True, slots=True)
class Request(Message):
    """Alice asks for ``[start_ps, end_ps)`` of Bob's clock, which she has recorded herself.

    nonce: random. It makes the request unpredictable: without it an attacker on the line could send
    Alice's next request early, read Bob's answer while Alice still measures, and deliver the
    genuine bytes later with their tag intact.
    """

    TYPE = 0x11
    LAYOUT = "IqqB8s"
    slot: int
    start_ps: int
    end_ps: int
    kind: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Announcement(Message):
    """Bob's answer: times with noise and nothing else, up to ``end_ps``. It has no events where his
    clicks were lost; the end is earlier than requested only when his input has ended.
    """

    TYPE = 0x12
    LAYOUT = "IBq"
    TAIL_BYTES = MAX_BULK_BYTES
    slot: int
    kind: int
    end_ps: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Paired(Message):
    """Bitmap over the announced events: 1 where Alice has a partner, whatever its basis."""

    TYPE = 0x13
    LAYOUT = "II"
    TAIL_BYTES = MAX_BULK_BYTES
    slot: int
    n_events: int
    bitmap: bytes


@dataclass(frozen=True, slots=True)
class Figures(Message):
    """Public figures that only Alice can compute, for Bob's display. JSON."""

    TYPE = 0x14
    TAIL_BYTES = MAX_JSON_BYTES
    body: bytes


@dataclass(frozen=True, slots=True)
class EndOfInput(Message):
    """The sender will announce no event after this time (its own clock)."""

    TYPE = 0x15
    LAYOUT = "q"
    end_ps: int


@dataclass(frozen=True, slots=True)
class CloseBlock(Message):
    """The first ``pairs`` pairs in order are block ``block``. Alice has written the attempt.

    hv_threshold, da_threshold: of the block's error rates, as she has them from earlier blocks, in
    steps of ``following.GRID``. Bob derives them as well; when his differ, the block is aborted
    with that reason.
    """

    TYPE = 0x20
    LAYOUT = "QIII"
    block: int
    pairs: int
    hv_threshold: int
    da_threshold: int


@dataclass(frozen=True, slots=True)
class BlockBases(Message):
    """Bob's bases of the block's pairs, one bit each. He has written the attempt.

    nonce: random. Without it an attacker on the line could answer for Bob while she still holds his
    photons, and deliver his genuine bytes later.
    """

    TYPE = 0x24
    LAYOUT = "Q16sI"
    TAIL_BYTES = MAX_BULK_BYTES
    block: int
    nonce: bytes
    pairs: int
    bases: bytes


@dataclass(frozen=True, slots=True)
class Sift(Message):
    """Which pairs were measured in the same basis, and Alice's side of all the others: her
    detector (one bit, the basis follows) and when it clicked, in steps of the disclosure."""

    TYPE = 0x25
    LAYOUT = "QII"
    TAIL_BYTES = MAX_BULK_BYTES
    block: int
    pairs: int
    disclosed: int
    body: bytes  # mask, detector bits, one signed byte of time each


@dataclass(frozen=True, slots=True)
class Disclosure(Message):
    """Bob's side of the pairs in different bases; and all of his bits of the test basis, where
    there is one."""

    TYPE = 0x21
    LAYOUT = "QII"
    TAIL_BYTES = MAX_BULK_BYTES
    block: int
    disclosed: int
    test_bits: int
    body: bytes  # detector bits, test bits; his times were announced


@dataclass(frozen=True, slots=True)
class Estimate(Message):
    """Alice's verdict was good: errors among the test bits (0 without any), and how Cascade starts
    on the strings of HV and DA; zeros for a string that makes no key."""

    TYPE = 0x22
    LAYOUT = "QIdd32s32s"
    block: int
    test_errors: int
    hv_hint: float
    da_hint: float
    hv_seed: bytes
    da_seed: bytes


@dataclass(frozen=True, slots=True)
class AbortBlock(Message):
    """No key from this block; ``reason`` (UTF-8) says why. Either side; both wipe it."""

    TYPE = 0x23
    LAYOUT = "Q"
    TAIL_BYTES = 512
    block: int
    reason: bytes


@dataclass(frozen=True, slots=True)
class CascadeRequest(Message):
    """Questions about the string of HV (so many bytes), then about the string of DA."""

    TYPE = 0x30
    LAYOUT = "I"
    TAIL_BYTES = MAX_BULK_BYTES
    hv_bytes: int
    body: bytes


@dataclass(frozen=True, slots=True)
class CascadeReply(Message):
    """Answers in the same order."""

    TYPE = 0x31
    LAYOUT = "I"
    TAIL_BYTES = MAX_BULK_BYTES
    hv_bytes: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Reconciled(Message):
    """Bob needs no more parities: how many bits he flipped in each string, in how many rounds."""

    TYPE = 0x32
    LAYOUT = "QIII"
    block: int
    hv_errors: int
    da_errors: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Verify(Message):
    """Universal hashes of Alice's strings at a fresh public point; and the leaks she counted."""

    TYPE = 0x33
    LAYOUT = "QQQ16s"
    TAIL_BYTES = 32
    block: int
    hv_leak_bits: int
    da_leak_bits: int
    point: bytes
    digests: bytes  # of HV, then of DA


@dataclass(frozen=True, slots=True)
class VerifyResult(Message):
    """Whether all strings are equal; and the positions of the pads that Bob has reserved for the
    block's two tags.
    """

    TYPE = 0x34
    LAYOUT = "QBQQ"
    block: int
    equal: int
    alice_pad: int
    bob_pad: int


@dataclass(frozen=True, slots=True)
class Amplify(Message):
    """Length, refill and the Toeplitz seeds drawn just now, under the block's first one-time tag.

    The tag covers both directions of the connection up to Verify and VerifyResult (so many
    bytes) and this message.
    """

    TYPE = 0x40
    LAYOUT = "QIIQQQ16s"
    TAIL_BYTES = MAX_BULK_BYTES
    block: int
    secret_bits: int
    refill_bytes: int  # per direction
    alice_bytes: int  # bytes of her direction that the tag covers
    bob_bytes: int
    pad: int  # position in Alice's pool
    tag: bytes
    seeds: bytes  # one seed for each string's key, joined


@dataclass(frozen=True, slots=True)
class Prepared(Message):
    """Bob has verified Amplify and stored the key: the block's second one-time tag."""

    TYPE = 0x41
    LAYOUT = "QQ16s"
    block: int
    pad: int  # position in Bob's pool
    tag: bytes


@dataclass(frozen=True, slots=True)
class Commit(Message):
    """Alice has verified Prepared and released the block: Bob releases it too."""

    TYPE = 0x42
    LAYOUT = "Q"
    block: int


MESSAGES: dict[int, type[Message]] = {
    cls.TYPE: cls
    for cls in (
        Hello,
        Proof,
        Refuse,
        Ping,
        Bye,
        Acquisition,
        Request,
        Announcement,
        Paired,
        Figures,
        EndOfInput,
        CloseBlock,
        BlockBases,
        Sift,
        Disclosure,
        Estimate,
        AbortBlock,
        CascadeRequest,
        CascadeReply,
        Reconciled,
        Verify,
        VerifyResult,
        Amplify,
        Prepared,
        Commit,
    )
}
STRANGERS = (Hello, Proof, Refuse)  # messages before a proof, or instead of it
LIMITS: dict[int, int] = {
    kind: cls.max_payload_bytes() + (0 if cls in STRANGERS else MAC_BYTES)
    for kind, cls in MESSAGES.items()
}
STRANGER_LIMITS: dict[int, int] = {cls.TYPE: cls.max_payload_bytes() for cls in STRANGERS}
PROVED_LIMITS: dict[int, int] = {
    kind: limit for kind, limit in LIMITS.items() if kind not in STRANGER_LIMITS
}


def decode(kind: int, payload: bytes | memoryview) -> Message:
    """The message in a frame. Raises ProtocolError."""
    cls = MESSAGES.get(kind)
    if cls is None:
        raise ProtocolError("unknown_message", f"no message has type {kind:#04x}")
    return cls.decode(payload)


def canonical_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def parse_json(body: bytes, what: str) -> dict[str, Any]:
    """A JSON object, or a ProtocolError: never another exception, whatever the bytes."""
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("malformed_message", f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise ProtocolError("malformed_message", f"{what} is not a JSON object")
    return value
