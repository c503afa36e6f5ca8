"""What a dashboard receives: distinct nodes, and no alarm that outlives its cause."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import jsonschema
import pytest
from brokers import Mosquitto, find_mosquitto

from photonlink.pipeline.status.connection import BrokerAddress
from photonlink.pipeline.status.model import (
    Alarm,
    InstrumentState,
    LinkState,
    Phase,
    Severity,
)
from photonlink.pipeline.status.mqtt import MqttAddress, MqttPublisher
from photonlink.pipeline.status.payload import schema

CASE = Path(__file__).parents[1] / "cases" / "mqtt_two_publishers.py"
ALARM = Alarm("peer_absent", Severity.MAJOR, "nobody has connected")
PUMP = InstrumentState("Pump 1", "toptica.dlc_pro", "DLC_1", "real", "ok", "", {"emission": True})
DEADLINE_S = 30.0


@pytest.mark.row("MQTT: two links of one site take each other's connection")
@pytest.mark.row("MQTT: both ends publish the same topics and clear each other's alarm")
def test_both_ends_of_a_link_and_two_links_of_a_site_are_told_apart(mosquitto: Mosquitto) -> None:
    """Rows: same retained topics at both ends; client id is site and role."""
    done = subprocess.run(
        [sys.executable, str(CASE)], capture_output=True, text=True, check=False, timeout=90
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["right"] * 3, done.stdout
    assert done.returncode == 0


def _publisher(broker: Mosquitto) -> MqttPublisher:
    return MqttPublisher(
        MqttAddress(BrokerAddress("127.0.0.1", broker.port), "lab-1", "alice", "l0")
    )


@contextlib.asynccontextmanager
async def _running(publisher: MqttPublisher) -> AsyncIterator[MqttPublisher]:
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _held(broker: Mosquitto) -> dict[str, bytes]:
    """The retained messages that a newly started dashboard receives."""
    found = {}
    async with aiomqtt.Client(
        "127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5
    ) as client:
        await client.subscribe("photonlink/#", qos=1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                async for message in client.messages:
                    found[str(message.topic)] = bytes(message.payload)  # type: ignore[arg-type]
    return {k: v for k, v in found.items() if v}


async def _until(
    broker: Mosquitto, alarms: set[str], status: str | None = None
) -> dict[str, bytes]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                held = await _held(broker)
                found = {t.rpartition("/")[2] for t in held if "/alarm/" in t}
                stands = [json.loads(v)["status"] for t, v in held.items() if t.endswith("/status")]
                if found == alarms and (status is None or stands == [status]):
                    return held
            await asyncio.sleep(0.1)


@pytest.mark.row("MQTT: peer_absent stays after a stop, a kill, into the next start")
async def test_no_alarm_outlives_a_clean_stop(mosquitto: Mosquitto) -> None:
    publisher = _publisher(mosquitto)
    async with _running(publisher):
        publisher.offer(ALARM)
        await _until(mosquitto, {"peer_absent"}, "online")
        await publisher.close()
        await _until(mosquitto, set(), "offline")


KILLED = """
import asyncio, sys
from photonlink.pipeline.status.model import Alarm, Severity
from photonlink.pipeline.status.connection import BrokerAddress
from photonlink.pipeline.status.mqtt import MqttAddress, MqttPublisher
p = MqttPublisher(MqttAddress(BrokerAddress("127.0.0.1", int(sys.argv[1])), "lab-1", "alice", "l0"))
p.offer(Alarm("peer_absent", Severity.MAJOR, "nobody has connected"))
asyncio.run(p.run())
"""


@pytest.mark.row("MQTT: peer_absent stays after a stop, a kill, into the next start")
async def test_an_alarm_of_a_killed_node_ends_with_its_next_start(mosquitto: Mosquitto) -> None:
    node = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", KILLED, str(mosquitto.port)]
    )
    try:
        await _until(mosquitto, {"peer_absent"}, "online")
    finally:
        node.kill()
        node.wait()
    # the last will marks its earlier messages as invalid
    await _until(mosquitto, {"peer_absent"}, "offline")
    async with _running(_publisher(mosquitto)):
        await _until(mosquitto, set(), "online")


@pytest.mark.row("MQTT: an alarm cleared while the broker was away stays")
async def test_an_alarm_cleared_while_the_broker_was_away_is_not_left_behind(
    mosquitto: Mosquitto,
) -> None:
    async with _running(_publisher(mosquitto)) as publisher:
        publisher.offer(ALARM)
        await _until(mosquitto, {"peer_absent"})
        mosquitto.kill()
        publisher.offer(dataclasses.replace(ALARM, active=False))
        mosquitto.start()
        await _until(mosquitto, set(), "online")


@pytest.mark.row("MQTT: an idle publisher does not notice a broker restart")
async def test_an_idle_publisher_notices_that_its_broker_was_started_again(
    mosquitto: Mosquitto,
) -> None:
    async with _running(_publisher(mosquitto)):
        await _until(mosquitto, set(), "online")
        mosquitto.kill()
        mosquitto.start()  # no persistence: retained messages are lost
        await _until(mosquitto, set(), "online")


async def test_a_late_last_will_does_not_leave_a_living_node_offline(mosquitto: Mosquitto) -> None:
    async with _running(_publisher(mosquitto)) as publisher:
        held = await _until(mosquitto, set(), "online")
        topic = next(t for t in held if t.endswith("/status"))
        offline = held[topic].replace(b'"online"', b'"offline"')
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as other:
            await other.publish(topic, offline, qos=1, retain=True)
        await _until(mosquitto, set(), "online")
        publisher.offer(LinkState(Phase.SIFTING))


@pytest.mark.row("MQTT: laser state, bias, temperatures are not published")
async def test_instruments_are_published_and_fit_their_schema(mosquitto: Mosquitto) -> None:
    async with _running(_publisher(mosquitto)) as publisher:
        publisher.offer(PUMP)
        await _until(mosquitto, set(), "online")
        async with aiomqtt.Client(
            "127.0.0.1", mosquitto.port, protocol=aiomqtt.ProtocolVersion.V5
        ) as client:
            await client.subscribe("photonlink/v2/lab-1/+/instrument/pump-1", qos=1)
            async with asyncio.timeout(DEADLINE_S):
                message = await anext(client.messages)
    payload = json.loads(bytes(message.payload))  # type: ignore[arg-type]
    jsonschema.validate(payload, schema("instrument"))
    assert payload["emission"] is True
    assert payload["node"] == "l0-alice"


@pytest.mark.row("MQTT: topics and payloads do not name the node")
@pytest.mark.parametrize("name", ["state", "block", "alarm", "instrument", "meta", "status"])
def test_every_payload_names_the_node_that_speaks(name: str) -> None:
    assert {"v", "ts", "site", "node", "link", "role"} <= set(schema(name)["required"])


@pytest.mark.row("MQTT: topics and payloads do not name the node")
async def test_every_topic_names_the_node_that_speaks(mosquitto: Mosquitto) -> None:
    async with _running(_publisher(mosquitto)) as publisher:
        publisher.offer(ALARM)
        publisher.offer(LinkState(Phase.SIFTING))
        held = await _until(mosquitto, {"peer_absent"}, "online")
    assert len(held) >= 3
    assert all(topic.startswith("photonlink/v2/lab-1/l0-alice/") for topic in held), list(held)
    assert {json.loads(payload)["node"] for payload in held.values()} == {"l0-alice"}


@pytest.mark.row('wrong broker password is "broker lost"')
async def test_a_broker_that_refuses_the_user_is_not_called_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = find_mosquitto(tmp_path, anonymous=False)
    broker.start()
    where = BrokerAddress("127.0.0.1", broker.port, username="nobody")
    publisher = MqttPublisher(MqttAddress(where, "lab-1", "alice", "l0"))
    running = asyncio.create_task(publisher.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            while "refuses user 'nobody'" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        broker.kill()
    assert "check username and password_file" in caplog.text
