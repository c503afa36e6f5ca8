"""Altered segments of real conversations against the tags and the early MAC: none may pass.

    python tests/reliability/altered_segments.py [--count 1000000] [--seed 1] [--conversations 6]

Conversations are run and the inputs of the authenticator at both ends are kept: the frames of every
segment in both directions, Amplify, the covered fields of Prepared, pads and tags. Then each is
changed (one bit anywhere; frames cut, longer, left out, repeated, exchanged, moved to the other
direction, taken from another conversation; another session, segment, pad position, Amplify or tag)
and checked by the receiver's own code against a fresh copy of the same pad. Every tenth is a frame
under the early MAC. Exits with 1 when an altered one passes, or an unaltered one does not.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))

import pytest
from link import BENCH, SMALL, Wire, feed, keys, narrow_clock_search, pair

from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.channel import authentication
from photonlink.pipeline.protocol.channel.authentication import (
    ROLES,
    Covered,
    LineHashes,
    bob_tag,
)
from photonlink.pipeline.protocol.channel.frame_mac import FrameMac
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import STRANGERS

ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)
LIGHT = replace(BENCH, duration_s=1.6)
Frames = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """Alice's tag of a block, and the data that it covers."""

    session: bytes
    number: int
    alice: Frames
    bob: Frames
    amplify: bytes
    position: int
    tag: bytes

    def passes(self, psk: PreSharedKey) -> bool:
        """Whether Bob's check accepts the tag."""
        hashes = LineHashes(psk, self.session, "bob")
        for _ in range(self.number):
            hashes.cut().close()
        for side, frames in ((hashes.received, self.alice), (hashes.sent, self.bob)):
            for frame in frames:
                side.absorb(frame)
        covered = hashes.cut()
        hashes.close()
        try:
            with psk.pad("alice", False, self.position, 16) as pad:
                return covered.check_alice_tag(self.tag, self.amplify, pad, self.position)
        finally:
            covered.close()

    def same_bytes(self, other: Segment) -> bool:
        """Whether both cover the same bytes; frame boundaries follow from the frames' headers."""
        mine = (b"".join(self.alice), b"".join(self.bob))
        return mine == (b"".join(other.alice), b"".join(other.bob)) and replace(
            self, alice=(), bob=()
        ) == replace(other, alice=(), bob=())


@dataclass(frozen=True, slots=True)
class Answer:
    """Bob's tag of a block, and the data that it covers."""

    said: bytes
    position: int
    tag: bytes

    def passes(self, psk: PreSharedKey) -> bool:
        with psk.pad("bob", False, self.position, 16) as pad:
            return bob_tag(psk, self.said, pad, self.position) == self.tag


@dataclass(frozen=True, slots=True)
class Sealed:
    """A frame under the early MAC, and its number in its direction."""

    session: bytes
    direction: str
    number: int
    frame: bytes

    def passes(self, psk: PreSharedKey) -> bool:
        mac = FrameMac(psk, self.session, self.direction)
        mac._number = self.number
        try:
            mac.open_frame(self.frame)
        except ProtocolError:
            return False
        return True


@dataclass
class Heard:
    """Everything of one conversation that a tag or a MAC covers."""

    psk: PreSharedKey
    segments: list[Segment] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    frames: list[Sealed] = field(default_factory=list)


