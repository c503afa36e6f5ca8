"""A cassette: the recorded traffic of one wire, with times. JSON lines, readable and editable.

Line 1 is the header: ``{"cassette": 1, "model": …, "device": …, "wire": "tcp", "noise": [regex]}``.
Then one event per line: ``{"t": seconds, "s": session, "d": ">" | "<" | "open" | "close", "text" or
"hex": …}`` (``>``: from the client to the device). The last line, ``{"end": events}``, shows that
the recording is complete.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.text_file import FileRefused, read_text

VERSION = 1
MAX_BYTES = 1 << 28
MESSAGES = ("zmq", "udp", "http")
"""Wires on which every event is one whole message."""


class CassetteError(ValueError):
    """A cassette that cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of data, or a client that came or went. line: in the file."""

    time_s: float
    session: int
    direction: str
    data: bytes = b""
    line: int = 0


@dataclass(slots=True)
class Exchange:
    """A question (may be empty: the device spoke first) and everything answered before the next."""

    question: bytes
    answer: bytes = b""
    line: int = 0
    wait_s: float = 0.0
    """From the question to the end of the answer."""


@dataclass(slots=True)
class Cassette:
    """A whole recording."""

    wire: str
    model: str = ""
    device: str = ""
    noise: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def sessions(self) -> list[list[Exchange]]:
        """The exchanges of every client, in order."""
        found: dict[int, list[Exchange]] = {}
        asked: dict[int, float] = {}
        for event in self.events:
            own = found.setdefault(event.session, [])
            if event.direction == ">":
                pieces = self.wire not in MESSAGES
                if pieces and own and own[-1].question and not own[-1].answer:
                    own[-1].question += event.data  # a question in pieces
                else:
                    own.append(Exchange(event.data, line=event.line))
                asked[event.session] = event.time_s
            elif event.direction == "<":
                if not own:
                    own.append(Exchange(b"", line=event.line))
                own[-1].answer += event.data
                own[-1].wait_s = event.time_s - asked.get(event.session, event.time_s)
        return [own for own in found.values() if own]

    def noise_pattern(self, more: list[str]) -> re.Pattern[bytes] | None:
        """Everything declared as noise, as one expression. CassetteError for a wrong one."""
        patterns = [*self.noise, *more]
        try:
            for text in patterns:
                re.compile(text.encode())
        except re.error as error:
            raise CassetteError(f"noise {text!r}: {error}") from None
        return re.compile(b"|".join(b"(?:%b)" % p.encode() for p in patterns)) if patterns else None


def render(event: Event) -> str:
    """One event as a line."""
    entry: dict[str, Any] = {
        "t": round(event.time_s, 6),
        "s": event.session,
        "d": event.direction,
    }
    if event.direction in "<>":
        try:
            entry["text"] = event.data.decode("utf-8")
        except UnicodeDecodeError:
            entry["hex"] = event.data.hex()
    return json.dumps(entry, ensure_ascii=False)


def header(cassette: Cassette) -> str:
    """The first line."""
    entry = {"cassette": VERSION, "model": cassette.model, "device": cassette.device}
    return json.dumps({**entry, "wire": cassette.wire, "noise": cassette.noise})


def load(path: Path) -> Cassette:
    """Read a cassette. CassetteError names the line that is damaged."""
    try:
        lines = read_text(path, at_most=MAX_BYTES).splitlines()
    except FileRefused as error:
        raise CassetteError(str(error)) from None
    if not lines:
        raise CassetteError(f"{path}: empty")
    top = _object(path, 1, lines[0])
    if top.get("cassette") != VERSION or not isinstance(top.get("wire"), str):
        raise CassetteError(f"{path}, line 1: not the header of a cassette of version {VERSION}")
    noise = top.get("noise", [])
    if not isinstance(noise, list) or not all(isinstance(n, str) for n in noise):
        raise CassetteError(f"{path}, line 1: noise must be a list of regular expressions")
    found = Cassette(top["wire"], str(top.get("model", "")), str(top.get("device", "")), noise)
    for number, text in enumerate(lines[1:], 2):
        entry = _object(path, number, text)
        if "end" in entry:
            if entry["end"] != len(found.events) or number != len(lines):
                raise CassetteError(
                    f"{path}, line {number}: {entry['end']} events were recorded, "
                    f"{len(found.events)} are here"
                )
            return found
        found.events.append(_event(path, number, entry))
    raise CassetteError(f"{path}: cut off after line {len(lines)}: the last line is missing")


def _object(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise CassetteError(f"{path}, line {number}: damaged: {text[:60]!r}")
    return entry


def _event(path: Path, number: int, entry: dict[str, Any]) -> Event:
    try:
        direction = entry["d"]
        if direction not in ("<", ">", "open", "close"):
            raise ValueError(direction)
        data = bytes.fromhex(entry["hex"]) if "hex" in entry else entry.get("text", "").encode()
        return Event(float(entry["t"]), int(entry["s"]), direction, data, number)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CassetteError(f"{path}, line {number}: damaged: {error!r}") from None


def nearest(question: bytes, exchanges: list[Exchange]) -> Exchange | None:
    """The known question most similar to this one."""
    import difflib

    text = question.decode("latin-1")
    known = {e.question.decode("latin-1"): e for e in exchanges if e.question}
    close = difflib.get_close_matches(text, known, 1, cutoff=0.0)
    return known[close[0]] if close else None
