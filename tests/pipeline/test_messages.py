"""Frames and messages: exact round trips, bounded memory, named refusals."""

from __future__ import annotations

import contextlib
import dataclasses
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photonlink.pipeline.protocol.channel.framing import (
    HEADER_BYTES,
    FrameReader,
    ProtocolError,
    encode_frame,
)
from photonlink.pipeline.protocol.messages import (
    LIMITS,
    MESSAGES,
    PROVED_LIMITS,
    STRANGER_LIMITS,
    Announcement,
    Commit,
    Estimate,
    Message,
    Ping,
    canonical_json,
    decode,
    parse_json,
)
from photonlink.pipeline.stages.agreed import AgreedParameters, ParametersError, differences


def example(cls: type[Message]) -> Message:
    """A message with a different value in every field."""
    values: list[object] = []
    fields = [f.name for f in dataclasses.fields(cls)]
    fixed = fields[:-1] if cls.TAIL_BYTES else fields
    sizes = struct.unpack("<" + cls.LAYOUT, bytes(range(1, 1 + struct.calcsize("<" + cls.LAYOUT))))
    for n, (name, raw) in enumerate(zip(fixed, sizes, strict=True)):
        values.append(raw if isinstance(raw, bytes | int) else 0.5 + n)
        assert name
    if cls.TAIL_BYTES:
        values.append(b"tail")
    return cls(*values)


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_every_message_comes_back_as_it_was(kind: int) -> None:
    message = example(MESSAGES[kind])
    frame = message.encode()
    assert decode(frame[0], frame[HEADER_BYTES:]) == message
    assert frame[0] == kind
    assert int.from_bytes(frame[1:4], "big") == len(frame) - HEADER_BYTES


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_a_wrong_length_is_malformed(kind: int) -> None:
    cls = MESSAGES[kind]
    size = struct.calcsize("<" + cls.LAYOUT)
    wrong = [size - 1] if size else []
    wrong += [] if cls.TAIL_BYTES else [size + 1]
    for length in wrong:
        with pytest.raises(ProtocolError) as caught:
            decode(kind, bytes(length))
        assert caught.value.code == "malformed_message"


def test_numbers_that_are_not_finite_are_refused() -> None:
    frame = Estimate(1, 2, 0.02, float("nan"), bytes(32), bytes(32)).encode()
    with pytest.raises(ProtocolError):
        decode(frame[0], frame[HEADER_BYTES:])


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_any_division_of_the_stream_gives_the_same_frames(
    bodies: list[bytes], data: st.DataObject
) -> None:
    kind = Announcement.TYPE
    stream = b"".join(encode_frame(kind, body) for body in bodies)
    reader, found, at = FrameReader(LIMITS), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 64))
        found += [payload for _, payload, _ in reader.feed(stream[at : at + step])]
        at += step
    assert found == bodies
    assert reader.pending_bytes == 0


def test_an_unknown_type_and_a_lying_length_are_refused_before_any_byte_is_waited_for() -> None:
    for header, code in (
        (b"\xee\x00\x00\x00", "unknown_message"),
        (bytes((Ping.TYPE,)) + b"\x00\x00\x11", "oversize_message"),
        (bytes((Commit.TYPE,)) + b"\xff\xff\xff", "oversize_message"),
    ):
        reader = FrameReader(LIMITS)
        with pytest.raises(ProtocolError) as caught:
            list(reader.feed(header))
        assert caught.value.code == code


def test_memory_is_bounded_by_the_longest_message() -> None:
    assert max(LIMITS.values()) < (15 << 20) + 128
    assert max(STRANGER_LIMITS.values()) <= 4096
    assert not STRANGER_LIMITS.keys() & PROVED_LIMITS.keys()
    reader = FrameReader(LIMITS)
    limit = LIMITS[Announcement.TYPE]
    header = bytes((Announcement.TYPE,)) + limit.to_bytes(3, "big")
    assert list(reader.feed(header + bytes(limit - 1))) == []
    assert reader.pending_bytes == HEADER_BYTES + limit - 1
    assert len(list(reader.feed(b"\0"))) == 1
    assert reader.pending_bytes == 0


@given(st.binary(max_size=200))
def test_json_is_an_object_or_a_protocol_error(body: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(parse_json(body, "test"), dict)


def test_deep_json_does_not_exhaust_the_stack() -> None:
    with pytest.raises(ProtocolError):
        parse_json(b"[" * 16_000, "test")


def test_json_is_canonical() -> None:
    assert canonical_json({"b": 1, "a": 0.1}) == b'{"a":0.1,"b":1}'


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("q_tol", 0.5), ("q_tol", float("nan")), ("block_sifted_bits", 10), ("slot_s", True),
        ("block_sifted_bits", 1e5), ("eps_sec", 0.0), ("max_rounds", "5"), ("leak_factor", 0.5),
    ],
)  # fmt: skip
def test_an_impossible_parameter_is_named(name: str, value: object) -> None:
    with pytest.raises(ParametersError) as caught:
        AgreedParameters(**{name: value})  # type: ignore[arg-type]
    assert caught.value.parameter == name


def test_differences_name_what_is_missing_too() -> None:
    own = AgreedParameters().as_dict()
    peer = {**own, "q_tol": 0.07, "new": 1}
    del peer["slot_s"]
    assert [d.name for d in differences(own, peer)] == ["new", "q_tol", "slot_s"]
    assert differences(own, dict(own)) == []
