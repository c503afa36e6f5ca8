"""Values of Toptica's DeCoF command language, as text and back.

``#t`` / ``#f``, integers, floats (always with a dot), ``"strings"``, ``&base64`` and lists.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from photonlink.hal.errors import LinkDesync

Scalar = bool | int | float | str | bytes
DecofValue = Scalar | list["DecofValue"]


@dataclass(frozen=True, slots=True)
class DecofRefusal:
    """The controller's ``Error: code text``: a whole reply, and a clear one."""

    code: str
    words: str


_TOKEN = re.compile(r'\s*(?:([()])|("(?:[^"\\]|\\.)*")|([^\s()"]+))')
_ERROR = re.compile(r"^\s*error:\s*(-?\d+)?\s*(.*)", re.IGNORECASE)


def render(value: bool | int | float | str) -> str:
    """A value as it stands in ``param-set!``. Floats keep a dot and all their digits."""
    if isinstance(value, bool):
        return "#t" if value else "#f"
    if isinstance(value, float):
        text = repr(value)
        return text if any(mark in text for mark in ".en") else f"{text}.0"
    if isinstance(value, int):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse(text: str, where: str = "") -> DecofValue | DecofRefusal:
    """One value or refusal. LinkDesync for anything that is neither."""
    failure = _ERROR.match(text)
    if failure:
        return DecofRefusal(failure.group(1) or "", failure.group(2) or "error")
    tokens = _tokens(text, where)
    value, used = _value(tokens, 0, text, where)
    if used != len(tokens):
        raise LinkDesync("unreadable reply", where=where, seen=text[:80])
    return value


def _tokens(text: str, where: str) -> list[str]:
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise LinkDesync("unreadable reply", where=where, seen=text[:80])
        tokens.append(match.group().strip())
        at = match.end()
    return tokens


def _value(tokens: list[str], at: int, text: str, where: str) -> tuple[DecofValue, int]:
    if at >= len(tokens):
        raise LinkDesync("the reply ends too early", where=where, seen=text[:80])
    if tokens[at] != "(":
        return _scalar(tokens[at], text, where), at + 1
    items: list[DecofValue] = []
    at += 1
    while at < len(tokens) and tokens[at] != ")":
        item, at = _value(tokens, at, text, where)
        items.append(item)
    if at >= len(tokens):
        raise LinkDesync("the reply ends too early", where=where, seen=text[:80])
    return items, at + 1


def _scalar(token: str, text: str, where: str) -> Scalar:
    if token in ("#t", "#f"):
        return token.endswith("t")
    if token.startswith('"'):
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    try:
        if token.startswith("&"):
            return base64.b64decode(token[1:], validate=True)
        return int(token) if re.fullmatch(r"[+-]?\d+", token) else float(token)
    except (ValueError, binascii.Error):
        raise LinkDesync("unreadable reply", where=where, seen=text[:80]) from None
