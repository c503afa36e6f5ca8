"""Back-pressure: where pairing is behind, the tagger's bytes wait in its link, not in memory.

A tagger whose bytes wait too long loses events and says so in its records: an explicit gap. Where
waiting does not help, the session loses what its store cannot hold, and counts it.
"""

from __future__ import annotations

import asyncio

from photonlink.hal import machine
from photonlink.pipeline.node.recorded_session import NodeSession

MOST_BACKLOG = 0.3  # of the room for events, from where on tags wait
CATCH_UP_S = 1.0  # how long a piece of tags waits, at most
LOOK_AGAIN_S = 0.005


async def catch_up(session: NodeSession, turn: asyncio.Lock) -> None:
    """Wait while pairing is behind, for CATCH_UP_S at most. turn: of the session, which is read in
    no other: its worker may be moving the events."""
    end_s = machine.monotonic_s() + CATCH_UP_S
    while machine.monotonic_s() < end_s:
        async with turn:
            if session.backlog <= MOST_BACKLOG:
                return
        await asyncio.sleep(LOOK_AGAIN_S)
