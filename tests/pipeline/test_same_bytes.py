"""The same seeds give the same bytes: a whole conversation of two sessions, against its digest.

An optimisation must not change what a station sends: noised times, slots, announcements, pairs,
bases, marks, parities, seeds, lengths. Not included: figures for displays, and tags and MACs, which
follow from the rest. A change of the wire protocol changes the digest on purpose.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from clicks import Bench
from link import SMALL, Node, Wire, feed, message_of

from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.messages import STRANGERS, Amplify, Figures, Prepared
from photonlink.pipeline.protocol.setup import Role

BENCH = Bench(
    duration_s=3.0, pairs_hz=20_000, singles_a_hz=30_000, singles_b_hz=30_000, offset_s=0.01
)
PARAMETERS = replace(
    SMALL, first_block_sifted_bits=4_000, block_sifted_bits=10_000, hardware_hold_off=1
)
WIRE_3 = "2bad94cfc5dd81d91f086f8eab0c9a65ad53277198095d9173f4d28c09cbde43"


def fixed_psk() -> PreSharedKey:
    secret = bytearray(hashlib.shake_256(b"same bytes").digest(4096))
    return PreSharedKey("00" * 16, SecretBits.take(secret))


def conversation() -> tuple[str, int, int]:
    """Digest of the messages, their number, bits of key."""
    nodes = [Node(role, fixed_psk(), parameters=PARAMETERS) for role in Role]
    wire = Wire(*nodes)
    wire.connect()
    feed(wire, BENCH)
    digest, count = hashlib.sha256(), 0
    for sender, frame in wire.log:
        message = message_of(frame)
        if isinstance(message, (*STRANGERS, Figures, Prepared)):
            continue
        if isinstance(message, Amplify):
            message = replace(message, tag=bytes(16))
        digest.update(f"{sender} {message!r}".encode())
        count += 1
    return digest.hexdigest(), count, sum(report.net_bits for report in nodes[0].reports)


def test_the_same_seeds_give_the_same_bytes() -> None:
    digest, messages, bits = conversation()
    assert messages > 100
    assert bits > 500
    assert digest == WIRE_3
