"""S-Fifteen TDC1: four-input time tagger, 2 ns bins, over its USB serial line.

Protocol: shared fact sheet, section 2.6 (verified there against ``s15lib``; not on hardware).
Events leave here as the bytes of the wire; ``hal.decode`` reads them (format ``tdc1``).
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from pydantic import Field

from photonlink.drivers.sfifteen.identity import identify
from photonlink.hal.codecs.text import LineCodec
from photonlink.hal.errors import (
    InstrumentError,
    LinkTimeout,
    ReadbackMismatch,
)
from photonlink.hal.instruments import (
    AcquisitionStart,
    Identity,
    TaggerCapabilities,
    TimeTagger,
    WireChunk,
    WireFormat,
)
from photonlink.hal.links import Tap, make_link
from photonlink.hal.params import Limits, Param, Parameters, Value
from photonlink.hal.registry import DriverSettings

TICK_S = 2e-9
ROLLOVER_S = 2**27 * TICK_S
"""The counter's turn, 0.268 s. The device sends a dummy event at least once per turn."""

CHUNK_BYTES = 8 << 20  # all that may have come: the link holds 4 MB and one read more
CHUNK_EVERY_S = 0.05
SILENCE_S = 4 * ROLLOVER_S
"""Without any event, dummies included, for this long the tagger has stopped."""

MODES = {0: "singles", 1: "pairs", 3: "timestamp"}
REFERENCE_CLOCKS = {"auto": 0, "external": 1, "internal": 2}

PARAMS = (
    Param("mode", int, "0 singles, 1 pairs, 3 timestamp", "MODE?", plausible=(0, 3)),
    Param("threshold_v", float, "input threshold", "LEVEL?", unit="V", plausible=(-10, 10)),
    Param("reference_clock", int, "0 auto, 1 external, 2 internal", "REFCLK?", plausible=(0, 2)),
    Param("external_clock", str, "external clock present, in the tagger's words", "ECLOCK?"),
    Param(
        "integration_ms",
        int,
        "gate of a count; 0 is endless in timestamp mode",
        "TIME?",
        "TIME {}",
        unit="ms",
        limits=(0, 65_535),
    ),
)


