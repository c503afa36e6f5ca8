"""``docs/asyncapi.json``: all topics and payloads as an AsyncAPI 3.0 document.

``python -m photonlink.pipeline.status.asyncapi .`` writes it; it is made from the schemas of the
payloads and validated by AsyncAPI's own parser in the tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from photonlink.pipeline.status.payload import RECORD_SCHEMAS, schema
from photonlink.pipeline.status.topics import ROOT, VERSION

PAGE = "docs/asyncapi.json"
# name: topic below the node, retained, QoS, expiry in seconds
TOPICS: dict[str, tuple[str, bool, int, int | None]] = {
    "status": ("status", True, 1, None),
    "meta": ("meta", True, 1, None),
    "state": ("link/{link}/state", True, 0, 30),
    "block": ("link/{link}/block", False, 0, 60),
    "histogram": ("link/{link}/histogram", True, 0, 600),
    "alarm": ("alarm/{code}", True, 1, None),
    "instrument": ("instrument/{instrument}", True, 0, 60),
    "readiness": ("readiness", True, 0, 120),
}
_PARAMETERS = {
    "site": "site of the node",
    "node": "the node that speaks, unique in its site",
    "link": "link that it is an end of",
    "code": "code of the alarm, docs/alarms.md",
    "instrument": "name of the instrument in the station file",
}


def document() -> dict[str, Any]:
    """The whole document; only payloads that have a schema."""
    names = [n for n in TOPICS if n in (*RECORD_SCHEMAS, "meta", "status")]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "photonlink status",
            "version": str(VERSION),
            "description": "What nodes of a QKD link publish over MQTT 5. Status only: no secret, "
            "nothing is commanded.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name) for name in names},
        "operations": {f"send_{name}": _operation(name) for name in names},
        "components": {"messages": {name: _message(name) for name in names}},
    }


def _channel(name: str) -> dict[str, Any]:
    address = f"{ROOT}/{{site}}/{{node}}/{TOPICS[name][0]}"
    used = {k: {"description": v} for k, v in _PARAMETERS.items() if f"{{{k}}}" in address}
    return {
        "address": address,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "parameters": used,
    }


def _operation(name: str) -> dict[str, Any]:
    _, retained, qos, expiry = TOPICS[name]
    mqtt: dict[str, Any] = {"qos": qos, "retain": retained, "bindingVersion": "0.2.0"}
    if expiry is not None:
        mqtt["messageExpiryInterval"] = expiry
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        "bindings": {"mqtt": mqtt},
    }


def _message(name: str) -> dict[str, Any]:
    found = schema(name)
    plain = {k: v for k, v in found.items() if k not in ("$id", "$schema")}
    return {
        "name": name,
        "title": found["title"],
        "summary": found["description"],
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-07",
            "schema": plain,
        },
    }


if __name__ == "__main__":
    text = json.dumps(document(), indent=1, ensure_ascii=False)
    (Path(sys.argv[1]) / PAGE).write_text(text + "\n", encoding="utf-8")
