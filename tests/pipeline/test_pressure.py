"""Back-pressure: tags wait while pairing is behind, in the session's turn and not for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from photonlink.pipeline.node import pressure
from photonlink.pipeline.node.pressure import MOST_BACKLOG, catch_up


class Pairing:
    """A session that is behind for a number of looks. Its backlog may be read in its turn only."""

    def __init__(self, turn: asyncio.Lock, behind: int) -> None:
        self.turn, self.behind, self.looks = turn, behind, 0

    @property
    def backlog(self) -> float:
        assert self.turn.locked(), "the worker may be moving the events"
        self.looks += 1
        return 1.0 if self.looks <= self.behind else MOST_BACKLOG


async def _caught_up(behind: int) -> Pairing:
    turn = asyncio.Lock()
    session: Any = Pairing(turn, behind)
    async with asyncio.timeout(30):
        await catch_up(session, turn)
    assert not turn.locked()
    return session  # type: ignore[no-any-return]


async def test_tags_wait_while_pairing_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "CATCH_UP_S", 30.0)
    assert (await _caught_up(0)).looks == 1
    assert (await _caught_up(3)).looks == 4


async def test_they_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "CATCH_UP_S", 0.05)
    assert (await _caught_up(1_000_000)).looks >= 1


async def test_the_backlog_waits_for_the_sessions_turn() -> None:
    turn = asyncio.Lock()
    session: Any = Pairing(turn, 0)
    await turn.acquire()
    waiting = asyncio.create_task(catch_up(session, turn))
    await asyncio.sleep(0.02)
    assert session.looks == 0
    turn.release()
    async with asyncio.timeout(30):
        await waiting
    assert session.looks == 1