class Tdc1(TimeTagger):
    """One TDC1. Channels are 1 to 4 as printed on its panel (bits 0 to 3 of an event)."""

    evidence = "manual"

    class Settings(DriverSettings):
        """channels: detector letter → input 1…4. threshold: NIM, TTL or volts (sign = edge)."""

        channels: dict[Literal["H", "V", "D", "A"], int] = Field(default_factory=dict)
        threshold: Literal["NIM", "TTL"] | float = "NIM"
        reference_clock: Literal["auto", "external", "internal"] = "auto"
        reply_timeout_s: float = Field(default=1.0, gt=0, le=30)

    def __init__(
        self,
        name: str,
        address: str,
        settings: Settings,
        *,
        limits: Mapping[str, Limits] | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.name, self.settings = name, settings
        self._integration_ms = 1000
        self._streaming = False
        self._first = b""
        self._link = make_link(address, tap=tap)
        self._codec = LineCodec(
            self._link,
            nonce_set="TIME {}",
            nonce_get="TIME?",
            restore=lambda: f"TIME {self._integration_ms}",
            abort="abort",
            timeout_s=settings.reply_timeout_s,
        )
        self._params = Parameters(PARAMS, self._read, self._write, where=name, limits=limits)

    @property
    def capabilities(self) -> TaggerCapabilities:
        return TaggerCapabilities(channels=(1, 2, 3, 4), resolution_ps=2000.0, max_rate_hz=4e6)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("tdc1")

    async def _read(self, param: Param) -> Value:
        self._not_streaming("be asked")
        return await self._codec.ask(param.get, lambda text: self._parse(param, text))

    def _parse(self, param: Param, text: str) -> Value:
        value = param.parse(text if param.kind is str else (text.split() or [""])[0], self.name)
        if param.name == "integration_ms" and int(value) < 0:
            return int(value) + 65_536  # some firmware prints it as a signed 16-bit number
        return value

    async def _write(self, param: Param, value: Value) -> None:
        self._not_streaming("be set")
        await self._codec.tell(param.set.format(value))

    def _not_streaming(self, what: str) -> None:
        if self._streaming:
            raise InstrumentError(f"the tagger cannot {what} while it streams", where=self.name)

    async def open(self) -> Identity:
        timeout_s = self.settings.reply_timeout_s
        self._streaming = False
        await self._link.open(timeout_s)
        try:
            # An earlier owner may have died with the stream on: those bytes are nobody's reply.
            self._link.private = True
            await self._link.write(b"\r\nabort\r\n", timeout_s)
            await self._link.drain(0.1, timeout_s + 1.0)
            identity = await self._codec.ask("*IDN?", self._identity)
            self._link.private = False
            return identity
        except BaseException:
            await self._link.close()
            raise

    def _identity(self, text: str) -> Identity:
        where = f"{self.name} ({self._link.uri})"
        return identify(text, key="TDC1", model="TDC1", where=where)

    async def configure(self) -> None:
        threshold = self.settings.threshold
        if isinstance(threshold, str):
            await self._codec.tell(threshold)
        else:
            await self._codec.tell(f"{'NEG' if threshold < 0 else 'POS'} {threshold}")
        level = await self._params.get_float("threshold_v")
        expected = threshold if isinstance(threshold, float) else None
        if expected is not None and abs(level - expected) > 0.05:
            raise ReadbackMismatch(
                f"threshold {threshold} V reads back as {level} V", where=self.name
            )
        clock = REFERENCE_CLOCKS[self.settings.reference_clock]
        await self._codec.tell(f"REFCLK {clock}")
        if await self._params.get("reference_clock") != clock:
            raise ReadbackMismatch("the reference clock was not taken", where=self.name)

    async def close(self) -> None:
        if self._link.is_open and self._streaming:
            await self._quietly_stop()
        await self._link.close()

    async def snapshot(self) -> Mapping[str, Value]:
        """Settings read back; while it streams the tagger cannot be asked and says only that."""
        if self._streaming:
            return {"streaming": True}
        return {"streaming": False, **await self._params.snapshot()}

    async def counts(self, gate_s: float) -> tuple[int, int, int, int]:
        """Clicks per input within ``gate_s`` (1 ms to 65 s), counted by the tagger itself."""
        self._not_streaming("count")
        gate_ms = round(gate_s * 1000)
        self._params.table["integration_ms"].check(gate_ms, (1, 65_535), where=self.name)
        self._integration_ms = gate_ms
        return await self._codec.ask(
            f"singles;TIME {gate_ms};counts?",
            self._four_counts,
            timeout_s=gate_ms / 1000 + 0.6 + self.settings.reply_timeout_s,
        )

    def _four_counts(self, text: str) -> tuple[int, int, int, int]:
        words = text.split()
        if len(words) != 4 or not all(word.isdecimal() for word in words):
            raise InstrumentError("four counts were expected", where=self.name, seen=text[:80])
        first, second, third, fourth = map(int, words)
        return first, second, third, fourth

    async def start(self) -> AcquisitionStart:
        """Start the stream. Time zero is the counter's zero before the first event.

        Whether ``counts?`` resets the counter is not documented. So the stamp is taken from the
        first record itself: its arrival minus what its counter shows. The event happened between
        the command and its arrival, so that time is the uncertainty: with the dummy events, at
        most about 0.27 s.
        """
        self._not_streaming("start")
        timeout_s = self.settings.reply_timeout_s
        await self._codec.tell("timestamp")
        if await self._params.get("mode") != 3:
            raise ReadbackMismatch("timestamp mode was not taken", where=self.name)
        async with self._link.transaction(self._codec.resync):
            self._link.private = True
            sent = time.time()
            await self._link.write(b"INPKT;TIME 0;counts?\r\n", timeout_s)
            self._streaming = True
            self._first = await self._link.read_exactly(4, timeout_s + 2 * ROLLOVER_S)
            arrived = time.time()
        counter_s = (struct.unpack("<I", self._first)[0] >> 5) * TICK_S
        return AcquisitionStart(arrived - counter_s, max(0.0, arrived - sent) + 0.01)

    async def chunks(self) -> AsyncIterator[WireChunk]:
        """Bytes of the stream. LinkTimeout when even the dummy events stay away."""
        if not self._streaming:
            raise InstrumentError("the tagger was not started", where=self.name)
        loop = asyncio.get_running_loop()
        data, self._first = self._first, b""
        last = loop.time()
        while self._streaming:
            await asyncio.sleep(CHUNK_EVERY_S)
            if self._link.pending or not self._link.is_open:
                data += await self._link.read_some(CHUNK_BYTES, CHUNK_EVERY_S)
            if data:
                last = loop.time()
            elif loop.time() - last > SILENCE_S:
                raise LinkTimeout(
                    f"no event and no dummy event for {SILENCE_S:.1f} s",
                    where=f"{self.name} ({self._link.uri})",
                )
            yield WireChunk(data)
            data = b""

    async def stop(self) -> None:
        """End the stream; what is still on its way is thrown away."""
        if self._streaming:
            await self._quietly_stop()

    async def _quietly_stop(self) -> None:
        self._streaming = False
        self._link.dirty = True  # the next question aborts, drains and proves the line clean
        try:
            async with self._link.transaction(self._codec.resync):
                pass
        finally:
            self._link.private = False
