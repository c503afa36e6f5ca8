"""Fuzz test of Session.receive with altered real conversations, before and after Proof.

    python tests/reliability/fuzz_session.py --seconds 600 [--seed 1]

Two sessions communicate; every frame may be changed, cut, doubled, dropped, moved or replaced by
another message with a valid MAC (as if Eve had broken the early authentication). Nothing may raise,
keys must not differ, and no pad may be used for two tags.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))

from forger import Forger, changed_field
from link import BENCH, SMALL, Wire, feed, keys, narrow_clock_search, pair
from test_session_faults import PadOracle, assert_safe

from photonlink.pipeline.protocol.messages import MESSAGES, STRANGERS, Message
from photonlink.pipeline.protocol.setup import Role

ONE_BLOCK = replace(SMALL, block_sifted_bits=4_000)
SHORT = replace(BENCH, duration_s=1.0)
PROVED = [cls for cls in MESSAGES.values() if not issubclass(cls, STRANGERS)]


def any_message(rng: random.Random) -> Message:
    """A message of random type with random valid fields."""
    cls = rng.choice(PROVED)
    values: list[object] = []
    for field in dataclasses.fields(cls):
        kind = str(field.type)
        if kind == "bytes":
            values.append(rng.randbytes(rng.choice((0, 1, 16, 300))))
        elif kind == "float":
            values.append(rng.choice((0.0, 1.0, -1e300, 1e300, 9e6)))
        else:
            values.append(rng.choice((0, 1, 2, 255)))
    return cls(*values)


def altered(rng: random.Random, message: Message) -> list[Message] | None:
    roll = rng.random()
    fields = [f.name for f in dataclasses.fields(message)]
    if roll < 0.4 and fields:
        return [changed_field(message, rng.choice(fields))]
    if roll < 0.6:
        return [any_message(rng)]
    if roll < 0.7:
        return [message, any_message(rng)]
    if roll < 0.8:
        return [message, message]
    return [] if roll < 0.9 else None


def one(seed: int) -> tuple[int, int]:
    """Run one conversation; the number of frames, and of altered ones."""
    rng = random.Random(seed)
    alice, bob = pair(parameters=ONE_BLOCK, seed=seed)
    oracle, touched = PadOracle(), 0
    rate = rng.choice((0.003, 0.02, 0.2))

    def alter(sender: Role, message: Message) -> list[Message] | None:
        nonlocal touched
        if rng.random() > rate:
            return [message]
        touched += 1
        return altered(rng, message)

    forger = Forger(alice.psk, alter)

    def hook(n: int, sender: Role, data: bytes) -> list[bytes] | None:
        oracle.watch(sender, data)
        if rng.random() < rate / 10:  # without a valid MAC
            at = rng.randrange(len(data))
            return [data[:at] + rng.randbytes(1) + data[at + 1 :]]
        try:
            return forger(n, sender, data)
        except Exception as error:
            if "photonlink" in type(error).__module__ or isinstance(error, AssertionError):
                raise
            return []

    wire = Wire(alice, bob, hook)
    for _ in range(3):
        wire.now_s += 70.0
        wire.connect()
        feed(wire, replace(SHORT, seed=seed % 5), end=False)
        assert_safe(alice, bob)
        wire.cut()
    shared = keys(alice).keys() & keys(bob).keys()
    assert all(keys(alice)[block] == keys(bob)[block] for block in shared)
    return wire.count, touched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    end, seed, frames, touched = time.monotonic() + options.seconds, options.seed, 0, 0
    with narrow_clock_search():
        while time.monotonic() < end:
            try:
                found = one(seed)
            except BaseException:
                print(f"seed {seed} fails")
                raise
            frames, touched, seed = frames + found[0], touched + found[1], seed + 1
    done = seed - options.seed
    print(f"{done} conversations, {frames} frames, {touched} altered: nothing raised")


if __name__ == "__main__":
    main()
