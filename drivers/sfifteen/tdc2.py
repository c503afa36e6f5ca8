"""S-Fifteen TDC2: four-input time tagger, 1/256 ns, through its readout program ``readevents7``.

Options and words: ``qcrypto`` ``timestamp7/readevents7.c``; not verified on hardware. The program
holds the device while it runs, so one acquisition is one run; nothing else can be queried, and
there is no serial number. Its words carry the unit's whole counter: time zero of an acquisition is
its first event. Where no event comes for 0.26 ms a dummy does, so a stream is never silent.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping

import numpy as np
from pydantic import Field

from photonlink.hal import machine
from photonlink.hal.codecs.programs import ProgramCodec
from photonlink.hal.errors import IdentityError, LinkTimeout
from photonlink.hal.facets import Identity, Reading
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings
from photonlink.hal.taggers import TaggerDriver
from photonlink.hal.tags import AcquisitionStart, TaggerCapabilities, WireChunk, WireFormat

INSTRUMENT = Registration(
    id="sfifteen.tdc2",
    title="S-Fifteen TDC2: time tagger, four inputs, 1/256 ns",
    driver="Tdc2",
    facets=("StreamsTags",),
    transports=("program",),
    evidence="manual",
    emulator="sfifteen-tdc2",
    case={"reply_timeout_s": 2.0},
)
WORD = struct.Struct("<Q")
TIME_SHIFT = 10
DAC_ZERO_V, DAC_STEP_V, DAC_MAX = -1.024, 0.00075, 4095
CHUNK_BYTES = 8 << 20  # the most that can be buffered: 4 MB in the stream and one more read
CHUNK_EVERY_S = 0.05
SILENCE_S = 1.0
"""Dummy events come thousands of times a second: without any for this long it has stopped."""


class Tdc2(TaggerDriver):
    """One TDC2. Channels are 1 to 4 (bits 0 to 3 of an event)."""

    CODEC = ProgramCodec

    class Settings(DriverSettings):
        """A TDC2's settings; they hold from the next acquisition on."""

        threshold_v: float = Field(
            default=-0.448, ge=-1.024, le=2.047,
            description="input threshold; below 0 pulses are negative",
        )  # fmt: skip
        skew_ns: tuple[float, float, float, float] = Field(
            default=(0.0, 0.0, 0.0, 0.0), description="added to the times of input 1 to 4"
        )

    _first, _zero = b"", 0

    @property
    def capabilities(self) -> TaggerCapabilities:
        """The highest rate is not published; USB carries about this much."""
        return TaggerCapabilities(channels=(1, 2, 3, 4), resolution_ps=1000 / 256, max_rate_hz=1e7)

    @property
    def wire_format(self) -> WireFormat:
        return WireFormat("a1", {"word_order": "low_first"})

    @property
    def _dac(self) -> int:
        steps = (float(self.settings.threshold_v) - DAC_ZERO_V) / DAC_STEP_V
        return min(DAC_MAX, round(steps))

    def _arguments(self, *more: str) -> list[str]:
        ticks = ",".join(str(round(256 * ns)) for ns in self.settings.skew_ns)
        return ["-a1", "-t", ",".join(4 * [str(self._dac)]), "-D", ticks, *more]

    async def identify(self) -> Identity:
        """Wait for one event, dummies included: the program gives no other answer."""
        word = await self.codec.run(*self._arguments("-q", "1"))
        if len(word) != WORD.size:
            raise IdentityError("this is no readevents7", where=f"{self.name} ({self.address})",
                                seen=f"{len(word)} bytes for one event")  # fmt: skip
        return Identity("S-Fifteen Instruments", "TDC2", "")

    async def snapshot(self) -> Mapping[str, Reading]:
        """The requested settings: the program reads nothing back."""
        if not self.streaming:
            await self.codec.run(*self._arguments("-q", "1"))
        elif self.codec.link.stream is not None:
            self.codec.link.stream.check_open()
        return {"streaming": self.streaming, "threshold_v": DAC_ZERO_V + DAC_STEP_V * self._dac}

    async def begin(self) -> AcquisitionStart:
        """Run the program. Its first event, time zero, came between the command and its arrival."""
        sent = machine.wall_s()
        stream = await self.codec.link.start(self._arguments())
        stream.private = True
        self._first = await stream.read_exactly(WORD.size, self.settings.reply_timeout_s)
        arrived = machine.wall_s()
        self._zero = WORD.unpack(self._first)[0] >> TIME_SHIFT << TIME_SHIFT
        return AcquisitionStart(arrived, max(0.0, arrived - sent) + 0.01)

    async def pieces(self) -> AsyncIterator[WireChunk]:
        """The program's output. LinkTimeout when even the dummy events are missing."""
        loop = asyncio.get_running_loop()
        data, self._first = self._first, b""
        last = loop.time()
        stream = self.codec.link.stream
        while self.streaming:
            await asyncio.sleep(CHUNK_EVERY_S)
            came = b""
            if stream.pending or not stream.is_open:
                came = await stream.read_some(CHUNK_BYTES, CHUNK_EVERY_S)
            data += came
            if came:
                last = loop.time()
            elif loop.time() - last > SILENCE_S:
                raise LinkTimeout(
                    f"no event and no dummy event for {SILENCE_S:.1f} s",
                    where=f"{self.name} ({self.address})",
                )
            whole = len(data) // WORD.size * WORD.size
            yield WireChunk(self._from_zero(data[:whole]))
            data = data[whole:]

    def _from_zero(self, data: bytes) -> bytes:
        """Whole words, their times counted from time zero."""
        words = np.frombuffer(data, "<u8") - np.uint64(self._zero)
        return words.tobytes()

    async def end(self) -> None:
        await self.codec.link.halt()
