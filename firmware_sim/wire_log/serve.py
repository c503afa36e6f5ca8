"""A cassette stands in for the device that it was recorded from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from photonlink.firmware_sim.wire_log.cassette import Cassette, Exchange, nearest
from photonlink.firmware_sim.wires.factory import make_wire
from photonlink.firmware_sim.wires.session import Session, Wire

PIECE_S = 0.2  # how long a question may take to arrive in full


class CassettePlayer:
    """Answers each question as the device did; the same question twice gets its answers in turn.

    A question that is not in the cassette gets no answer: ``complain`` is called with the nearest
    known one and its line.
    """

    def __init__(
        self, cassette: Cassette, complain: Callable[[str], None], address: str, link: Path
    ) -> None:
        self._sessions = cassette.sessions()
        self._known = [e for own in self._sessions for e in own]
        self._complain = complain
        self._served = 0
        self.wire: Wire = make_wire(address or cassette.wire, self._serve, link)

    async def _serve(self, session: Session) -> None:
        own = self._sessions[self._served % len(self._sessions)] if self._sessions else []
        self._served += 1
        if own and not own[0].question:
            await session.write(own[0].answer)
        if session.boundaries:
            await self._messages(session, own)
            return
        at, asked = 0, b""
        while True:
            try:
                async with asyncio.timeout(PIECE_S if asked else None):
                    data = await session.read()
            except TimeoutError:
                self._unheard(asked)
                asked = b""
                continue
            if data is None:
                return
            asked += data
            while asked:
                found = self._find(asked, own, at)
                if found is None:
                    break
                at, exchange = found
                asked = asked[len(exchange.question) :]
                if exchange.answer:
                    await session.write(exchange.answer)
            if asked and not any(e.question.startswith(asked) for e in self._known):
                self._unheard(asked)
                asked = b""

    async def _messages(self, session: Session, own: list[Exchange]) -> None:
        """Every question is one message, and so is every answer."""
        at = 0
        while (asked := await session.read()) is not None:
            order = [*own[at:], *own[:at], *self._known]
            found = next((e for e in order if e.question == asked), None)
            if found is None:
                self._unheard(asked)
                continue
            at = next((i + 1 for i, e in enumerate(own) if e is found), at)
            await session.write(found.answer)

    def _find(self, asked: bytes, own: list[Exchange], at: int) -> tuple[int, Exchange] | None:
        """The next time this was asked (then from the start again), in this client's session or
        any other; the longest question wins."""
        order = [*own[at:], *own[:at], *self._known]
        fits = [e for e in order if e.question and asked.startswith(e.question)]
        if not fits:
            return None
        best = max(fits, key=lambda e: len(e.question))
        first = next(e for e in fits if e.question == best.question)
        place = next((i for i, e in enumerate(own) if e is first), None)
        return (at if place is None else place + 1), first

    def _unheard(self, asked: bytes) -> None:
        close = nearest(asked, self._known)
        hint = f"; nearest: line {close.line}, {close.question!r}" if close else ""
        self._complain(f"never asked in this cassette: {asked!r}{hint}")
