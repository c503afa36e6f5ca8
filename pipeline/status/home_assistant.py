"""Home Assistant finds a node by itself: one retained message of MQTT device discovery.

Keys as in home-assistant.io, "MQTT: device discovery payload", and the schema that its integration
checks (home-assistant/core, homeassistant/components/mqtt/schemas.py, DEVICE_DISCOVERY_SCHEMA).
"""

from __future__ import annotations

import json
from typing import Any

from photonlink.pipeline.status.topics import Speaker

PREFIX = "homeassistant"
EXPIRE_S = 60

# field of the state, name, unit, device class, template of its value
SENSORS: tuple[tuple[str, str, str | None, str | None, str], ...] = (
    ("phase", "Phase", None, None, "{{ value_json.phase }}"),
    ("skr_bps", "Key rate", "bit/s", "data_rate", "{{ value_json.skr_bps }}"),
    ("sifted_bps", "Sifted rate", "bit/s", "data_rate", "{{ value_json.sifted_bps }}"),
    ("qber_hv", "QBER HV", "%", None, _percent := "{{ (100 * value_json.qber_hv) | round(2) }}"),
    ("qber_da", "QBER DA", "%", None, _percent.replace("qber_hv", "qber_da")),
    ("key_stored_bits", "Key in store", "bit", "data_size", "{{ value_json.key_stored_bits }}"),
    ("pads_left_bits", "Pads left", "bit", "data_size", "{{ value_json.pads_left_bits }}"),
    ("coincidences_hz", "Coincidences", "1/s", None, "{{ value_json.coincidences_hz }}"),
)


def discovery_topic(speaker: Speaker) -> str:
    return f"{PREFIX}/device/{device_id(speaker)}/config"


def device_id(speaker: Speaker) -> str:
    return f"photonlink-{speaker.site}-{speaker.node}"


def discovery(speaker: Speaker, software: str, *, emulated: bool | None) -> bytes:
    """The device with its sensors; they are unavailable while the node is."""
    name = f"QKD {speaker.link} {speaker.role} ({speaker.site})"
    return json.dumps(
        {
            "device": {
                "identifiers": [device_id(speaker)],
                "name": f"{name} EMULATED" if emulated else name,
                "manufacturer": "photonlink",
                "model": f"node of link {speaker.link}",
                "sw_version": software,
            },
            "origin": {"name": "photonlink", "sw_version": software},
            "availability": [
                {"topic": speaker.status, "value_template": "{{ value_json.status }}",
                 "payload_available": "online", "payload_not_available": "offline"}
            ],
            "state_topic": speaker.state,
            "qos": 1,
            "components": {sensor[0]: _sensor(speaker, *sensor) for sensor in SENSORS},
        },
        separators=(",", ":"),
    ).encode()  # fmt: skip


def _sensor(
    speaker: Speaker, field: str, name: str, unit: str | None, kind: str | None, template: str
) -> dict[str, Any]:
    if unit is not None:  # unknown values are null
        known = template.removeprefix("{{").removesuffix("}}").strip()
        template = f"{{{{ {known} if value_json.{field} is not none else none }}}}"
    found: dict[str, Any] = {
        "platform": "sensor",
        "unique_id": f"{device_id(speaker)}-{field}",
        "name": name,
        "value_template": template,
        "expire_after": EXPIRE_S,
    }
    if unit is not None:
        found |= {"unit_of_measurement": unit, "state_class": "measurement"}
    if kind is not None:
        found["device_class"] = kind
    return found
