r"""For driver tests: a conversation as text, compared with the driver, or with an emulator.

    async with expected_dialogue(Irspd1, r'''
        > hvolt?;
        < 0.0\r\n
    ''', bias_v=62.0) as driver:
        assert await driver.get("bias_v") == 0.0

``>`` lines are sent by the driver, ``<`` lines by the instrument. Escapes are those of Python
(``\r``, ``\x02``) and ``\s`` for a space at the end of a line; ``…`` in a ``<`` line stands for
text that may be another (only for :func:`play`); lines that begin with ``#`` are remarks. The
driver uses a real connection on loopback; no part of it is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from photonlink.hal.driver import Driver
from photonlink.hal.errors import LinkError, LinkTimeout
from photonlink.hal.links import make_stream

D = TypeVar("D", bound=Driver)
_PATIENCE_S = 2.0
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[rnts0\\])")
_PLAIN = {"r": "\r", "n": "\n", "t": "\t", "s": " ", "0": "\0", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Said:
    """One line: ``sent`` by the driver or received by it. ``data`` may hold the wildcard ``…``."""

    line: int
    sent: bool
    data: bytes


_ANY = "…".encode()


def dialogue(text: str) -> tuple[Said, ...]:
    """The lines of a conversation. ValueError for an invalid line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line[:2] not in ("> ", "< "):
            raise ValueError(f"line {number} begins with neither '> ' nor '< ': {line!r}")
        plain = _ESCAPE.sub(_unescape, line[2:])
        data = _ANY.join(part.encode("latin-1") for part in plain.split("…"))
        found.append(Said(number, line[0] == ">", data))
    return tuple(found)


def _unescape(match: re.Match[str]) -> str:
    word = match.group(1)
    return chr(int(word[1:], 16)) if word[0] == "x" else _PLAIN[word]


class _FarEnd:
    """Plays the instrument's side; ``wrong`` is the first thing that was not as written."""

    def __init__(self, said: Sequence[Said]) -> None:
        self._said = list(said)
        self.wrong = ""
        self.at = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while self.at < len(self._said):
                said = self._said[self.at]
                if said.sent:
                    got = await self._read(reader, said.data)
                    if not got:
                        return  # the conversation ended; missing lines are reported at the end
                    if got != said.data:
                        self.wrong = f"line {said.line}: expected {said.data!r}, got {got!r}"
                        return
                else:
                    writer.write(said.data)
                    await writer.drain()
                self.at += 1
            if rest := await reader.read(4096):
                self.wrong = f"after the last line came {rest!r}"
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, expected: bytes) -> bytes:
        got = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_PATIENCE_S):
                while len(got) < len(expected) and expected.startswith(got):
                    data = await reader.read(len(expected) - len(got))
                    if not data:
                        break
                    got += data
        return got


@contextlib.asynccontextmanager
async def expected_dialogue(driver: type[D], text: str, **settings: Any) -> AsyncIterator[D]:
    """A driver whose far end is the conversation ``text``. AssertionError where it differs.

    The driver is not opened: the test does that, or connects it (``driver.connect()``). At the end
    all lines must have been used; the driver is then closed, not made safe.
    """
    far_end = _FarEnd(dialogue(text))
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        tasks.add(task)
        await far_end.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    instrument = driver("driver", f"tcp://127.0.0.1:{port}", driver.Settings(**settings))
    failure: Exception | None = None
    try:
        yield instrument
    except Exception as error:
        failure = error
        raise
    finally:
        await instrument.release()
        server.close()
        await asyncio.wait(tasks, timeout=_PATIENCE_S) if tasks else None
        left = [said for said in far_end._said[far_end.at :] if said.sent]
        if far_end.wrong:
            raise AssertionError(far_end.wrong) from failure
        if left and failure is None:
            raise AssertionError(f"line {left[0].line} was never sent: {left[0].data!r}")


async def play(text: str, address: str, *, timeout_s: float = 1.0) -> list[str]:
    """Play the driver's side of a conversation against an emulator. Returns the differences, per
    line.
    """
    link = make_stream(address)
    await link.open(timeout_s)
    wrong = []
    try:
        for said in dialogue(text):
            if said.sent:
                await link.write(said.data, timeout_s)
                continue
            pattern = re.compile(b".*?".join(map(re.escape, said.data.split(_ANY))), re.DOTALL)
            got = await _until(link, pattern, len(said.data), timeout_s)
            if not pattern.fullmatch(got):
                wrong.append(f"line {said.line}: expected {said.data!r}, got {got!r}")
    except LinkError as error:
        wrong.append(str(error))
    finally:
        await link.close()
    return wrong


async def _until(link: Any, pattern: re.Pattern[bytes], count: int, timeout_s: float) -> bytes:
    """Read until the bytes fit; returns what arrived when they never do."""
    got = b""
    try:
        while not pattern.fullmatch(got):
            got += await link.read_some(1, timeout_s)
            if len(got) > 64 * count + 4096:
                break
    except LinkTimeout:
        pass
    return got
