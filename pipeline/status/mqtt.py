"""Publishes the status of a link over MQTT 5. The only module that knows aiomqtt.

Status only, one way: nothing is subscribed to and nothing a broker says reaches the key. The
session hands records over without waiting; newest state replaces older, blocks and alarms
queue up to a bound, and a broker that is gone costs nothing but what the bound drops.

Topics below ``photonlink/v1/{site}/`` (site, node and link are lower case, [a-z0-9-]):

    node/{node}/status   retained, QoS 1, birth and last will       online | offline
    link/{link}/meta     retained, QoS 1                            schema ids, publisher
    link/{link}/state    retained, QoS 0, expires after 30 s        LinkState
    link/{link}/block    QoS 0, expires after 60 s                  BlockReport
    alarm/{code}         retained, QoS 1, emptied when it clears    Alarm
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections import deque
from dataclasses import dataclass

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from photonlink.pipeline.status.model import Alarm, BlockReport, LinkState
from photonlink.pipeline.status.payload import SCHEMA_VERSION, encode

log = logging.getLogger(__name__)

MAX_MESSAGES_PER_SECOND = 10
STATE_INTERVAL_S = 0.5
STATE_EXPIRY_S = 30
BLOCK_EXPIRY_S = 60
QUEUE_BOUND = 64
TIMEOUT_S = 5.0
BACKOFF_S = (0.5, 30.0)


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where the broker is and under which names this node publishes."""

    host: str
    port: int
    site: str
    node: str
    link: str
    username: str | None = None
    password: str | None = None


