"""S-Fifteen TDC1: four-input time tagger, 2 ns bins, over its USB serial line.

Dialect: the vendor's ``s15lib`` 0.3.0 and ``Timestamp_TDC1`` (dd85370); not verified on hardware.
Events are returned as the bytes of the wire; ``hal.decode`` reads them (format ``tdc1``).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Literal

from pydantic import Field

from photonlink.drivers.sfifteen.identity import identify
from photonlink.hal import machine
from photonlink.hal.codecs.lines import LineCodec, Nonce
from photonlink.hal.errors import InstrumentError, LinkTimeout, ReadbackMismatch
from photonlink.hal.facets import CountsPhotons, Identity, PhotonCounts
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings
from photonlink.hal.taggers import TaggerDriver
from photonlink.hal.tags import AcquisitionStart, TaggerCapabilities, WireChunk, WireFormat

INSTRUMENT = Registration(
    id="sfifteen.tdc1",
    title="S-Fifteen TDC1: time tagger, four inputs, 2 ns",
    driver="Tdc1",
    facets=("CountsPhotons", "StreamsTags"),
    transports=("serial",),
    usb=("name:S-Fifteen_Instruments*",),
    evidence="manual",
    emulator="sfifteen-tdc1",
    case={"place": "alice.tagger", "steady": ("integration_ms", 1000)},
)

TICK_S = 2e-9
ROLLOVER_S = 2**27 * TICK_S
"""The counter's turn, 0.268 s. The device sends a dummy event at least once per turn."""

CHUNK_BYTES = 8 << 20  # more than the link can hold (4 MB and one read)
CHUNK_EVERY_S = 0.05
SILENCE_S = 4 * ROLLOVER_S
"""Without any event, dummies included, for this long the tagger has stopped."""

PARAMS = (
    Param("mode", int, "0 singles, 1 pairs, 3 timestamp", "MODE?", plausible=(0, 3)),
    Param("threshold_v", float, "input threshold", "LEVEL?", unit="V", plausible=(-10, 10)),
    Param("reference_clock", str, "which clock it follows", "REFCLK?", "REFCLK {}",
          choices={"auto": "0", "external": "1", "internal": "2"}, setting="reference_clock"),
    Param("external_clock", str, "external clock present, in the tagger's words", "ECLOCK?"),
    Param("integration_ms", int, "gate of a count; 0 is endless in timestamp mode", "TIME?",
          "TIME {}", "ms", limits=(0, 65_535)),
)  # fmt: skip