def listen(seed: int) -> Heard:
    """Run a conversation of two real sessions; keep what Bob's end checks."""
    psk = PreSharedKey.generate(4096)
    heard, chunks = Heard(psk.copy()), dict[int, list[bytes]]()
    absorb, check, cut = (
        authentication._Direction._absorb, Covered.check_alice_tag, LineHashes.cut,
    )  # fmt: skip

    def keep(self: authentication._Direction, data: bytes) -> None:
        if not self.bytes:  # prefix of a segment
            chunks[id(self)] = []
        else:
            chunks[id(self)].append(data)
        absorb(self, data)

    def freeze(self: LineHashes) -> Covered:
        number = self.sent._segment
        kept = {role: tuple(chunks[id(self._directions[role])]) for role in ROLES}
        covered = cut(self)
        frozen[id(covered)] = (covered, self.session_id, number, kept)
        return covered

    def checked(self: Covered, tag: bytes, amplify: bytes, pad: SecretBits, position: int) -> bool:
        _, session, number, kept = frozen[id(self)]
        heard.segments.append(
            Segment(session, number, kept["alice"], kept["bob"], amplify, position, tag)
        )
        return check(self, tag, amplify, pad, position)

    def answered(psk: PreSharedKey, said: bytes, pad: SecretBits, position: int) -> bytes:
        tag = bob_tag(psk, said, pad, position)
        heard.answers.append(Answer(said, position, tag))
        return tag

    frozen: dict[int, tuple[Covered, bytes, int, dict[str, Frames]]] = {}
    with narrow_clock_search(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(authentication._Direction, "_absorb", keep)
        patch.setattr(Covered, "check_alice_tag", checked)
        patch.setattr(LineHashes, "cut", freeze)
        patch.setattr(authentication, "bob_tag", answered)
        alice, bob = pair(psk, parameters=ONE_BLOCK, seed=seed)
        wire = Wire(alice, bob)
        wire.connect()
        assert alice.session._line is not None
        session = alice.session._line.session_id
        feed(wire, replace(LIGHT, seed=seed % 7))
    assert keys(alice) == keys(bob) != {}
    said: Counter[str] = Counter()
    for sender, frame in wire.log:
        if frame[0] not in {cls.TYPE for cls in STRANGERS}:
            heard.frames.append(Sealed(session, str(sender), said[sender], frame))
            said[sender] += 1
    return heard


def flipped(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(8 * len(data))
    return data[: at // 8] + bytes((data[at // 8] ^ 1 << at % 8,)) + data[at // 8 + 1 :]


def altered_frames(rng: random.Random, frames: Frames, foreign: Frames) -> Frames:
    """The frames of one direction with one change."""
    at, kind = rng.randrange(len(frames)), rng.randrange(9)
    one, rest = frames[at], list(frames)
    if kind < 3:
        rest[at] = flipped(rng, one)
    elif kind == 3:
        rest[at] = one[: rng.randrange(len(one))]
    elif kind == 4:
        rest[at] = one + rng.randbytes(rng.randrange(1, 33))
    elif kind == 5:
        del rest[at]
    elif kind == 6:
        rest.insert(rng.randrange(len(rest)), one)
    elif kind == 7:
        other = rng.randrange(len(rest))
        rest[at], rest[other] = rest[other], rest[at]
    else:
        rest[at] = rng.choice(foreign)
    return tuple(rest)


def altered_segment(rng: random.Random, one: Segment, other: Segment) -> tuple[str, Segment]:
    """The segment with one change, and its kind. ``other``: of another conversation or block."""
    kind = rng.choice(("alice", "alice", "bob", "bob", "amplify", "tag", "place", "moved"))
    if kind == "alice":
        return kind, replace(one, alice=altered_frames(rng, one.alice, other.alice))
    if kind == "bob":
        return kind, replace(one, bob=altered_frames(rng, one.bob, other.bob))
    if kind == "amplify":
        longer = one.amplify + bytes(rng.randrange(1, 17))
        cut = one.amplify[: -rng.randrange(1, len(one.amplify))]
        which = (flipped(rng, one.amplify), flipped(rng, one.amplify), longer, cut, other.amplify)
        return kind, replace(one, amplify=rng.choice(which))
    if kind == "tag":
        which = (flipped(rng, one.tag), other.tag, bytes(16), rng.randbytes(16))
        return kind, replace(one, tag=rng.choice(which))
    if kind == "place":
        return kind, rng.choice(
            (
                replace(one, position=16 * rng.randrange(64)),
                replace(one, session=flipped(rng, one.session)),
                replace(one, session=one.session[16:] + one.session[:16]),
                replace(one, number=one.number + 1),
            )
        )
    swapped = replace(one, alice=one.bob, bob=one.alice)
    across = replace(one, alice=(*one.alice, one.bob[0]), bob=one.bob[1:])
    return kind, rng.choice((swapped, across, replace(other, tag=one.tag)))


def altered(rng: random.Random, heard: list[Heard], number: int) -> tuple[str, bool]:
    """Alter one item; the kind of change, and whether it passed."""
    here, there = rng.sample(heard, 2)
    if number % 10 == 9:
        sealed = rng.choice(here.frames)
        changed = rng.choice(
            (
                replace(sealed, frame=flipped(rng, sealed.frame)),
                replace(sealed, number=sealed.number + 1),
                replace(sealed, direction="bob" if sealed.direction == "alice" else "alice"),
                replace(sealed, frame=sealed.frame[:-1]),
                replace(sealed, session=there.frames[0].session),
            )
        )
        return "frame under the MAC", changed.passes(here.psk)
    if number % 10 == 8:
        answer, foreign = rng.choice(here.answers), rng.choice(there.answers)
        other = rng.choice(
            (
                replace(answer, said=flipped(rng, answer.said)),
                replace(answer, said=foreign.said),
                replace(answer, tag=flipped(rng, answer.tag)),
                replace(answer, position=answer.position + 16),
            )
        )
        return "answer", other.passes(here.psk)
    one = rng.choice(here.segments)
    kind, segment = altered_segment(rng, one, rng.choice(there.segments))
    if segment.same_bytes(one):
        kind, segment = "amplify", replace(one, amplify=flipped(rng, one.amplify))
    return kind, segment.passes(here.psk)


def run(count: int, seed: int, conversations: int) -> tuple[Counter[str], int, int]:
    """Numbers of tries by kind, of alterations that passed, of unaltered items that failed."""
    rng, tried, passed, refused = random.Random(seed), Counter[str](), 0, 0
    heard = [listen(seed + n) for n in range(conversations)]
    for number in range(count):
        if number % max(1, count // 20) == 0:
            for one in heard:
                things = (*one.segments, *one.answers, *one.frames)
                refused += sum(not thing.passes(one.psk) for thing in things)
        kind, wrong = altered(rng, heard, number)
        tried[kind] += 1
        passed += wrong
    for one in heard:
        one.psk.close()
    return tried, passed, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--conversations", type=int, default=6)
    options = parser.parse_args()
    begin = time.perf_counter()
    tried, passed, refused = run(options.count, options.seed, max(2, options.conversations))
    kinds = ", ".join(f"{kind} {n}" for kind, n in tried.most_common())
    print(
        f"{options.count} altered: {passed} passed; {refused} unaltered ones refused; "
        f"{time.perf_counter() - begin:.0f} s ({kinds})"
    )
    return int(passed + refused > 0)


if __name__ == "__main__":
    sys.exit(main())
