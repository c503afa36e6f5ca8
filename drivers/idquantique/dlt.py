"""ID Quantique's DataLinkTargetService ("DLT"): the vendor's program that hands out tags.

Text in, JSON out over ZeroMQ REQ/REP, port 6060; tags as arrays of uint64 picoseconds on one PAIR
socket per channel (the vendor's Python examples ``utils/common.py`` and ``utils/acquisitions.py``).
A message is one acquisition of one channel, and its times start at zero again. Whether an
acquisition without a tag sends a message is not documented, so acquisitions are counted by
``status``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.hal.decoders import merge
from photonlink.hal.errors import AcquisitionError, InstrumentError, LinkDesync, LinkTimeout
from photonlink.hal.links import Address
from photonlink.hal.links.zmq import ZmqLink, ZmqPairs
from photonlink.hal.tags import LostInterval, WireChunk

PORT = 6060
DEAD_PS = 40_000
"""Between two acquisitions of one recording (vendor's examples); 0.4 ppm of the time at 100 ms."""
SILENCE_PERIODS, SILENCE_S = 5, 1.0
"""Without an acquisition that ends for so long, the recording has stopped."""
Times = npt.NDArray[np.uint64]


class Service:
    """The service: one question at a time, each with a deadline."""

    def __init__(self, address: str, where: str, timeout_s: float) -> None:
        self.link = ZmqLink(Address.parse(f"zmq://{address}"))
        self._where, self._timeout_s = where, timeout_s

    async def ask(self, question: str) -> dict[str, Any]:
        """The reply, {} when it is empty. InstrumentError for an error reply."""

        async def again() -> None:
            await self.link.open(self._timeout_s)

        async with self.link.transaction(again):
            await self.link.send(question.encode(), self._timeout_s)
            text = await self.link.receive(self._timeout_s)
            try:
                reply = json.loads(text) if text.strip() else {}
            except ValueError:
                raise LinkDesync("no JSON from the DLT service", where=self.link.uri) from None
        if isinstance(reply, list):
            reply = {"list": reply}
        if "error" in reply:
            seen = str(reply["error"].get("description", reply["error"]))
            raise InstrumentError(
                f"the DLT service refused {question.split()[0]!r}", where=self._where, seen=seen
            )
        return dict(reply)


@dataclass(slots=True)
class Batch:
    """Events of one channel since the last batch: (acquisition, times), and the count of those
    without a time.
    """

    blocks: list[tuple[int, Times]]
    lost: tuple[int, int, int] | None  # acquisitions [from, to) and the tags in them


@dataclass(slots=True)
class Channel:
    """One channel's stream: received messages, and the number that have been placed in time."""

    number: int
    id: str
    known: int = 0  # acquisitions that ended and whose messages are placed
    tags: int = 0  # tags placed or given up
    received: int = 0
    waiting: deque[Times] = field(default_factory=deque)

    def came(self, message: memoryview, where: str) -> None:
        if len(message) % 8:
            raise AcquisitionError("a message that holds no whole tags", where=where)
        times = np.frombuffer(message, "<u8")
        self.received += len(times)
        if len(times):
            self.waiting.append(times)

    def place(self, acquisitions: int, tags: int, where: str) -> Batch:
        """Messages up to ``tags`` belong to the acquisitions up to ``acquisitions``.

        One message for each acquisition, or no message at all, is unambiguous. Otherwise some
        acquisitions were empty, and which ones is unknown: their tags have no time and count as
        lost.
        """
        blocks: list[Times] = []
        while self.waiting and self.tags < tags:
            blocks.append(self.waiting.popleft())
            self.tags += len(blocks[-1])
        if self.tags != tags:
            raise AcquisitionError(
                f"channel {self.number}: the service counts {tags} tags, {self.tags} came",
                where=where,
                hint="The host was too slow, or somebody else reads the stream",
            )
        first, self.known = self.known, acquisitions
        if len(blocks) == acquisitions - first:
            return Batch(list(enumerate(blocks, first)), None)
        if not blocks:
            return Batch([], None)
        return Batch([], (first, acquisitions, sum(map(len, blocks))))


def free_port() -> int:
    """A port that nobody on this host listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class DltStream:
    """The tags of all channels of one recording, as words in order of time.

    period_ps: from the start of one acquisition to that of the next. Word (format ``flat64``):
    channel - 1 in the top three bits, one set bit, 60 bits of picoseconds since the start.
    """

    def __init__(self, service: str, where: str, timeout_s: float, period_ps: int) -> None:
        self._service = Service(service, where, timeout_s)
        self._pairs = ZmqPairs()
        self._where, self._timeout_s, self._period_ps = where, timeout_s, period_ps
        self._channels: list[Channel] = []
        self._errors: tuple[int, ...] = ()
        self._moved_s = time.monotonic()

    async def open(self, host: str, channels: Sequence[int], first_port: int) -> None:
        """Have the tags of these channels sent to ``first_port`` and up (0: to free ports)."""
        await self._service.link.open(self._timeout_s)
        for number in channels:
            port = first_port + number - 1 if first_port else free_port()
            reply = await self._service.ask(
                f"start-stream --address {host} --channel {number} --stream-port {port}"
            )
            self._channels.append(Channel(number, str(reply["id"])))
            self._pairs.connect(number, self._service.link.address.host, port)

    async def close(self) -> None:
        """End the streams. An error of the service ends nothing here."""
        channels, self._channels = self._channels, []
        try:
            for channel in channels:
                if self._service.link.is_open:
                    with contextlib.suppress(InstrumentError):
                        await self._service.ask(f"stop --id {channel.id}")
        finally:
            await self._service.link.close()
            self._pairs.close()

    async def chunk(self, errors: tuple[int, ...]) -> WireChunk:
        """Words up to the last acquisition that all channels have finished.

        errors: the instrument's own counts of lost tags per channel.
        """
        found = [(c, *await self._status(c)) for c in list(self._channels)]
        since, ended = found[0][0].known, min(count for _, count, _ in found)
        if ended == since or any(count != ended for _, count, _ in found):
            self._not_silent()
            return WireChunk(b"")  # one channel is ahead: complete at a later poll
        self._moved_s = time.monotonic()
        streams, lost = [], self._told(errors, since, ended)
        for channel, _, tags in found:
            batch = await self._batch(channel, ended, tags)
            if batch.lost is not None:
                first, end, count = batch.lost
                lost.append(self._gap(first, end, count, "an acquisition without a tag"))
            elif batch.blocks:
                parts = [times + np.uint64(n * self._period_ps) for n, times in batch.blocks]
                whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
                streams.append((whole.view(np.int64), channel.number))
        return WireChunk(words(streams), tuple(lost))

    def _told(self, errors: tuple[int, ...], since: int, ended: int) -> list[LostInterval]:
        before, self._errors = self._errors, errors
        more = sum(errors) - sum(before)
        return [self._gap(since, ended + 1, more, "the instrument lost tags")] if more > 0 else []

    def _gap(self, first: int, end: int, count: int, reason: str) -> LostInterval:
        return LostInterval(first * self._period_ps, end * self._period_ps, count, reason)

    def _not_silent(self) -> None:
        limit_s = SILENCE_PERIODS * self._period_ps * 1e-12 + max(SILENCE_S, self._timeout_s)
        if time.monotonic() - self._moved_s > limit_s:
            raise LinkTimeout(f"no acquisition ended for {limit_s:.1f} s", where=self._where)

    async def _status(self, channel: Channel) -> tuple[int, int]:
        """(acquisitions that ended, tags sent) of a channel."""
        status = await self._service.ask(f"status --id {channel.id}")
        if status.get("errors"):
            seen = "; ".join(str(e.get("description", e)) for e in status["errors"])
            raise AcquisitionError("the DLT service reports errors", where=self._where, seen=seen)
        return int(status["acquisitions_count"]), int(status["timestamps_count"])

    async def _batch(self, channel: Channel, acquisitions: int, tags: int) -> Batch:
        deadline = time.monotonic() + self._timeout_s
        while channel.received < tags and time.monotonic() < deadline:
            message = self._pairs.take(channel.number)
            if message is not None:
                channel.came(message, self._where)
            else:
                await asyncio.sleep(0.002)
        return channel.place(acquisitions, tags, self._where)


def words(streams: Sequence[tuple[npt.NDArray[np.int64], int]]) -> bytes:
    """Sorted arrays of times, each of one channel, as ``flat64`` words in order of time."""
    if not streams:
        return b""
    times, channels = merge([(t, np.full(len(t), n - 1, np.uint8)) for t, n in streams])
    found = channels.astype(np.uint64)
    found <<= np.uint64(61)
    found |= times.view(np.uint64)
    found |= np.uint64(1 << 60)
    return found.tobytes()
