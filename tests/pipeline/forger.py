"""Eve with valid MACs (``pipeline/attacks/forger.py``), and one changed field of a message."""

from __future__ import annotations

import dataclasses

from photonlink.pipeline.attacks.forger import Alter, Forger
from photonlink.pipeline.protocol.messages import Message

__all__ = ["Alter", "Forger", "changed_field"]


def changed_field(message: Message, name: str) -> Message:
    """The same message with another value in one field; the result still decodes."""
    value = getattr(message, name)
    if isinstance(value, bytes):
        other: object = bytes((value[0] ^ 1,)) + value[1:] if value else b"\0"
        if value and name in ("body", "bases", "bitmap"):
            other = value[:-1] + bytes((value[-1] ^ 0x80,))
    elif isinstance(value, float):
        other = value + 0.25
    else:
        other = value ^ 1
    return dataclasses.replace(message, **{name: other})  # type: ignore[arg-type]
