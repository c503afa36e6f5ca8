"""TDC1: its words, its quirks, its stream. The far end is a script on a pty."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from wire_peers import PtyPeer, pty_peer

from photonlink.drivers.sfifteen import tdc1
from photonlink.drivers.sfifteen.tdc1 import Tdc1
from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import (
    IdentityError,
    InstrumentError,
    LinkClosed,
    LinkDesync,
    LinkTimeout,
    ReadbackMismatch,
)
from photonlink.hal.tags import WireChunk


class Tagger:
    """Answers as the vendor's ``s15lib`` expects it."""

    def __init__(self) -> None:
        self.idn = b"TDC1 S-Fifteen SN 42"
        self.time, self.mode, self.level, self.refclk = 1000, 0, -0.5, 0
        self.deaf = False
        self.signed = False
        self.stream: bytes | None = b""
        self.aborts = 0

    def __call__(self, question: bytes) -> bytes | None:
        word, _, rest = question.decode("latin-1").lower().partition(" ")
        if word in ("singles", "pairs", "timestamp") and not self.deaf:
            self.mode = {"singles": 0, "pairs": 1, "timestamp": 3}[word]
        elif word == "time":
            self.time = int(rest)
        elif word in ("nim", "ttl") and not self.deaf:
            self.level = {"nim": -0.5, "ttl": 1.0}[word]
        elif word in ("neg", "pos") and not self.deaf:
            self.level = float(rest)
        elif word == "refclk" and not self.deaf:
            self.refclk = int(rest)
        elif word == "abort":
            self.aborts += 1
        elif word == "counts?":
            return self.stream if self.mode == 3 else b"11 22 33 44\r\n"
        shown = self.time - 65_536 if self.signed and self.time > 32_767 else self.time
        replies = {
            "*idn?": self.idn,
            "time?": str(shown).encode(),
            "mode?": str(self.mode).encode(),
            "level?": f"{self.level} V NIM".encode(),
            "refclk?": str(self.refclk).encode(),
            "eclock?": b"0",
        }
        return replies[word] + b"\r\n" if word in replies else None


@asynccontextmanager
async def tagger(tmp: Path, **settings: Any) -> AsyncIterator[tuple[Tdc1, Tagger, PtyPeer]]:
    device = Tagger()
    with pty_peer(tmp / "tdc1", device) as peer:
        settings.setdefault("reply_timeout_s", 0.4)
        driver = Tdc1("tagger", peer.uri, Tdc1.Settings(**settings))
        try:
            yield driver, device, peer
        finally:
            await driver.close()


def word(ticks: int, pattern: int) -> bytes:
    return struct.pack("<I", (ticks & 0x7FFFFFF) << 5 | pattern)


async def test_open_ends_an_old_stream_and_identifies(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, peer):
        identity = await driver.open()
        assert identity.serial == "42"
        assert device.aborts == 1
        assert peer.seen[:2] == [b"abort", b"*IDN?"]


async def test_another_instrument_is_named(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, _):
        device.idn = b"S-Fifteen SPD"
        with pytest.raises(IdentityError, match="S-Fifteen SPD"):
            await driver.open()
        assert not driver.codec.link.is_open


async def test_a_stream_that_will_not_end_stays_out_of_the_message(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, _):
        device.idn = b"raw\xffkey"
        with pytest.raises(LinkDesync) as caught:
            await driver.open()
        assert "raw" not in str(caught.value)
        assert "secret" not in repr(WireChunk(b"secret"))


async def test_settings_are_applied_and_read_back(tmp_path: Path) -> None:
    async with tagger(tmp_path, threshold=-0.3, reference_clock="external") as (driver, device, _):
        await driver.open()
        await driver.configure()
        assert (device.level, device.refclk) == (-0.3, 1)
        device.deaf, device.level = True, -0.9
        with pytest.raises(ReadbackMismatch, match=r"-0\.3 V reads back as -0\.9"):
            await driver.configure()


async def test_a_signed_sixteen_bit_reply_is_understood(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, _):
        await driver.open()
        device.time, device.signed = 40_000, True
        assert (await driver.snapshot())["integration_ms"] == 40_000


async def test_counts(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, _):
        await driver.open()
        assert (await driver.count(0.05)).counts == {1: 11, 2: 22, 3: 33, 4: 44}
        assert device.time == 50
        with pytest.raises(InstrumentError, match="outside"):
            await driver.count(66.0)


async def test_the_stamp_follows_the_counter_of_the_first_record(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, _):
        await driver.open()
        device.stream = word(50_000_000, 1)  # the counter shows 0.1 s
        before = time.time()
        start = await driver.start()
        after = time.time()
        assert before - 0.1 <= start.host_time_s <= after - 0.1
        assert start.uncertainty_s <= (after - before) + 0.01 + 1e-6
        assert device.time == 0, "endless"


async def test_the_stream_comes_whole_however_it_is_cut(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, peer):
        await driver.open()
        events = [word(1000 * n, 1 << n % 4) for n in range(1, 2001)]
        device.stream = events[0]
        await driver.start()
        rest = b"".join(events[1:])
        decoder, tags = decoder_for(driver.wire_format), 0
        async with asyncio.timeout(10), aclosing(driver.chunks()) as chunks:
            for at in range(0, len(rest), 777):
                peer.send(rest[at : at + 777])
            async for chunk in chunks:
                tags += len(decoder.feed(chunk))
                if tags >= 1999:
                    break
        await driver.stop()
        assert device.aborts == 2


async def test_no_stream_no_start(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, _):
        await driver.open()
        device.stream = None
        with pytest.raises(LinkTimeout):
            await driver.start()
        device.deaf = True
        device.mode = 0
        driver.streaming = False
        with pytest.raises(ReadbackMismatch, match="timestamp mode"):
            await driver.start()


async def test_silence_ends_the_stream_although_the_port_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tdc1, "SILENCE_S", 0.2)
    async with tagger(tmp_path) as (driver, device, _):
        await driver.open()
        device.stream = word(1, 1)
        await driver.start()

        async def listen() -> int:
            return sum([len(chunk.data) async for chunk in driver.chunks()])

        with pytest.raises(LinkTimeout, match="no dummy event"):
            await listen()


async def test_unplugged_in_the_stream(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, peer):
        await driver.open()
        device.stream = word(1, 1)
        await driver.start()

        async def listen() -> None:
            async for chunk in driver.chunks():
                if chunk.data:
                    peer.unplug()

        with pytest.raises(LinkClosed) as caught:
            await listen()
        assert "\\x" not in str(caught.value), "no events in messages"


async def test_stop_throws_the_rest_away_and_the_line_is_clean(tmp_path: Path) -> None:
    async with tagger(tmp_path) as (driver, device, peer):
        await driver.open()
        device.stream = word(1, 1) * 100
        await driver.start()
        peer.send(word(2, 2) * 100)
        await driver.stop()
        assert (await driver.snapshot())["mode"] == 3
        assert device.time == 1000, "the register is restored"
