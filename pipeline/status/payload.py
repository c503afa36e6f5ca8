"""Status records as MQTT payloads: flat JSON, units in names, null for what is not known."""

from __future__ import annotations

import dataclasses
import json
import math
from importlib import resources
from typing import Any

from photonlink.pipeline.status.alarms import kind_of
from photonlink.pipeline.status.model import (
    COSTS,
    Alarm,
    InstrumentState,
    Readiness,
    SessionRecord,
)
from photonlink.pipeline.status.topics import VERSION, Speaker

Record = SessionRecord | InstrumentState | Readiness
DETECTORS = ("H", "V", "D", "A")


def flatten(record: Record) -> dict[str, Any]:
    """One level, JSON types only: enums as text, NaN and infinities as null.

    ``rate_hz`` becomes ``rate_h_hz`` ... ``rate_a_hz``; an instrument's readings stand beside its
    own fields, which go first.
    """
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name == "rate_hz":
            flat |= {f"rate_{d.lower()}_hz": _number(value.get(d)) for d in DETECTORS}
        elif field.name == "costs":
            flat |= {f"cost_{name}_bits": _number(value.get(name)) for name in COSTS}
        elif field.name == "readings":
            shown = {k: _number(v) if isinstance(v, float) else v for k, v in value.items()}
            flat = shown | flat
        elif isinstance(value, float):
            flat[field.name] = _number(value)
        elif isinstance(value, tuple):
            flat[field.name] = list(value)
        else:
            flat[field.name] = value
    return flat


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def encode(
    record: Record, speaker: Speaker, *, ts: float, seq: int, since_ts: float | None = None
) -> bytes:
    """The payload: the sender, ``v`` schema version, ``ts`` UNIX seconds, ``seq`` rising per start.

    since_ts: of an alarm, when it was raised; the catalogue's texts are added.
    """
    fields = flatten(record)
    if isinstance(record, Alarm):
        kind = kind_of(record.code)
        fields["cause"] = kind.cause if kind else ""
        fields["action"] = kind.action if kind else ""
        fields["since_ts"] = round(ts if since_ts is None else since_ts, 3)
    return _json(fields | head(speaker, ts) | {"seq": seq})


def encode_status(speaker: Speaker, status: str, ts: float) -> bytes:
    """Birth, farewell and last will: ``online`` or ``offline``."""
    return _json(head(speaker, ts) | {"status": status})


def encode_meta(
    speaker: Speaker, ts: float, *, peer_node: str | None, software: str, emulated: bool | None
) -> bytes:
    """The sender, its instruments, and its schemas."""
    schemas = {f"{n}_schema": f"photonlink/v{VERSION}/{n}.schema.json" for n in RECORD_SCHEMAS}
    about: dict[str, Any] = {"peer_node": peer_node, "software": software, "emulated": emulated}
    if speaker.position is not None:
        about |= dict(zip(("latitude", "longitude"), speaker.position, strict=True))
    return _json(head(speaker, ts) | about | schemas)


RECORD_SCHEMAS = ("state", "block", "alarm", "instrument", "readiness", "histogram")


def head(speaker: Speaker, ts: float) -> dict[str, Any]:
    """The common fields of all payloads."""
    names = {"site": speaker.site, "node": speaker.node, "link": speaker.link, "role": speaker.role}
    return {"v": VERSION, "ts": round(ts, 3), **names}


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


def schema(name: str) -> dict[str, Any]:
    """JSON Schema of a payload: of ``RECORD_SCHEMAS``, ``meta`` or ``status``."""
    path = resources.files("photonlink.pipeline.status") / "schemas" / f"{name}.schema.json"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded
