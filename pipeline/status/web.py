"""A node's own page for programs: ``/metrics`` for Prometheus, ``/events`` for ``watch --node``.

The event stream carries the messages that the node would publish over MQTT, with the same topics
and payloads: first the retained ones, then new ones. Read only, on loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

from aiohttp import web

from photonlink.pipeline.status import metrics
from photonlink.pipeline.status.metrics import NodeFigures
from photonlink.pipeline.status.model import (
    Alarm,
    BlockReport,
    CoincidenceHistogram,
    InstrumentState,
    LinkState,
    Readiness,
)
from photonlink.pipeline.status.payload import (
    Record,
    encode,
    encode_meta,
    encode_status,
    flatten,
)
from photonlink.pipeline.status.topics import Speaker

MAX_READERS, QUEUE_BOUND = 32, 256
STATE_S, BEAT_S = 0.5, 10.0


class StatusPage:
    """``offer`` takes records at any rate and never waits; a reader that is too slow is dropped."""

    def __init__(self, speaker: Speaker, software: str) -> None:
        self._speaker, self._software = speaker, software
        self._held: dict[str, bytes] = {}
        self._readers: set[asyncio.Queue[bytes | None]] = set()
        self._state: LinkState | None = None
        self._state_s = 0.0
        self._severities: dict[str, str] = {}
        self._seq = 0
        self.dropped = 0
        self.describe(emulated=None)

    def describe(self, *, emulated: bool | None) -> None:
        """What is known once the bench is open."""
        now, s = time.time(), self._speaker
        meta = encode_meta(s, now, peer_node=None, software=self._software, emulated=emulated)
        self._say(s.status, encode_status(s, "online", now))
        self._say(s.meta, meta)

    def offer(self, record: Record) -> None:
        """Take a record. States go out twice a second at most."""
        s, now = self._speaker, time.monotonic()
        if isinstance(record, LinkState):
            self._state = record
            if now - self._state_s < STATE_S:
                return
            self._state_s = now
        topic = _topic(s, record)
        if isinstance(record, Alarm):
            if not record.active:
                self._severities.pop(record.code, None)
                self._say(topic, b"")
                return
            self._severities[record.code] = record.severity.value
        self._seq += 1
        payload = encode(record, s, ts=time.time(), seq=self._seq)
        self._say(topic, payload, retain=not isinstance(record, BlockReport))

    def _say(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        if retain and payload:
            self._held[topic] = payload
        elif retain:
            self._held.pop(topic, None)
        event = _event(topic, payload)
        for reader in list(self._readers):
            if reader.full():  # it would miss records without notice: it must connect again
                self._readers.discard(reader)
                self.dropped += 1
                while not reader.empty():
                    reader.get_nowait()
                reader.put_nowait(None)
            else:
                reader.put_nowait(event)

    async def _metrics(self, request: web.Request) -> web.Response:
        s, state = self._speaker, flatten(self._state) if self._state else {}
        emulated = str(bool(state.get("emulated"))).lower()
        node = NodeFigures(
            (s.site, s.node, s.link, s.role, emulated), True, state, self._severities
        )
        return web.Response(
            body=metrics.exposition([node]), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._readers) >= MAX_READERS:
            raise web.HTTPServiceUnavailable(text="too many readers")
        reader: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_BOUND)
        self._readers.add(reader)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            for topic, payload in list(self._held.items()):
                await response.write(_event(topic, payload))
            while True:
                try:
                    async with asyncio.timeout(BEAT_S):
                        event = await reader.get()
                except TimeoutError:
                    event = b": still here\n\n"
                if event is None:
                    break
                async with asyncio.timeout(BEAT_S):
                    await response.write(event)
        except (ConnectionError, TimeoutError):
            pass  # the reader has closed, or does not read
        finally:
            self._readers.discard(reader)
        return response

    @contextlib.asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[int]:
        """Listen; yields the port. OSError when the address is taken."""
        app = web.Application()
        app.add_routes([web.get("/metrics", self._metrics), web.get("/events", self._events)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            yield int(runner.addresses[0][1])
        finally:
            farewell = encode_status(self._speaker, "offline", time.time())
            self._say(self._speaker.status, farewell)
            await asyncio.sleep(0)
            await runner.cleanup()


def _event(topic: str, payload: bytes) -> bytes:
    return b"data: " + json.dumps({"topic": topic, "payload": payload.decode()}).encode() + b"\n\n"


def _topic(s: Speaker, record: Record) -> str:
    if isinstance(record, LinkState):
        return s.state
    if isinstance(record, BlockReport):
        return s.block
    if isinstance(record, Alarm):
        return s.alarm(record.code)
    if isinstance(record, InstrumentState):
        return s.instrument(record.name)
    if isinstance(record, Readiness):
        return s.readiness
    if isinstance(record, CoincidenceHistogram):
        return s.histogram
    raise TypeError(record)
