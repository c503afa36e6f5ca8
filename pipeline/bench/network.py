"""Finds instruments on the network that answer a discovery datagram.

Only what a registration's ``network`` says is sent: one datagram for each kind. Devices that answer
are listed and not opened; an answer may come from anybody on the network, so it is bounded and
printed without control characters.
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
    """One datagram. reply: pattern of an answer. address: the driver's address, with ``{host}``."""

    driver: str
    port: int
    data: bytes
    reply: str
    address: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of a device."""

    driver: str
    address: str
    serial: str

    def __str__(self) -> str:
        return f"{self.address}  says it is serial number {self.serial}: {self.driver}"


def questions() -> list[Question]:
    """The questions of all drivers whose instruments answer one."""
    return [
        Question(d.id, int(d.network[0]), d.network[1].encode(), d.network[2], d.network[3])
        for d in registry().drivers.values()
        if d.network
    ]


async def ask_network(
    asked: Iterable[Question], broadcast: str, wait_s: float = WAIT_S
) -> list[Answer]:
    """Send all questions at once; an unreachable network gives no answers."""
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
        """No process listens on the port: there is no answer."""


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