class MqttPublisher:
    """``offer`` takes records at any rate; ``run`` publishes them until it is cancelled."""

    def __init__(self, address: MqttAddress) -> None:
        self._address = address
        self._root = f"photonlink/v1/{address.site}"
        self._state: LinkState | None = None
        self._events: deque[BlockReport | Alarm] = deque()
        self._alarms: dict[str, Alarm] = {}
        self._wake = asyncio.Event()
        self._stop = False
        self._seq = 0
        self.dropped = 0
        self.connected = False

    def offer(self, record: LinkState | BlockReport | Alarm) -> None:
        """Take a record to be published when there is a broker; never waits, never fails."""
        if isinstance(record, LinkState):
            self._state = record
        else:
            if isinstance(record, Alarm):
                self._alarms[record.code] = record
            if len(self._events) >= QUEUE_BOUND:
                self._events.popleft()
                self.dropped += 1
            self._events.append(record)
        self._wake.set()

    async def run(self) -> None:
        """Connect, publish, and connect again with growing pauses; ends after ``close``."""
        pause = BACKOFF_S[0]
        while not self._stop:
            try:
                async with self._client() as client:
                    self.connected, pause = True, BACKOFF_S[0]
                    log.info("MQTT broker %s:%d connected", self._address.host, self._address.port)
                    try:
                        await self._serve(client)
                    finally:  # also when cancelled: a clean DISCONNECT fires no will
                        await client.publish(self._status_topic, b"offline", qos=1, retain=True)
            except (aiomqtt.MqttError, OSError) as error:
                if self.connected or pause == BACKOFF_S[0]:
                    log.warning("MQTT broker lost, key making goes on: %s", error)
                self.connected = False
                with contextlib.suppress(TimeoutError):
                    # jitter, so that many nodes do not come back in one instant
                    async with asyncio.timeout(pause * random.uniform(0.5, 1.0)):  # noqa: S311
                        await self._closing()
                pause = min(2 * pause, BACKOFF_S[1])
        self.connected = False

    async def close(self) -> None:
        """Let ``run`` publish what waits and say goodbye (``offline``), then end."""
        self._stop = True
        self._wake.set()

    async def _closing(self) -> None:
        while not self._stop:
            await self._wake.wait()
            self._wake.clear()

    def _client(self) -> aiomqtt.Client:
        a = self._address
        client = aiomqtt.Client(
            a.host,
            a.port,
            identifier=f"photonlink-{a.site}-{a.node}",
            username=a.username,
            password=a.password,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(self._status_topic, b"offline", qos=1, retain=True),
            timeout=TIMEOUT_S,
            max_queued_outgoing_messages=QUEUE_BOUND,
        )
        client.pending_calls_threshold = QUEUE_BOUND
        return client

    @property
    def _status_topic(self) -> str:
        return f"{self._root}/node/{self._address.node}/status"

    async def _serve(self, client: aiomqtt.Client) -> None:
        link = f"{self._root}/link/{self._address.link}"
        pace = _Pace(MAX_MESSAGES_PER_SECOND)
        await pace.wait()
        await client.publish(self._status_topic, b"online", qos=1, retain=True)
        await pace.wait()
        await client.publish(f"{link}/meta", self._meta(), qos=1, retain=True)
        for alarm in [a for a in self._alarms.values() if a.active and a not in self._events]:
            await self._publish_alarm(client, alarm, pace)
        next_state = 0.0
        while True:
            while self._events:
                # taken off the queue only once the broker has it
                event = self._events[0]
                if isinstance(event, Alarm):
                    await self._publish_alarm(client, event, pace)
                else:
                    await self._publish(client, f"{link}/block", event, pace, BLOCK_EXPIRY_S)
                if self._events and self._events[0] is event:
                    self._events.popleft()
            if self._state is not None and (self._stop or time.monotonic() >= next_state):
                state, self._state = self._state, None
                await self._publish(client, f"{link}/state", state, pace, STATE_EXPIRY_S)
                next_state = time.monotonic() + STATE_INTERVAL_S
            if self._stop and not self._events and self._state is None:
                return
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                # not wait_for: in Python 3.11 it can swallow a cancellation that comes with a wake
                async with asyncio.timeout(STATE_INTERVAL_S):
                    await self._wake.wait()

    async def _publish(
        self,
        client: aiomqtt.Client,
        topic: str,
        record: LinkState | BlockReport,
        pace: _Pace,
        expiry_s: int,
    ) -> None:
        await pace.wait()
        self._seq += 1
        await client.publish(
            topic,
            encode(record, ts=time.time(), seq=self._seq),
            qos=0,
            retain=isinstance(record, LinkState),
            properties=_properties(type(record).__name__, expiry_s),
        )

    async def _publish_alarm(self, client: aiomqtt.Client, alarm: Alarm, pace: _Pace) -> None:
        await pace.wait()
        self._seq += 1
        payload = encode(alarm, ts=time.time(), seq=self._seq) if alarm.active else b""
        topic = f"{self._root}/alarm/{alarm.code}"
        await client.publish(
            topic, payload, qos=1, retain=True, properties=_properties("Alarm", None)
        )
        if not alarm.active:
            self._alarms.pop(alarm.code, None)

    def _meta(self) -> bytes:
        a = self._address
        return json.dumps(
            {
                "v": SCHEMA_VERSION,
                "node": a.node,
                "link": a.link,
                "state_schema": f"photonlink/v{SCHEMA_VERSION}/state.schema.json",
                "block_schema": f"photonlink/v{SCHEMA_VERSION}/block.schema.json",
                "alarm_schema": f"photonlink/v{SCHEMA_VERSION}/alarm.schema.json",
            }
        ).encode()


def _properties(record: str, expiry_s: int | None) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    properties.UserProperty = ("schema", f"photonlink/v{SCHEMA_VERSION}/{record}")
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    return properties


class _Pace:
    """Lets at most ``per_second`` pass in any second."""

    def __init__(self, per_second: int) -> None:
        self._sent: deque[float] = deque(maxlen=per_second)

    async def wait(self) -> None:
        if len(self._sent) == self._sent.maxlen:
            pause = self._sent[0] + 1.0 - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
        self._sent.append(time.monotonic())
