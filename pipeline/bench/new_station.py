"""Station files: a new one, one from what is plugged in, and the schema that editors read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from photonlink.hal.registry import Registration, load_driver, registration, registry
from photonlink.pipeline.bench.scan import Scan
from photonlink.pipeline.node.simulated_station import SimulatedStation
from photonlink.pipeline.node.station import NodeStation

_HEAD = """\
#:schema station.schema.json
# A bench. Check it with: photonlink station check {name}.toml
# Names and meaning of every key: docs/station.md; drivers: photonlink drivers
schema = 2
name = "{name}"
"""
_EMULATED = """\

[sim]                           # --sim starts these emulators
run_dir = "{name}-run"

[instruments.pump]
driver = "toptica.dlc_pro"
backend = "emulator"
emulator = "sim:pump"
settings = {{ current_ma = 120.0 }}

[instruments.tagger]
driver = "sfifteen.tdc1"
backend = "emulator"
emulator = "sim:alice-tagger"
"""
_DETECTOR = """
[instruments.spd-{letter}]
driver = "sfifteen.irspd1"
backend = "emulator"
emulator = "sim:alice-spd-{letter}"
settings = {{ bias_v = 62.0 }}
"""


def emulated_station(name: str) -> str:
    """A station whose instruments are those of the emulated bench's first side."""
    head = _HEAD.format(name=name) + _EMULATED.format(name=name)
    return head + "".join(_DETECTOR.format(letter=letter) for letter in "hvda")


def station_of(name: str, drivers: Iterable[str]) -> str:
    """A station with these drivers; addresses and required settings are to be filled in."""
    return _HEAD.format(name=name) + "".join(
        _table(driver.partition(".")[2].replace("_", "-"), driver, "") for driver in drivers
    )


def station_from_scan(name: str, found: Scan) -> tuple[str, list[str]]:
    """(text, omitted devices with the reason). Devices that fit exactly one driver are written."""
    text, left, names = _HEAD.format(name=name), [], set[str]()
    for seen in found.devices:
        device = seen.device
        told = f"{device.manufacturer} {device.product} {device.serial}".strip() or device.usb_id
        if len(seen.drivers) != 1:
            why = f"fits {', '.join(seen.drivers)}" if seen.drivers else "no driver names it"
            left.append(f"{told}: {why}")
            continue
        driver = seen.drivers[0]
        base = driver.partition(".")[2].replace("_", "-")
        each = base
        while each in names:
            each = f"{base}-{1 + sum(n.startswith(base) for n in names)}"
        names.add(each)
        serial = seen.identity.serial if seen.identity is not None else device.serial
        text += _table(each, driver, device.address, serial if device.address else "", told)
    return text, left


def _table(name: str, driver: str, address: str, serial: str = "", comment: str = "") -> str:
    entry = registration(driver)
    kind = load_driver(driver)
    lines = [f"\n[instruments.{name}]" + (f"   # {_plain(comment)}" if comment else "")]
    lines.append(f'driver = "{driver}"')
    lines.append(f"address = {_quoted(address or _example(entry))}")
    if serial:
        lines.append(f"match = {{ serial = {_quoted(serial)} }}")
    required = [k for k, field in kind.Settings.model_fields.items() if field.is_required()]
    example = entry.settings if entry is not None else {}
    if required:
        inside = ", ".join(f"{key} = {_toml(example.get(key, 0))}" for key in required)
        lines.append(f"settings = {{ {inside} }}   # required: correct them")
    return "\n".join(lines) + "\n"


def _example(entry: Registration | None) -> str:
    scheme = entry.transports[0] if entry is not None else "tcp"
    return {
        "tcp": "tcp://192.168.1.20:1998",
        "serial": "serial:///dev/serial/by-id/CORRECT-THIS",
        "lib": "lib:///opt/vendor/libCORRECT-THIS.so#index=0",
        "package": "package:vendor.CorrectThis",
        "visa": "visa:USB0::0x0000::0x0000::SERIAL::INSTR",
        "zmq": "zmq://192.168.1.20:5555",
        "udp": "udp://192.168.1.20:5000",
        "http": "http://192.168.1.20",
        "program": "program:///usr/bin/correct-this",
    }[scheme]


def _plain(text: str) -> str:
    return re.sub(r"[^\w .:/-]", "?", text)[:80]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else "?" for c in escaped) + '"'


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else str(value)


def schema(*, node: bool = False) -> dict[str, Any]:
    """JSON Schema (2020-12) of a station file: drivers by name, each with its own settings."""
    model = NodeStation if node else SimulatedStation
    found = model.model_json_schema(by_alias=True)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    entry = found["$defs"]["InstrumentEntry"]
    drivers = registry().drivers
    entry["properties"]["driver"] = {
        "title": "Driver",
        "oneOf": [{"const": d.id, "title": d.title} for d in drivers.values()],
    }
    entry["allOf"] = [_settings_rule(d.id, found["$defs"]) for d in drivers.values()]
    return found


def _settings_rule(driver: str, definitions: dict[str, Any]) -> dict[str, Any]:
    settings = load_driver(driver).Settings.model_json_schema()
    for name, inner in settings.pop("$defs", {}).items():
        definitions.setdefault(name, inner)
    key = f"settings {driver}"
    definitions[key] = settings
    then: dict[str, Any] = {"properties": {"settings": {"$ref": f"#/$defs/{key}"}}}
    if settings.get("required"):
        then["required"] = ["settings"]
    return {"if": {"properties": {"driver": {"const": driver}}}, "then": then}


def write_new(path: Path, text: str) -> None:
    """A new file; FileExistsError when there is one."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
