"""Plays the host's side of a cassette against a device or emulator, and shows the differences."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from photonlink.firmware_sim.wire_log.cassette import Cassette, Exchange
from photonlink.firmware_sim.wire_log.host import WireHost, connect

QUIET_S = 0.15  # seconds without a byte that end an answer
PATIENCE_S = 2.0  # beyond the time that the recorded device took


@dataclass(frozen=True, slots=True)
class AnswerDifference:
    """One question with a different answer. line: of the cassette."""

    line: int
    question: bytes
    recorded: bytes
    answered: bytes

    def __str__(self) -> str:
        return (
            f"line {self.line}: {self.question!r}\n"
            f"  recorded: {self.recorded!r}\n  answered: {self.answered!r}"
        )


def alike(a: bytes, b: bytes, noise: re.Pattern[bytes] | None) -> bool:
    """Equal except for declared noise."""
    if a == b:
        return True
    return noise is not None and noise.sub(b"\0", a) == noise.sub(b"\0", b)


async def compare(
    cassette: Cassette, address: str, noise: re.Pattern[bytes] | None
) -> tuple[int, list[AnswerDifference]]:
    """(questions asked, differences). OSError when nobody is at ``address``."""
    found: list[AnswerDifference] = []
    asked = 0
    for exchanges in cassette.sessions():
        host = await connect(address)
        try:
            for exchange in exchanges:
                if exchange.question:
                    await host.write(exchange.question)
                answered = await _answer(host, exchange)
                asked += 1
                if not alike(exchange.answer, answered, noise):
                    found.append(
                        AnswerDifference(
                            exchange.line, exchange.question, exchange.answer, answered
                        )
                    )
        finally:
            await host.close()
    return asked, found


async def _answer(host: WireHost, exchange: Exchange) -> bytes:
    """Read until the answer is as long as the recorded one and no more bytes follow."""
    loop = asyncio.get_running_loop()
    answered = b""
    deadline = loop.time() + exchange.wait_s + (PATIENCE_S if exchange.answer else QUIET_S)
    while True:
        enough = len(answered) >= len(exchange.answer)
        wait_s = QUIET_S / 3 if enough else deadline - loop.time()
        if answered and not enough:
            wait_s = min(wait_s, max(QUIET_S, exchange.wait_s))
        try:
            async with asyncio.timeout(max(wait_s, 0.0)):
                data = await host.read()
        except TimeoutError:
            return answered
        if data is None:
            return answered
        answered += data
