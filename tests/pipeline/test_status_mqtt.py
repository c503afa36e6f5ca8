"""Status over MQTT: what is published, how often, and the effect of a lost broker."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiomqtt
import jsonschema
import pytest
from brokers import Mosquitto

from photonlink.pipeline.status.broker import EmbeddedBroker
from photonlink.pipeline.status.connection import BrokerAddress
from photonlink.pipeline.status.model import Alarm, BlockReport, LinkState, Phase, Severity
from photonlink.pipeline.status.mqtt import QUEUE_BOUND, MqttAddress, MqttPublisher
from photonlink.pipeline.status.payload import encode, flatten, schema
from photonlink.pipeline.status.topics import Speaker

BASE = "photonlink/v2/lab-1/l0-alice"
SPEAKER = Speaker("lab-1", "l0-alice", "l0", "alice")
HEAD = {"v", "ts", "seq", "site", "node", "link", "role"}
STATE = LinkState(Phase.SIFTING, rate_hz={"H": 1e5, "V": math.nan}, qber_da=0.02, emulated=True)
BLOCK = BlockReport(
    1, 200_000, 100_000, 100_000, 200_000, 0, 0.02, 0.021, 15_000, 1.05, 64, 40_000, 1024, 38_976,
    30_000, 1.1e-10, 0.08, 0.08, 40, 21.0, True,
)  # fmt: skip
ALARM = Alarm("clock_lost", Severity.MAJOR, "the clock was lost; looking for it again")


@pytest.fixture(params=["embedded", "mosquitto"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "embedded":
        with EmbeddedBroker() as broker:
            yield broker.port
    else:
        yield request.getfixturevalue("mosquitto").port


def _publisher(port: int) -> MqttPublisher:
    return MqttPublisher(MqttAddress(BrokerAddress("127.0.0.1", port), "lab-1", "alice", "l0"))


@contextlib.asynccontextmanager
async def _running(publisher: MqttPublisher) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(publisher.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def _subscribed(port: int) -> AsyncIterator[aiomqtt.Client]:
    deadline = time.monotonic() + 20
    while True:
        try:
            async with aiomqtt.Client(
                "127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5
            ) as client:
                await client.subscribe("photonlink/#", qos=1)
                yield client
                return
        except aiomqtt.MqttError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def _next(client: aiomqtt.Client, ending: str) -> aiomqtt.Message:
    async with asyncio.timeout(20):
        async for message in client.messages:
            if str(message.topic).endswith(ending):
                return message
    raise AssertionError("unreachable")


def _check(message: aiomqtt.Message, name: str) -> dict[str, Any]:
    assert isinstance(message.payload, bytes)
    payload: dict[str, Any] = json.loads(message.payload)
    jsonschema.validate(payload, schema(name))
    return payload


def _status(message: aiomqtt.Message) -> str:
    return str(_check(message, "status")["status"])


async def test_birth_state_block_alarm_and_farewell(port: int) -> None:
    publisher = _publisher(port)
    async with _subscribed(port) as client, _running(publisher) as task:
        assert _status(await _next(client, "lab-1/l0-alice/status")) == "online"
        assert _check(await _next(client, "lab-1/l0-alice/meta"), "meta")["role"] == "alice"
        publisher.offer(STATE)
        state = await _next(client, "link/l0/state")
        payload = _check(state, "state")
        assert payload["rate_h_hz"] == 1e5
        assert payload["rate_v_hz"] is None, "NaN becomes null"
        assert payload["emulated"] is True
        assert state.properties is not None
        assert 0 < state.properties.MessageExpiryInterval <= 30
        publisher.offer(BLOCK)
        assert _check(await _next(client, "link/l0/block"), "block")["net_bits"] == 38_976
        publisher.offer(ALARM)
        assert _check(await _next(client, "alarm/clock_lost"), "alarm")["active"] is True
        publisher.offer(dataclasses.replace(ALARM, active=False))
        assert (await _next(client, "alarm/clock_lost")).payload in (b"", None)
        await publisher.close()
        assert _status(await _next(client, "lab-1/l0-alice/status")) == "offline"
        async with asyncio.timeout(10):
            await task


async def test_state_is_retained_for_who_comes_later(port: int) -> None:
    publisher = _publisher(port)
    async with _running(publisher):
        async with _subscribed(port) as first:
            publisher.offer(STATE)
            await _next(first, "link/l0/state")
        async with _subscribed(port) as late:
            message = await _next(late, "link/l0/state")
            assert message.retain
            _check(message, "state")


NODE = """
import asyncio, sys
from photonlink.pipeline.status.connection import BrokerAddress
from photonlink.pipeline.status.mqtt import MqttAddress, MqttPublisher
where = BrokerAddress("127.0.0.1", int(sys.argv[1]))
asyncio.run(MqttPublisher(MqttAddress(where, "lab-1", "alice", "l0")).run())
"""


async def test_last_will_when_the_node_is_killed(port: int) -> None:
    async with _subscribed(port) as client:
        node = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", NODE, str(port)]
        )
        try:
            assert _status(await _next(client, "status")) == "online"
        finally:
            node.kill()
            node.wait()
        assert _status(await _next(client, "status")) == "offline"


async def test_a_cancelled_node_says_goodbye(port: int) -> None:
    async with _subscribed(port) as client:
        async with _running(_publisher(port)):
            assert _status(await _next(client, "status")) == "online"
        assert _status(await _next(client, "status")) == "offline"


async def test_a_cancellation_that_the_library_swallows_ends_it_too(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``wait_for`` of Python 3.11 does if its awaitable completes in the same moment."""
    whole, swallowed = aiomqtt.Client.publish, asyncio.Event()

    async def publish(self: aiomqtt.Client, *args: Any, **more: Any) -> None:
        await whole(self, *args, **more)
        if not swallowed.is_set():
            swallowed.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    monkeypatch.setattr(aiomqtt.Client, "publish", publish)
    task = asyncio.create_task(_publisher(port).run())
    async with asyncio.timeout(20):
        await swallowed.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert task.done()


