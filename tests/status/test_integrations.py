"""Common dashboards: each is tested with the real program, or with its published schema."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from brokers import Mosquitto
from watch import figures as f

from photonlink.pipeline.status.asyncapi import PAGE, TOPICS, document
from photonlink.pipeline.status.broker import free_port
from photonlink.pipeline.status.connection import BrokerAddress
from photonlink.pipeline.status.home_assistant import SENSORS, discovery, discovery_topic
from photonlink.pipeline.status.mqtt import EXPIRY_S, MqttAddress, MqttPublisher
from photonlink.pipeline.status.payload import RECORD_SCHEMAS, schema
from photonlink.pipeline.status.topics import Speaker
from photonlink.pipeline.watch.history import History
from photonlink.pipeline.watch.metrics import exposition
from photonlink.pipeline.watch.service import Watch

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "build" / "web_peers" / "node_modules"
SPEAKER = Speaker("lab", "l0-alice", "l0", "alice")
DASHBOARDS = ROOT / "examples" / "dashboards"


def needs(there: object, what: str) -> None:
    """Skip the test where a peer is not installed; in CI, fail."""
    if not there:
        if os.environ.get("CI"):
            pytest.fail(f"CI installs {what}, but it is not here")
        pytest.skip(f"needs {what}")


# ---- Home Assistant ----

# home-assistant.io, "MQTT: device discovery payload" and "MQTT sensor", configuration variables;
# home-assistant/core, homeassistant/components/mqtt/schemas.py
DEVICE_KEYS = {
    "identifiers", "connections", "manufacturer", "model", "model_id", "name", "hw_version",
    "serial_number", "sw_version", "via_device", "suggested_area", "configuration_url",
}  # fmt: skip
TOP_KEYS = {
    "device", "origin", "components", "state_topic", "command_topic", "qos", "encoding",
    "availability", "availability_mode", "availability_topic", "availability_template",
    "payload_available", "payload_not_available",
}  # fmt: skip
SENSOR_KEYS = {
    "platform", "unique_id", "name", "value_template", "unit_of_measurement", "device_class",
    "state_class", "expire_after", "force_update", "icon", "entity_category", "enabled_by_default",
    "suggested_display_precision", "options", "state_topic", "availability", "default_entity_id",
}  # fmt: skip
# developers.home-assistant.io, "Sensor entity": units of a device class
UNITS = {
    "data_rate": {"bit/s", "kbit/s", "Mbit/s", "B/s"},
    "data_size": {"bit", "kbit", "Mbit", "B"},
}


def test_home_assistants_discovery_has_documented_keys_and_units_only() -> None:
    body = json.loads(discovery(SPEAKER, "photonlink 1", emulated=True))
    assert set(body) <= TOP_KEYS
    assert set(body["device"]) <= DEVICE_KEYS
    assert set(body["origin"]) <= {"name", "sw_version", "support_url"}
    assert "EMULATED" in body["device"]["name"]
    for sensor in body["components"].values():
        assert set(sensor) <= SENSOR_KEYS
        assert sensor["platform"] == "sensor"
        if "device_class" in sensor:
            assert sensor["unit_of_measurement"] in UNITS[sensor["device_class"]]
        if "unit_of_measurement" in sensor:
            assert sensor["state_class"] == "measurement"
    assert len({s["unique_id"] for s in body["components"].values()}) == len(SENSORS)
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", discovery_topic(SPEAKER))


def test_home_assistants_templates_give_the_figures_of_a_state() -> None:
    """Render the templates with Jinja, like Home Assistant, where Jinja is installed."""
    jinja2 = pytest.importorskip("jinja2")
    body = json.loads(discovery(SPEAKER, "photonlink 1", emulated=False))
    assert set(body["components"]) <= set(schema("state")["properties"])
    state = f.state("lab", "l0", "alice", 0.0, qber_hv=0.0213, skr_bps=None)

    def shown(name: str) -> str:
        template = body["components"][name]["value_template"]
        return str(jinja2.Environment().from_string(template).render(value_json=state))

    assert shown("qber_hv") == "2.13"
    assert shown("skr_bps") == "None", "Home Assistant: unknown"
    assert shown("phase") == "sifting"


async def test_a_node_tells_home_assistant_of_itself_when_it_is_asked_to(
    mosquitto: Mosquitto,
) -> None:
    where = BrokerAddress("127.0.0.1", mosquitto.port)
    publisher = MqttPublisher(MqttAddress(where, "lab", "alice", "l0", home_assistant=True))
    task = asyncio.create_task(publisher.run())
    try:
        async with asyncio.timeout(20):
            while not publisher.connected:  # noqa: ASYNC110 - state of the code under test
                await asyncio.sleep(0.02)
            for _ in range(2):  # the second connects after publication
                async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
                    await client.subscribe("homeassistant/#", qos=1)
                    message = await anext(client.messages)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert message.retain
    assert json.loads(message.payload)["origin"]["name"] == "photonlink"  # type: ignore[arg-type]


# ---- AsyncAPI ----


def test_the_asyncapi_document_is_that_of_the_schemas() -> None:
    assert json.loads((ROOT / PAGE).read_text(encoding="utf-8")) == document()
    assert set(document()["channels"]) == {*RECORD_SCHEMAS, "meta", "status"}


def test_the_asyncapi_document_says_what_the_publisher_does() -> None:
    for name, record in ((r.__name__, r) for r in EXPIRY_S):
        topic = {
            "LinkState": "state", "BlockReport": "block", "InstrumentState": "instrument",
            "CoincidenceHistogram": "histogram",
        }  # fmt: skip
        assert TOPICS[topic.get(name, name.lower())][3] == EXPIRY_S[record]


def test_asyncapis_own_parser_accepts_the_document_and_refuses_a_broken_one(tmp_path: Path) -> None:
    needs(shutil.which("node") and (PEERS / "@asyncapi").is_dir(), "@asyncapi/parser (npm)")

    script = Path(__file__).parents[1] / "web_peers" / "validate_asyncapi.js"
    broken = document()
    broken["operations"]["send_state"]["channel"]["$ref"] = "#/channels/nowhere"
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    done = subprocess.run(
        ["node", str(script), str(ROOT / PAGE), str(tmp_path / "broken.json")],
        capture_output=True, text=True, timeout=120, check=True,
        env=os.environ | {"NODE_PATH": str(PEERS)},
    )  # fmt: skip
    good, bad = done.stdout.splitlines()
    assert good == "valid"
    assert "invalid-ref" in bad


# ---- Prometheus and Grafana ----


@pytest.fixture
def metrics() -> bytes:
    watch = Watch(History(":memory:"), clock=lambda: 1e9)
    for topic, payload, _ in f.whole_link("lab", "l0", 1e9):
        watch.feed(topic, payload)
    raised = f.alarm("lab", "l0", "alice", 1e9, "no_key")
    watch.feed(f.topic("lab", "l0", "alice", "alarm", "no_key"), f.dump(raised))
    page = exposition(watch)
    watch.history.close(1e9)
    return page


def test_promtool_finds_nothing_to_complain_of(metrics: bytes) -> None:
    needs(shutil.which("promtool"), "promtool (Debian: prometheus)")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    wrong = metrics.replace(b"photonlink_up_ratio", b"photonlink_upTime")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=wrong, capture_output=True, timeout=60, check=False
    )
    assert done.returncode != 0, "it does find something where there is something"


def test_grafanas_dashboard_asks_for_metrics_that_there_are(metrics: bytes) -> None:
    board: dict[str, Any] = json.loads((DASHBOARDS / "grafana.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"photonlink_\w+", target["expr"])
    }
    there = set(re.findall(r"^photonlink_\w+", metrics.decode(), re.MULTILINE))
    assert len(asked) >= 8
    assert asked <= there, asked - there


def test_grafanas_dashboard_is_what_its_sdk_makes() -> None:
    pytest.importorskip("grafana_foundation_sdk")
    space: dict[str, Any] = {"__name__": "make_grafana"}
    exec((DASHBOARDS / "make_grafana.py").read_text(), space)  # noqa: S102 - our own example
    assert space["text"]() == (DASHBOARDS / "grafana.json").read_text()


# ---- Node-RED ----


def test_the_node_red_flow_shows_states_and_alarms(mosquitto: Mosquitto, tmp_path: Path) -> None:
    red = PEERS / "node-red" / "red.js"
    needs(shutil.which("node") and red.is_file(), "node-red (npm)")
    port = free_port()
    (tmp_path / "settings.js").write_text(
        f"module.exports = {{ uiPort: {port}, uiHost: '127.0.0.1', httpAdminRoot: false, "
        "telemetry: { enabled: false }, logging: { console: { level: 'error' } } };"
    )
    shutil.copy(DASHBOARDS / "node-red.json", tmp_path / "flows.json")
    environment = os.environ | {
        "PHOTONLINK_BROKER": "127.0.0.1", "PHOTONLINK_PORT": str(mosquitto.port),
    }  # fmt: skip
    process = subprocess.Popen(
        ["node", str(red), "-u", str(tmp_path), "-s", str(tmp_path / "settings.js"), "flows.json"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        asyncio.run(_publish(mosquitto.port))
        deadline, seen = time.monotonic() + 60, {}
        while not (seen.get("nodes") and seen.get("alarms")):
            assert time.monotonic() < deadline, seen
            time.sleep(0.3)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/photonlink", timeout=5) as r:
                    seen = json.load(r)
            except OSError:
                continue
    finally:
        process.terminate()
        process.wait(20)
    assert {n["node"] for n in seen["nodes"]} == {"l0-alice", "l0-bob"}
    assert seen["alarms"][0]["code"] == "no_key"


async def _publish(port: int) -> None:
    now = time.time()
    async with asyncio.timeout(20):
        while True:
            try:
                async with aiomqtt.Client("127.0.0.1", port) as client:
                    for topic, payload, _ in f.whole_link("lab", "l0", now):
                        await client.publish(topic, payload, qos=1, retain=True)
                    body = f.dump(f.alarm("lab", "l0", "alice", now, "no_key"))
                    topic = f.topic("lab", "l0", "alice", "alarm", "no_key")
                    await client.publish(topic, body, qos=1, retain=True)
                    return
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)
