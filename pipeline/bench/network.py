"""Instruments that name themselves on the network when they are asked by a datagram.

Only what a registration's ``network`` says is sent: one datagram a kind. What answers is listed and
not opened; an answer is whatever somebody on the network sends, so it is bounded and printed plain.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from photonlink.hal.registry import registry

WAIT_S = 0.7
MAX_ANSWERS = 256
MAX_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Question:
    """One datagram. reply: of an answer. address: of the driver, with ``{host}``."""

    driver: str
    port: int
    data: bytes
    reply: str
    address: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Who says to be there."""

    driver: str
    address: str
    serial: str

    def __str__(self) -> str:
        return f"{self.address}  says it is serial number {self.serial}: {self.driver}"


def questions() -> list[Question]:
    """Of all drivers whose instruments answer one."""
    return [
        Question(d.id, int(d.network[0]), d.network[1].encode(), d.network[2], d.network[3])
        for d in registry().drivers.values()
        if d.network
    ]


async def ask_network(
    asked: Iterable[Question], broadcast: str, wait_s: float = WAIT_S
) -> list[Answer]:
    """All at once; a network that cannot be asked gives no answers."""
    found = await asyncio.gather(*(_ask(question, broadcast, wait_s) for question in asked))
    return [answer for answers in found for answer in answers]


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, question: Question) -> None:
        self._question = question
        self.answers: dict[tuple[str, str], Answer] = {}

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = data[:MAX_BYTES].decode("utf-8", "replace")
        known = re.match(self._question.reply, text, re.DOTALL)
        if known is None or len(self.answers) >= MAX_ANSWERS:
            return
        serial = "".join(c if c.isprintable() else "?" for c in known["serial"])[:64]
        address = self._question.address.format(host=addr[0])
        self.answers.setdefault((address, serial), Answer(self._question.driver, address, serial))

    def error_received(self, exc: Exception) -> None:
        """A port that nobody listens on: no answer."""


async def _ask(question: Question, broadcast: str, wait_s: float) -> list[Answer]:
    loop = asyncio.get_running_loop()
    try:
        transport, listener = await loop.create_datagram_endpoint(
            lambda: _Listener(question), local_addr=("0.0.0.0", 0),  # noqa: S104 - answers only
            family=socket.AF_INET, allow_broadcast=True,
        )  # fmt: skip
    except OSError:
        return []
    try:
        transport.sendto(question.data, (broadcast, question.port))
        await asyncio.sleep(wait_s)
    finally:
        transport.close()
    return sorted(listener.answers.values(), key=lambda answer: answer.address)
