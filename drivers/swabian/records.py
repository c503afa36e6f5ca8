"""Tags of the package ``Swabian.TimeTagger`` as the 16-byte records of its ``Dump``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from photonlink.hal.decoders import swabian16_records

PIECE_TAGS = 1 << 17
"""A piece's records are still in the cache when they are decoded, and calls are few."""


def records(data: Any, zero_ps: int) -> Iterator[memoryview]:
    """What ``TimeTagStream.getData`` returned, as ``Dump`` would have written it, in pieces."""
    names = ("getTimestamps", "getChannels", "getEventTypes", "getMissedEvents")
    fields = [getattr(data, name)() for name in names]
    for at in range(0, len(fields[0]), PIECE_TAGS):
        yield swabian16_records(*(f[at : at + PIECE_TAGS] for f in fields), zero_ps=zero_ps)