class Tdc1(TaggerDriver, CountsPhotons):
    """One TDC1. Channels are 1 to 4 as printed on its panel (bits 0 to 3 of an event)."""

    PARAMS = PARAMS
    CODEC = partial(
        LineCodec,
        leading=True,
        abort="abort",
        quiet_s=0.1,
        resync=Nonce(set="TIME {}", get="TIME?", param="integration_ms", default=1000),
    )

    class Settings(DriverSettings):
        """A TDC1's settings beside its parameters."""

        threshold: Literal["NIM", "TTL"] | float = Field(
            default="NIM", description="`NIM`, `TTL` or volts; the sign of volts is the edge"
        )
        reference_clock: Literal["auto", "external", "internal"] = Field(
            default="auto", description="which clock it follows"
        )

    _first = b""

    @property
    def capabilities(self) -> TaggerCapabilities:
        return TaggerCapabilities(channels=(1, 2, 3, 4), resolution_ps=2000.0, max_rate_hz=4e6)

    @property
    def count_channels(self) -> tuple[int, ...]:
        return (1, 2, 3, 4)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("tdc1")

    async def read(self, param: Param) -> Value:
        self.only_idle("be asked")
        value: Value = await self.codec.ask(param.get, partial(self._parse, param))
        return value

    def _parse(self, param: Param, text: str) -> Value:
        value: Value = self.codec.value(param, text)
        if param.name == "integration_ms" and int(value) < 0:
            return int(value) + 65_536  # some firmware prints it as a signed 16-bit number
        return value

    async def write(self, param: Param, value: Value) -> None:
        self.only_idle("be set")
        await super().write(param, value)

    async def connect(self) -> None:
        # The stream of a program that was killed may still be on; its bytes are discarded.
        self.codec.link.private = True
        await super().connect()

    async def identify(self) -> Identity:
        where = f"{self.name} ({self.address})"
        key = partial(identify, key="TDC1", model="TDC1", where=where)
        identity: Identity = await self.codec.ask("*IDN?", key)
        self.codec.link.private = False
        return identity

    async def configure(self) -> None:
        await super().configure()
        threshold = self.settings.threshold
        if isinstance(threshold, str):
            await self.codec.tell(threshold)
        else:
            await self.codec.tell(f"{'NEG' if threshold < 0 else 'POS'} {threshold}")
        level = await self.params.get_float("threshold_v")
        if not isinstance(threshold, str) and abs(level - threshold) > 0.05:
            raise ReadbackMismatch(
                f"threshold {threshold} V reads back as {level} V", where=self.name
            )

    async def snapshot(self) -> Mapping[str, Value]:
        """Settings read back; while it streams, the tagger cannot be queried, and the snapshot
        holds only that.
        """
        return {"streaming": True} if self.streaming else await super().snapshot()

    async def count(self, gate_s: float) -> PhotonCounts:
        """Clicks per input within ``gate_s`` (1 ms to 65 s), counted by the tagger itself."""
        self.only_idle("count")
        param = self.params["integration_ms"]
        gate_ms = param.whole(gate_s * 1000, (1, 65_535), where=self.name)
        self.params.wanted["integration_ms"] = gate_ms
        counts = await self.codec.ask(
            f"singles;TIME {gate_ms};counts?",
            self._four_counts,
            timeout_s=gate_ms / 1000 + 0.6 + self.settings.reply_timeout_s,
        )
        return PhotonCounts(dict(enumerate(counts, 1)), gate_ms / 1000)

    def _four_counts(self, text: str) -> tuple[int, ...]:
        words = text.split()
        if len(words) != 4 or not all(word.isdecimal() for word in words):
            raise InstrumentError("four counts were expected", where=self.name, seen=text[:80])
        return tuple(map(int, words))

    async def begin(self) -> AcquisitionStart:
        """Start the stream. Time zero is the counter's zero before the first event.

        Whether ``counts?`` resets the counter is not documented. So the stamp is taken from the
        first record itself: its arrival minus what its counter shows. The event happened between
        the command and its arrival, so that time is the uncertainty: with the dummy events, at
        most about 0.27 s.
        """
        timeout_s = self.settings.reply_timeout_s
        await self.codec.tell("timestamp")
        if await self.get("mode") != 3:
            raise ReadbackMismatch("timestamp mode was not taken", where=self.name)
        async with self.codec.link.transaction(self.codec.resync):
            self.codec.link.private = True
            sent = machine.wall_s()
            await self.codec.link.write(b"INPKT;TIME 0;counts?\r\n", timeout_s)
            self._first = await self.codec.link.read_exactly(4, timeout_s + 2 * ROLLOVER_S)
            arrived = machine.wall_s()
        counter_s = (struct.unpack("<I", self._first)[0] >> 5) * TICK_S
        return AcquisitionStart(arrived - counter_s, max(0.0, arrived - sent) + 0.01)

    async def pieces(self) -> AsyncIterator[WireChunk]:
        """Bytes of the stream. LinkTimeout when even the dummy events are missing."""
        loop = asyncio.get_running_loop()
        data, self._first = self._first, b""
        last, silence_s = loop.time(), max(SILENCE_S, self.settings.reply_timeout_s)
        while self.streaming:
            await asyncio.sleep(CHUNK_EVERY_S)
            if self.codec.link.pending or not self.codec.link.is_open:
                data += await self.codec.link.read_some(CHUNK_BYTES, CHUNK_EVERY_S)
            if data:
                last = loop.time()
            elif loop.time() - last > silence_s:
                raise LinkTimeout(
                    f"no event and no dummy event for {silence_s:.1f} s",
                    where=f"{self.name} ({self.address})",
                )
            yield WireChunk(data)
            data = b""

    async def end(self) -> None:
        """End the stream; bytes in transit are dropped."""
        self.codec.link.dirty = True  # the next question aborts, drains and proves the line clean
        try:
            async with self.codec.link.transaction(self.codec.resync):
                pass
        finally:
            self.codec.link.private = False
