"""The attacks on the classical channel. The light is honest: whatever Eve does, she must know no
bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from photonlink.pipeline.attacks import forging
from photonlink.pipeline.attacks.entry import AttackEntry, Draw, Parameters
from photonlink.pipeline.attacks.link import Hook, Line
from photonlink.pipeline.protocol.channel.framing import HEADER_BYTES, encode_frame
from photonlink.pipeline.protocol.messages import (
    Acquisition,
    Amplify,
    Announcement,
    Commit,
    Figures,
    Ping,
    Prepared,
    Request,
)
from photonlink.pipeline.protocol.setup import Role

FORGED_MAC = bytes(16)
MOST_FRAMES = 20_000  # most frames in a run: ends an exchange that would be endless


def _every(p: Parameters, change: Callable[[np.random.Generator, bytes], list[bytes]]) -> Hook:
    """Changes a frame with probability ``share``, from frame ``start`` on."""
    rng = np.random.default_rng(int(p["seed"]))

    def hook(n: int, sender: Role, frame: bytes) -> list[bytes] | None:
        if n > MOST_FRAMES:
            return []
        if n < p["start"] or rng.random() >= p["share"]:
            return [frame]
        return change(rng, frame)

    return hook


def _altered(p: Parameters) -> Hook:
    def change(rng: np.random.Generator, frame: bytes) -> list[bytes]:
        bits = bytearray(frame)
        at = int(rng.integers(0, 8 * len(bits)))
        bits[at // 8] ^= 1 << at % 8
        return [bytes(bits)]

    return _every(p, change)


def _truncated(p: Parameters) -> Hook:
    return _every(p, lambda rng, frame: [frame[: int(rng.integers(0, len(frame)))]])


def _dropped(p: Parameters) -> Hook:
    return _every(p, lambda rng, frame: [])


def _replayed(p: Parameters) -> Hook:
    """Sends an earlier frame of the same direction again."""
    rng = np.random.default_rng(int(p["seed"]))
    seen: dict[Role, list[bytes]] = {Role.ALICE: [], Role.BOB: []}

    def hook(n: int, sender: Role, frame: bytes) -> list[bytes] | None:
        earlier = seen[sender]
        earlier.append(frame)
        if n > MOST_FRAMES:
            return []
        if n < p["start"] or rng.random() >= p["share"]:
            return [frame]
        return [frame, earlier[int(rng.integers(0, len(earlier)))]]

    return hook


def _reordered(p: Parameters) -> Hook:
    """A frame is held back until ``depth`` later ones have passed in its direction."""
    rng = np.random.default_rng(int(p["seed"]))
    held: dict[Role, list[bytes]] = {Role.ALICE: [], Role.BOB: []}

    def hook(n: int, sender: Role, frame: bytes) -> list[bytes] | None:
        if n > MOST_FRAMES:
            return []
        waiting = held[sender]
        if waiting:
            waiting.insert(0, frame)
            if len(waiting) <= p["depth"]:
                return []
            out, held[sender] = waiting, []
            return out
        if n >= p["start"] and rng.random() < p["share"]:
            held[sender] = [frame]
            return []
        return [frame]

    return hook


def _reflected(p: Parameters) -> Hook:
    """Returns a frame to its sender, in place of the next frame from the other end."""
    rng = np.random.default_rng(int(p["seed"]))
    last: dict[Role, bytes] = {}

    def hook(n: int, sender: Role, frame: bytes) -> list[bytes] | None:
        last[sender] = frame
        if n > MOST_FRAMES:
            return []
        if n < p["start"] or rng.random() >= p["share"] or sender.peer not in last:
            return [frame]
        return [last[sender.peer]]

    return hook


def _forged_frames(sender: Role) -> list[bytes]:
    """Attacks C1 and H4: messages made without a key, some with values beyond every bound."""
    messages = (
        Acquisition(9e6, 1.0, 0, 0, 1.0, 1, 0),
        Acquisition(1e300, 1e300, 1 << 62, 1 << 62, 1e300, 255, 255),
        Request(0, 0, 10**11, 1, bytes(8)),
        Announcement(0, 1, 0, b"\xff" * 64),
        Figures(b'{"coincidences_hz": 1' + b"0" * 400 + b"}"),
        Prepared(1, 0, bytes(16)),
        Commit(1),
    )
    kept = messages[2:3] if sender is Role.ALICE else messages
    return [encode_frame(m.TYPE, m.encode()[HEADER_BYTES:] + FORGED_MAC) for m in kept]


def _inserted(p: Parameters) -> Hook:
    rng = np.random.default_rng(int(p["seed"]))

    def hook(n: int, sender: Role, frame: bytes) -> list[bytes] | None:
        if n > MOST_FRAMES:
            return []
        if n < p["start"] or rng.random() >= p["share"]:
            return [frame]
        forged = _forged_frames(sender)
        return [frame, forged[int(rng.integers(0, len(forged)))]]

    return hook


def _cut_at(kinds: tuple[type, ...]) -> Callable[[Parameters], Hook]:
    """The line breaks at each of these messages, ``times`` times."""
    types = {kind.TYPE for kind in kinds}  # type: ignore[attr-defined]

    def make(p: Parameters) -> Hook:
        left = int(p["times"])

        def hook(n: int, sender: Role, frame: bytes) -> list[bytes] | None:
            nonlocal left
            if n > MOST_FRAMES:
                return []
            if frame[0] in types and left > 0:
                left -= 1
                return None
            return [frame]

        return hook

    return make


def _silent(p: Parameters) -> Hook:
    """M3: from a frame on, everything is swallowed but Pings."""

    def hook(n: int, sender: Role, frame: bytes) -> list[bytes] | None:
        return [frame] if n < p["start"] or frame[0] == Ping.TYPE else []

    return hook


def _wait(p: Parameters) -> Callable[[Line], None]:
    """Lets virtual time pass, so that deadlines expire."""

    def step(line: Line) -> None:
        for _ in range(round(p["wait_s"] * 10)):
            line.tick()

    return step


def _delayed(p: Parameters) -> Callable[[Line], None]:
    """Everything waits for ``wait_s`` every ``every`` steps, in its order."""

    def step(line: Line) -> None:
        line.steps += 1
        if line.steps % int(p["every"]) == 0:
            line.frozen = True
            for _ in range(round(p["wait_s"] * 10)):
                line.tick()
            line.frozen = False
            line.run()

    return step


def _knocking(p: Parameters) -> Callable[[Line], None]:
    """M4: strangers connect to both ends all the time; some talk, some are silent."""
    rng, known = np.random.default_rng(int(p["seed"])), iter(range(1, 1 << 30))

    def step(line: Line) -> None:
        for role in Role:
            for _ in range(int(p["streams"])):
                stream = next(known)
                line.give(role, lambda s, k=stream: s.connected(line.now_s, k))  # type: ignore[misc]
                said = rng.bytes(int(rng.integers(0, 64)))
                line.give(role, lambda s, k=stream, d=said: s.receive(d, line.now_s, k))  # type: ignore[misc]

    return step


def _restored(p: Parameters) -> Callable[[Line], None]:
    """H2: the line is cut, and these ends go back to a copy of their store from before."""
    ends = {"alice": (Role.ALICE,), "bob": (Role.BOB,), "both": tuple(Role)}[p["whose"]]

    def step(line: Line) -> None:
        line.steps += 1
        if line.steps == round(10 * p["copy_s"]):
            for role in ends:
                line.ends[role].take_copy()
        elif line.steps == round(10 * p["back_s"]):
            line.cut()
            for role in ends:
                line.ends[role].go_back()

    return step


def _draw(rng: Draw) -> Parameters:
    return {
        "seed": int(rng.integers(0, 1 << 31)),
        "share": float(np.round(10 ** rng.uniform(-3, 0), 5)),
        "start": int(rng.integers(1, 400)),
    }


def _drawn_depth(rng: Draw) -> Parameters:
    return _draw(rng) | {"depth": int(rng.integers(1, 5))}


def _drawn_times(rng: Draw) -> Parameters:
    return {"times": int(rng.integers(1, 6))}


def _drawn_delay(rng: Draw) -> Parameters:
    return {"wait_s": float(np.round(rng.uniform(0.1, 6.0), 2)), "every": int(rng.integers(2, 9))}


def _drawn_copy(rng: Draw) -> Parameters:
    copy = float(np.round(rng.uniform(0.1, 2.0), 1))
    whose = str(rng.choice(["alice", "bob"]))
    return {"whose": whose, "copy_s": copy, "back_s": copy + float(rng.integers(3, 8)) / 10}


_SOME = {"seed": 1, "share": 0.02, "start": 20}

ATTACKS: tuple[AttackEntry, ...] = (
    AttackEntry(
        "altered", (), "a bit of a frame is flipped", defaults=_SOME, draw=_draw, hook=_altered
    ),
    AttackEntry(
        "truncated",
        (),
        "the end of a frame is cut off",
        defaults=_SOME,
        draw=_draw,
        hook=_truncated,
    ),
    AttackEntry("dropped", (), "frames vanish", defaults=_SOME, draw=_draw, hook=_dropped),
    AttackEntry(
        "replayed", (), "earlier frames come again", defaults=_SOME, draw=_draw, hook=_replayed
    ),
    AttackEntry(
        "reordered",
        (),
        "frames overtake each other",
        defaults=_SOME | {"depth": 2},
        draw=_drawn_depth,
        hook=_reordered,
        must_alarm=True,
    ),
    AttackEntry(
        "reflected",
        (),
        "an end's frames come back to it",
        defaults=_SOME,
        draw=_draw,
        hook=_reflected,
    ),
    AttackEntry(
        "inserted",
        ("C1", "H3", "H4"),
        "forged messages, beyond every bound among them",
        defaults=_SOME,
        draw=_draw,
        hook=_inserted,
    ),
    *(
        AttackEntry(
            f"cut_at_{message.__name__.lower()}",
            ("M5",),
            f"the line breaks at {message.__name__}",
            defaults={"times": 3},
            draw=_drawn_times,
            hook=_cut_at((message,)),
        )
        for message in (Amplify, Prepared, Commit)
    ),
    AttackEntry(
        "forged_fields",
        ("C1", "H4"),
        "a field of a message is another, under a right MAC: the early authentication is broken",
        defaults=_SOME | {"share": 0.05},
        draw=_draw,
        forge=forging.fields,
        must_alarm=True,
    ),
    AttackEntry(
        "forged_bounds",
        ("H3",),
        "numbers, lengths and times beyond every bound, under a right MAC",
        defaults=_SOME,
        draw=_draw,
        forge=forging.bounds,
        must_alarm=True,
    ),
    AttackEntry(
        "forged_tags",
        ("M5",),
        "one-time tags are wrong, under a right MAC: pads burn, two a try",
        defaults={"times": 2},
        draw=_drawn_times,
        forge=forging.tags,
        must_alarm=True,
        names="authentication_failed",
    ),
    AttackEntry(
        "delayed",
        (),
        "everything waits, in its order",
        defaults={"wait_s": 3.0, "every": 4},
        draw=_drawn_delay,
        step=_delayed,
    ),
    AttackEntry(
        "strangers",
        ("M4",),
        "strangers connect to both ends, tens of them a second; some talk",
        defaults={"streams": 5, "seed": 1},
        step=_knocking,
        must_key=True,
    ),
    *(
        AttackEntry(
            f"restored_{whose}",
            ("H2",),
            f"{whose}'s store is put back to an earlier copy while the line is down",
            defaults={"whose": whose, "copy_s": 1.4, "back_s": 2.2},
            draw=_drawn_copy if whose == "bob" else None,
            step=_restored,
            must_alarm=True,
            names="ledger_rolled_back",
        )
        for whose in ("alice", "bob")
    ),
    AttackEntry(
        "restored_both",
        ("H2",),
        "both stores, with their anchors, are put back to copies of the same moment",
        in_model=False,
        assumption="copies of both ends' state, anchors among them, are never put back together",
        watched="nothing; pads go with two tags, which tells nothing of the hash keys, since each "
        "tag is masked under a digest of what it covers: she knows no bit of any key",
        defaults={"whose": "both", "copy_s": 1.4, "back_s": 2.2},
        step=_restored,
        pads_may_repeat=True,
    ),
    AttackEntry(
        "silence",
        ("M3",),
        "everything is swallowed but Pings",
        must_alarm=True,
        defaults={"start": 150, "wait_s": 1.5},
        hook=_silent,
        step=_wait,
    ),
)
