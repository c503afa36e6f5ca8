"""What an Eve with right MACs sends: changed fields, numbers beyond every bound, wrong tags."""

from __future__ import annotations

import dataclasses

import numpy as np

from photonlink.pipeline.attacks.entry import Parameters
from photonlink.pipeline.attacks.forger import Alter
from photonlink.pipeline.protocol.messages import Amplify, Figures, Message, Prepared
from photonlink.pipeline.protocol.setup import Role

_WHOLE = (0, 1, 2, 255)
_BEYOND: dict[str, tuple[object, ...]] = {
    "int": (-1, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1, (1 << 32) - 1, 255),
    "float": (9e6, 1e300, -1e300, 5e-324, float("inf"), float("nan")),
    "bytes": (b"", b"\xff" * 64, bytes(1 << 20)),
}
MOST = 20_000  # most messages in a run: ends an exchange that would be endless


def _sometimes(p: Parameters, change: Alter) -> Alter:
    """Changes a message (of the type ``only``) with probability ``share``, from message ``start``
    on.
    """
    rng, n = np.random.default_rng(int(p["seed"])), 0

    def alter(sender: Role, message: Message) -> list[Message] | None:
        nonlocal n
        n += 1
        if n > MOST:
            return []
        mine = p.get("only", "") in ("", type(message).__name__)
        touched = mine and n >= p["start"] and rng.random() < p["share"]
        return change(sender, message) if touched else [message]

    return alter


def fields(p: Parameters) -> Alter:
    """One field (``field``) gets another value that decodes."""
    rng = np.random.default_rng(int(p["seed"]) + 1)

    def change(sender: Role, message: Message) -> list[Message]:
        names = [f.name for f in dataclasses.fields(message)]
        if not names:
            return [message, message]
        name = str(p.get("field") or rng.choice(names))
        return [dataclasses.replace(message, **{name: _other(getattr(message, name), rng)})]

    return _sometimes(p, change)


def _other(value: object, rng: np.random.Generator) -> object:
    if isinstance(value, bytes):
        if not value:
            return b"\0"
        at = int(rng.integers(0, len(value)))
        return value[:at] + bytes((value[at] ^ 1 << int(rng.integers(0, 8)),)) + value[at + 1 :]
    if isinstance(value, float):
        return value + 0.25
    return int(value) ^ 1 << int(rng.integers(0, 8))  # type: ignore[call-overload]


def bounds(p: Parameters) -> Alter:
    """One field (``field``) gets a value beyond every bound, as far as it can be encoded."""
    rng = np.random.default_rng(int(p["seed"]) + 1)

    def change(sender: Role, message: Message) -> list[Message]:
        if isinstance(message, Figures):
            return [Figures(b'{"coincidences_hz": 1' + b"0" * 400 + b"}")]
        wild = [
            dataclasses.replace(message, **{f.name: value})
            for f in dataclasses.fields(message)
            if p.get("field", f.name) == f.name
            for value in _BEYOND[str(f.type)]
        ]
        possible = [m for m in wild if _encodes(m)]
        return [possible[int(rng.integers(0, len(possible)))]] if possible else [message]

    return _sometimes(p, change)


def _encodes(message: Message) -> bool:
    try:
        message.encode()
    except Exception:  # noqa: BLE001 - whatever stops the encoder: it cannot be said
        return False
    return True


def tags(p: Parameters) -> Alter:
    """The first one-time tags, of both ends in turn, are wrong."""
    left = int(p["times"])

    def alter(sender: Role, message: Message) -> list[Message]:
        nonlocal left
        kind = Amplify if left % 2 else Prepared
        if left and isinstance(message, Amplify | Prepared) and isinstance(message, kind):
            left -= 1
            return [dataclasses.replace(message, tag=bytes(16))]
        return [message]

    return alter
