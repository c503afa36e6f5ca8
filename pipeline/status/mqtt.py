"""Publishes the status of a node over MQTT 5.

Status only: messages from a broker never influence the key. The node hands records over without
waiting; the newest state replaces older ones, blocks queue up to a bound, and while a broker is
gone only records beyond the bound are lost. Topics and payloads: docs/mqtt.md and ``topics``.

A node subscribes to its own subtree only: messages retained by an earlier run, or a late last will,
are corrected as soon as they arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from dataclasses import dataclass
from importlib import metadata

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.status.connection import (
    BrokerAddress,
    SaidByClient,
    jittered,
)
from photonlink.pipeline.status.home_assistant import discovery, discovery_topic
from photonlink.pipeline.status.model import (
    Alarm,
    BlockReport,
    CoincidenceHistogram,
    InstrumentState,
    LinkState,
    Readiness,
)
from photonlink.pipeline.status.payload import Record, encode, encode_meta, encode_status
from photonlink.pipeline.status.topics import ROOT, Speaker, default_node

log = logging.getLogger(__name__)

MAX_MESSAGES_PER_SECOND = 10
STATE_INTERVAL_S = 0.5
INSTRUMENT_INTERVAL_S = 10.0
EXPIRY_S = {
    LinkState: 30, BlockReport: 60, InstrumentState: 60, Readiness: 120, CoincidenceHistogram: 600,
}  # fmt: skip
QUEUE_BOUND = 64
TIMEOUT_S = 5.0
KEEPALIVE_S = 15
BACKOFF_S = (0.5, 30.0)


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """The broker and the names under which this node publishes there."""

    broker: BrokerAddress
    site: str
    role: str
    link: str
    node: str | None = None  # none: LINK-ROLE
    home_assistant: bool = False  # announce this node to it
    position: tuple[float, float] | None = None  # latitude and longitude, degrees

    @property
    def speaker(self) -> Speaker:
        node = self.node or default_node(self.link, self.role)
        return Speaker(self.site, node, self.link, self.role, self.position)


class MqttPublisher:
    """``offer`` takes records at any rate; ``run`` publishes them until it is cancelled."""

    def __init__(self, address: MqttAddress) -> None:
        self._address = address
        self._speaker = address.speaker
        self._client_id = self._speaker.client_id(secrets.token_hex(4))
        self._state: LinkState | None = None
        self._blocks: deque[BlockReport] = deque()
        self._alarms: dict[str, tuple[Alarm, float]] = {}  # active, with the time it was raised
        self._changed: dict[str, None] = {}  # codes to publish, oldest first
        self._instruments: dict[str, InstrumentState] = {}
        self._instrument_due: dict[str, float] = {}
        self._readiness: Readiness | None = None  # to be published
        self._histogram: CoincidenceHistogram | None = None  # the latest
        self._histogram_due = False
        self._stale: dict[str, None] = {}  # topics retained by an earlier run of this node
        self._emulated: bool | None = None
        self._peer_node: str | None = None
        self._announce = True  # status and meta have to be published
        self._wake = asyncio.Event()
        self._stop = False
        self._seq = 0
        self.dropped = 0
        self.connected = False
        self.trouble = ""  # why there is no broker
        self._lost_s = 0.0
        self._said = SaidByClient()

    def offer(self, record: Record) -> None:
        """Take a record to be published when there is a broker; never waits, never fails."""
        if isinstance(record, LinkState):
            self._state = record
        elif isinstance(record, Alarm):
            self._offer_alarm(record)
        elif isinstance(record, Readiness):
            self._readiness = record
        elif isinstance(record, CoincidenceHistogram):
            self._histogram, self._histogram_due = record, True
        elif isinstance(record, InstrumentState):
            before = self._instruments.get(record.name)
            if before is None or before.state != record.state:
                self._instrument_due[record.name] = 0.0
            self._instruments[record.name] = record
        else:
            if len(self._blocks) >= QUEUE_BOUND:
                self._blocks.popleft()
                self.dropped += 1
            self._blocks.append(record)
        self._wake.set()

    def _offer_alarm(self, alarm: Alarm) -> None:
        if alarm.active:
            since = self._alarms.get(alarm.code, (alarm, time.time()))[1]
            self._alarms[alarm.code] = (alarm, since)
        else:
            self._alarms.pop(alarm.code, None)
        self._changed[alarm.code] = None

    def describe(self, *, emulated: bool) -> None:
        """What is known once the bench is open."""
        self._emulated, self._announce = emulated, True
        self._wake.set()

    def meet(self, peer_node: str) -> None:
        """Take the name of the node at the other end, once it has proved itself."""
        if peer_node and peer_node != self._peer_node:
            self._peer_node, self._announce = peer_node, True
            self._wake.set()

    async def run(self) -> None:
        """Connect, publish, and connect again with growing pauses; ends after ``close``."""
        pause = BACKOFF_S[0]
        while not self._stop:
            _end_if_cancelled()
            try:
                async with self._client() as client:
                    self._found()
                    pause = BACKOFF_S[0]
                    try:
                        await self._serve(client)
                    except asyncio.CancelledError:  # a clean DISCONNECT fires no will
                        await self._farewell(client)
                        raise
                    await self._farewell(client)
            except (aiomqtt.MqttError, OSError, PhotonlinkError) as error:
                self._lost(self._address.broker.why(error, self._said.last))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(jittered(pause)):
                        await self._closing()
                pause = min(2 * pause, BACKOFF_S[1])
        self.connected = False

    def _lost(self, why: str) -> None:
        """Report a lost broker once, and again when the reason changes; not at every attempt."""
        if self.trouble != why:
            log.warning("MQTT broker %s: %s; key making goes on", self._address.broker.where, why)
        if self.connected or not self._lost_s:
            self._lost_s = time.monotonic()
        self.connected, self.trouble = False, why

    def _found(self) -> None:
        if self.trouble:
            away_s = time.monotonic() - self._lost_s
            where = self._address.broker.where
            log.warning(
                "MQTT broker %s is back after %.0f s; blocks that did not reach it: %d",
                where, away_s, self.dropped,
            )  # fmt: skip
        self.connected, self.trouble, self._lost_s = True, "", 0.0

    async def close(self) -> None:
        """Let ``run`` publish queued records, clear every alarm, publish ``offline``, then end."""
        self._stop = True
        self._wake.set()

    async def _closing(self) -> None:
        while not self._stop:
            await self._wake.wait()
            self._wake.clear()

    def _client(self) -> aiomqtt.Client:
        will = encode_status(self._speaker, "offline", time.time())
        client = self._address.broker.client(
            self._client_id,
            self._said,
            keepalive_s=KEEPALIVE_S,
            timeout_s=TIMEOUT_S,
            will=aiomqtt.Will(self._speaker.status, will, qos=1, retain=True),
            most_out=QUEUE_BOUND,
        )
        client.pending_calls_threshold = QUEUE_BOUND
        return client

    async def _serve(self, client: aiomqtt.Client) -> None:
        pace = _Pace(MAX_MESSAGES_PER_SECOND)
        self._announce = True
        self._histogram_due = True
        self._changed |= dict.fromkeys(self._alarms)
        self._instrument_due = dict.fromkeys(self._instruments, 0.0)
        options = SubscribeOptions(qos=1, noLocal=True)
        await client.subscribe(self._speaker.subtree, options=options)
        listening = asyncio.create_task(self._listen(client))
        listening.add_done_callback(lambda _: self._wake.set())
        try:
            next_state = 0.0
            while True:
                _end_if_cancelled()
                self._wake.clear()
                await self._publish_due(client, pace)
                if self._state is not None and (self._stop or time.monotonic() >= next_state):
                    state, self._state = self._state, None
                    await self._publish(client, self._speaker.state, state, pace)
                    next_state = time.monotonic() + STATE_INTERVAL_S
                if listening.done():
                    listening.result()  # the broker is gone
                if self._stop and not self._blocks and not self._changed and self._state is None:
                    return
                with contextlib.suppress(TimeoutError):
                    # not wait_for: in Python 3.11 it can swallow a cancellation that comes with it
                    async with asyncio.timeout(STATE_INTERVAL_S):
                        await self._wake.wait()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _publish_due(self, client: aiomqtt.Client, pace: _Pace) -> None:
        """All but the state. Each is taken off its queue only once the broker has it."""
        if self._announce:
            self._announce = False
            await self._retain(client, self._speaker.status, self._status("online"), pace)
            await self._retain(client, self._speaker.meta, self._meta(), pace)
            if self._address.home_assistant:
                found = discovery(self._speaker, _software(), emulated=self._emulated)
                await self._retain(client, discovery_topic(self._speaker), found, pace)
        while self._changed:
            code = next(iter(self._changed))
            held = self._alarms.get(code)
            await self._publish_alarm(client, code, held, pace)
            if self._alarms.get(code) == held:
                self._changed.pop(code, None)
        while self._stale:
            topic = next(iter(self._stale))
            await self._retain(client, topic, b"", pace)
            self._stale.pop(topic, None)
        while self._blocks:
            block = self._blocks[0]
            await self._publish(client, self._speaker.block, block, pace)
            if self._blocks and self._blocks[0] is block:
                self._blocks.popleft()
        if (readiness := self._readiness) is not None:
            await self._publish(client, self._speaker.readiness, readiness, pace)
            self._readiness = None if self._readiness is readiness else self._readiness
        if self._histogram_due and (histogram := self._histogram) is not None:
            self._stale.pop(self._speaker.histogram, None)
            await self._publish(client, self._speaker.histogram, histogram, pace)
            self._histogram_due = self._histogram is not histogram
        for name, instrument in list(self._instruments.items()):
            if time.monotonic() >= self._instrument_due.get(name, 0.0):
                self._instrument_due[name] = time.monotonic() + INSTRUMENT_INTERVAL_S
                await self._publish(client, self._speaker.instrument(name), instrument, pace)

    async def _listen(self, client: aiomqtt.Client) -> None:
        """Read own messages of an earlier run. Ends with MqttError as soon as the broker is
        gone.
        """
        speaker = self._speaker
        async for message in client.messages:
            topic, payload = str(message.topic), message.payload
            if not payload or self._stop:
                continue
            if topic == speaker.status:
                if b'"offline"' in bytes(payload if isinstance(payload, bytes) else b""):
                    self._announce = True  # the last will of a connection that broke
            elif message.retain and self._outlived(topic):
                self._stale[topic] = None
            else:
                continue
            self._wake.set()

    def _outlived(self, topic: str) -> bool:
        """Whether a message is retained and not from this run of the node."""
        speaker = self._speaker
        alive = {
            speaker.meta,
            speaker.state,
            speaker.readiness,
            *(speaker.alarm(code) for code in self._alarms),
        }
        alive |= {speaker.instrument(name) for name in self._instruments}
        if self._histogram is not None:
            alive.add(speaker.histogram)
        return topic.startswith(f"{ROOT}/") and topic not in alive

    async def _farewell(self, client: aiomqtt.Client) -> None:
        """No alarm outlives the node; then ``offline``."""
        for code in (*self._alarms, *self._changed):
            await client.publish(self._speaker.alarm(code), b"", qos=1, retain=True)
        await client.publish(self._speaker.status, self._status("offline"), qos=1, retain=True)

    async def _publish(
        self,
        client: aiomqtt.Client,
        topic: str,
        record: LinkState | BlockReport | InstrumentState | Readiness | CoincidenceHistogram,
        pace: _Pace,
    ) -> None:
        await pace.wait()
        self._seq += 1
        await client.publish(
            topic,
            encode(record, self._speaker, ts=time.time(), seq=self._seq),
            qos=0,
            retain=not isinstance(record, BlockReport),
            properties=_properties(EXPIRY_S[type(record)]),
        )

    async def _publish_alarm(
        self, client: aiomqtt.Client, code: str, held: tuple[Alarm, float] | None, pace: _Pace
    ) -> None:
        payload = b""
        if held is not None:
            self._seq += 1
            now = time.time()
            payload = encode(held[0], self._speaker, ts=now, seq=self._seq, since_ts=held[1])
        await self._retain(client, self._speaker.alarm(code), payload, pace)

    async def _retain(
        self, client: aiomqtt.Client, topic: str, payload: bytes, pace: _Pace
    ) -> None:
        await pace.wait()
        await client.publish(topic, payload, qos=1, retain=True, properties=_properties(None))

    def _status(self, status: str) -> bytes:
        return encode_status(self._speaker, status, time.time())

    def _meta(self) -> bytes:
        now = time.time()
        return encode_meta(
            self._speaker,
            now,
            peer_node=self._peer_node,
            software=_software(),
            emulated=self._emulated,
        )


def _software() -> str:
    return f"photonlink {metadata.version('photonlink')}"


def _properties(expiry_s: int | None) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    return properties


def _end_if_cancelled() -> None:
    """The library waits with ``wait_for``, which in Python 3.11 swallows a cancellation that comes
    together with what it waited for: without this the task would never end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


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
