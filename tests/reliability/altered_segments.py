"""Altered segments against the tags: none may pass.

    python tests/reliability/altered_segments.py [--count 1000000] [--seed 1]

Segments of both directions are changed (a bit, a byte, cut, longer, two frames exchanged, a frame
twice, the other direction's, another pad position, another Amplify) and checked with a fresh copy
of the same pad, as a receiver does; every tenth is a frame under the early MAC. Exits with 1 when
one passes, or when an unaltered one does not.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.channel.authentication import LineHashes
from photonlink.pipeline.protocol.channel.frame_mac import FrameMac
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.messages import Commit

SESSION = bytes(range(32))
Frames = list[bytes]


class Segments:
    """One segment per direction, Amplify, and the tag that belongs to them."""

    def __init__(self, rng: random.Random, psk: PreSharedKey) -> None:
        self.rng, self.psk = rng, psk
        self.alice = [rng.randbytes(rng.choice((4, 20, 33, 200))) for _ in range(3)]
        self.bob = [rng.randbytes(rng.choice((4, 20, 33, 200))) for _ in range(3)]
        self.amplify = rng.randbytes(80)
        self.position = 16 * rng.randrange(8)
        self.tag = self.tag_of(self.alice, self.bob, self.amplify, self.position)

    def tag_of(self, alice: Frames, bob: Frames, amplify: bytes, position: int) -> bytes:
        hashes = LineHashes(self.psk, SESSION, "bob")
        for frame in alice:
            hashes.received.absorb(frame)
        for frame in bob:
            hashes.sent.absorb(frame)
        covered = hashes.cut()
        try:
            with self.psk.pad("alice", False, position, 16) as pad:
                return covered.alice_tag(amplify, pad, position)
        finally:
            covered.close()
            hashes.close()

    def altered(self) -> tuple[Frames, Frames, bytes, int]:
        """The same with one change."""
        rng, alice, bob = self.rng, list(self.alice), list(self.bob)
        amplify, position = self.amplify, self.position
        side, at = rng.choice((alice, bob)), rng.randrange(3)
        kind = rng.randrange(9)
        if kind < 3:
            side[at] = flipped(rng, side[at])
        elif kind == 3:
            side[at] = side[at][: rng.randrange(len(side[at]))]
        elif kind == 4:
            side[at] += bytes(rng.randrange(1, 20))
        elif kind == 5:
            side[0], side[1] = side[1], side[0]
        elif kind == 6:
            side.insert(at, side[at])
        elif kind == 7:
            amplify = flipped(rng, amplify)
        else:
            alice, bob = bob, alice
        if (b"".join(alice), b"".join(bob)) == (b"".join(self.alice), b"".join(self.bob)):
            amplify = flipped(rng, self.amplify)
        return alice, bob, amplify, position


def flipped(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def frame_passes(rng: random.Random, psk: PreSharedKey) -> bool:
    """A frame under the early MAC, with one bit changed."""
    frame = FrameMac(psk, SESSION, "alice").close_frame(Commit(rng.randrange(1 << 40)))
    FrameMac(psk, SESSION, "alice").open_frame(frame)
    try:
        FrameMac(psk, SESSION, "alice").open_frame(flipped(rng, frame))
    except ProtocolError:
        return False
    return True


def run(count: int, seed: int) -> tuple[int, int]:
    """How many passed, and how many unaltered ones did not."""
    rng, passed, refused = random.Random(seed), 0, 0
    psk = PreSharedKey.generate(4096)
    segments = Segments(rng, psk)
    for number in range(count):
        if number % 1000 == 0:
            segments = Segments(rng, psk)
            again = segments.tag_of(
                segments.alice, segments.bob, segments.amplify, segments.position
            )
            refused += again != segments.tag
        if number % 10 == 9:
            passed += frame_passes(rng, psk)
        else:
            passed += segments.tag_of(*segments.altered()) == segments.tag
    psk.close()
    return passed, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begin = time.perf_counter()
    passed, refused = run(options.count, options.seed)
    print(
        f"{options.count} altered segments and frames: {passed} passed; {refused} unaltered ones "
        f"refused; {time.perf_counter() - begin:.0f} s"
    )
    return int(passed + refused > 0)


if __name__ == "__main__":
    sys.exit(main())
