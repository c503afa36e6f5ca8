"""Status records as MQTT payloads: flat JSON, units in names, null for what is not known."""

from __future__ import annotations

import dataclasses
import json
import math
from importlib import resources
from typing import Any

from photonlink.pipeline.status.model import Alarm, BlockReport, LinkState

SCHEMA_VERSION = 1
DETECTORS = ("H", "V", "D", "A")


def flatten(record: LinkState | BlockReport | Alarm) -> dict[str, Any]:
    """One level, JSON types only: enums as text, NaN and infinities as null.

    ``rate_hz`` becomes ``rate_h_hz`` ... ``rate_a_hz``.
    """
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name == "rate_hz":
            flat |= {f"rate_{d.lower()}_hz": _number(value.get(d)) for d in DETECTORS}
        elif isinstance(value, float):
            flat[field.name] = _number(value)
        else:
            flat[field.name] = value
    return flat


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def encode(record: LinkState | BlockReport | Alarm, *, ts: float, seq: int) -> bytes:
    """The payload: ``v`` schema version, ``ts`` UNIX seconds, ``seq`` rising per start."""
    head = {"v": SCHEMA_VERSION, "ts": round(ts, 3), "seq": seq}
    return json.dumps(head | flatten(record), separators=(",", ":"), allow_nan=False).encode()


def schema(name: str) -> dict[str, Any]:
    """JSON Schema of a payload: ``state``, ``block``, ``alarm``, ``meta`` or ``status``."""
    path = resources.files("photonlink.pipeline.status") / "schemas" / f"{name}.schema.json"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded
