"""The attacks on the classical channel. The light is honest: whatever is done, no bit is hers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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
MOST_FRAMES = 20_000  # of a run: an Eve who starts an endless exchange is stopped


def _every(p: Parameters, change: Callable[[np.random.Generator, bytes], list[bytes]]) -> Hook:
    """Touches a frame with probability ``share``, from frame ``start`` on."""
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
    """An earlier frame of the same direction, once more."""
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
    """What an end sent comes back to it, in place of the next frame from the other end."""
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
    """What C1 and H4 did: messages without a key behind them, beyond every bound among them."""
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
    """Time passes, so that deadlines can."""

    def step(line: Line) -> None:
        for _ in range(round(p["wait_s"] * 10)):
            line.tick()

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
        "silence",
        ("M3",),
        "everything is swallowed but Pings",
        must_alarm=True,
        defaults={"start": 150, "wait_s": 1.5},
        hook=_silent,
        step=_wait,
    ),
)