async def test_never_more_than_ten_messages_in_a_second(port: int) -> None:
    publisher = _publisher(port)
    arrived: list[float] = []
    async with _subscribed(port) as client, _running(publisher):
        await _next(client, "l0-alice/meta")
        for _ in range(30):
            publisher.offer(BLOCK)
        async with asyncio.timeout(30):
            async for message in client.messages:
                arrived.append(time.monotonic())
                publisher.offer(STATE)
                if sum(1 for _ in arrived) >= 25 or message is None:
                    break
    # at most ten messages a second; the margin allows for jitter of arrival
    gaps = [b - a for a, b in zip(arrived, arrived[11:], strict=False)]
    assert gaps
    assert min(gaps) > 0.8


async def test_broker_killed_and_back_again(mosquitto: Mosquitto) -> None:
    publisher = _publisher(mosquitto.port)
    async with _running(publisher) as task:
        async with _subscribed(mosquitto.port) as client:
            publisher.offer(ALARM)
            await _next(client, "alarm/clock_lost")
        mosquitto.kill()
        started = time.monotonic()
        for _ in range(3 * QUEUE_BOUND):
            publisher.offer(BLOCK)  # does not block without a broker
        assert time.monotonic() - started < 30
        assert publisher.dropped >= 2 * QUEUE_BOUND - 1, "the queue has a bound"
        mosquitto.start()
        async with _subscribed(mosquitto.port) as client:
            publisher.offer(STATE)
            missing = {f"{BASE}/link/l0/state", f"{BASE}/alarm/clock_lost"}
            async with asyncio.timeout(20):
                while missing:
                    missing.discard(str((await anext(client.messages)).topic))
        assert not task.done()


def test_schemas_name_every_field_and_refuse_others() -> None:
    for name, record in (("state", STATE), ("block", BLOCK), ("alarm", ALARM)):
        properties = set(schema(name)["properties"])
        more = {"cause", "action", "since_ts"} if name == "alarm" else set()
        assert properties == set(flatten(record)) | HEAD | more
        payload = json.loads(encode(record, SPEAKER, ts=1.0, seq=0))
        jsonschema.validate(payload, schema(name))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(payload | {"key": "00"}, schema(name))


async def test_a_cancellation_that_comes_with_a_record_is_heard(port: int) -> None:
    publisher = _publisher(port)
    async with _subscribed(port) as client:
        task = asyncio.create_task(publisher.run())
        await _next(client, "l0-alice/meta")
        for _ in range(20):
            await asyncio.sleep(0.01)
        publisher.offer(STATE)  # wakes the publisher in the step in which it is cancelled
        task.cancel()
        async with asyncio.timeout(20):
            await asyncio.gather(task, return_exceptions=True)
        assert _status(await _next(client, "status")) == "offline"
