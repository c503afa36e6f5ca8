"""Checks a broker's messages and turns them into bounded, typed values: no publisher can cause harm
or unbounded growth.

A message is accepted when its topic is one of the layout (``docs/mqtt.md``), its payload is small,
flat JSON and its version is ours. Everything else is counted for the node that the topic names.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from photonlink.pipeline.status.topics import ROOT, VERSION

MAX_PAYLOAD_BYTES = 16_384
MAX_FIELDS = 128
MAX_TEXT = 400
MAX_LIST = 512
LEVEL = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

Flat = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NodeMessage:
    """One accepted message. ``kind``: status, meta, state, block, alarm, instrument, readiness
    or histogram; ``name``: the link, alarm code or instrument of the topic; ``body`` None: the
    retained message was emptied."""

    site: str
    node: str
    kind: str
    name: str
    body: Flat | None


class Refused(ValueError):
    """The message does not follow the layout; holds the reason, and the node of the topic."""

    def __init__(self, reason: str, site: str = "", node: str = "") -> None:
        super().__init__(reason)
        self.reason, self.site, self.node = reason, site, node


def parse(topic: str, payload: bytes) -> NodeMessage:
    """Topic and payload → NodeMessage. Refused when either is not of the layout."""
    site, node, kind, name = _place(topic)
    if not payload:
        return NodeMessage(site, node, kind, name, None)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Refused(f"payload of {len(payload)} bytes (at most {MAX_PAYLOAD_BYTES})", site, node)
    try:
        body = json.loads(payload, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused("payload is no JSON", site, node) from None
    if not isinstance(body, dict):
        raise Refused("payload is no JSON object", site, node)
    if body.get("v") != VERSION:
        raise Refused(f"schema version {str(body.get('v'))[:20]!r}, not {VERSION}", site, node)
    ts = body.get("ts")
    if not _is_number(ts):
        raise Refused("payload has no time stamp (ts)", site, node)
    if len(body) > MAX_FIELDS:
        raise Refused(f"{len(body)} fields (at most {MAX_FIELDS})", site, node)
    return NodeMessage(site, node, kind, name, {k[:64]: bounded(v) for k, v in body.items()})


def _place(topic: str) -> tuple[str, str, str, str]:
    """site, node, kind and name of a topic."""
    if not topic.startswith(ROOT + "/") or len(topic) > 400:
        raise Refused("not below " + ROOT)
    levels = topic[len(ROOT) + 1 :].split("/")
    if len(levels) < 3 or not all(LEVEL.fullmatch(level) for level in levels[:2]):
        raise Refused("no site and node in the topic")
    site, node, *rest = levels
    match rest:
        case ["status" | "meta" | "readiness" as kind]:
            return site, node, kind, ""
        case ["link", link, "state" | "block" | "histogram" as kind] if LEVEL.fullmatch(link):
            return site, node, kind, link
        case ["alarm" | "instrument" as kind, name] if re.fullmatch(r"[\w.-]{1,64}", name):
            return site, node, kind, name
    raise Refused("a topic that the layout does not have", site, node)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value)


def _finite(value: float | int) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def bounded(value: object) -> Any:
    """A scalar as it is, text cut, lists of scalars cut; anything else as null."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value if _finite(value) else None
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, list):
        return [v if _is_number(v) else _printable(str(v)) for v in value[:MAX_LIST]]
    return None


def _printable(value: str) -> str:
    """The text, cut, without control characters and invisible ones."""
    return "".join(c if c.isprintable() else " " for c in value[:MAX_TEXT])


def number(body: Flat | None, name: str) -> float | None:
    """A field as a number; None when it is absent or of another type."""
    value = (body or {}).get(name)
    return float(value) if _is_number(value) else None  # type: ignore[arg-type]


def text(body: Flat | None, name: str) -> str:
    """A field as text; "" when it is absent or of another type."""
    value = (body or {}).get(name)
    return value if isinstance(value, str) else ""
