"""ID Quantique ID900 and ID1000 Time Controller: SCPI over ZeroMQ, tags by the DLT service.

Commands as in the vendor's Python examples (``utils/common.py``, ``utils/acquisitions.py``) and in
``pqnstack``'s driver. Not verified on hardware: the text of ``*IDN?``, the unit of
``COUNter:INTEgration`` (ms in ID900 scripts, ns in an ID1000 README: a setting), all error codes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Literal

from pydantic import Field

from photonlink.drivers.idquantique.dlt import DEAD_PS, PORT, DltStream
from photonlink.hal.codecs.scpi import ScpiCodec, identity
from photonlink.hal.errors import IdentityError
from photonlink.hal.facets import CountsPhotons, Identity, PhotonCounts
from photonlink.hal.links import Address
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings
from photonlink.hal.taggers import TaggerDriver
from photonlink.hal.tags import AcquisitionStart, TaggerCapabilities, WireChunk, WireFormat

INSTRUMENT = Registration(
    id="idquantique.time_controller",
    title="ID Quantique ID900 / ID1000 Time Controller: time tagger, four inputs",
    driver="TimeController",
    facets=("CountsPhotons", "StreamsTags"),
    transports=("zmq",),
    evidence="manual",
    emulator="idquantique-time-controller",
    settings={"stream_port": 0, "resolution": "hires"},
    case={"steady": ("resolution", "hires"), "loss": "counted"},
)

INPUTS = (1, 2, 3, 4)
CHUNK_EVERY_S = 0.05
_UNIT = re.compile(r"(?<=\d)\s*[A-Za-z]{1,2}$")
PATH = (
    "DELA{n}:LINK INPU{n};:TSCO{n}:FIR:LINK DELA{n};:TSCO{n}:OPIN ONLYFIR"
    ";:RAW{n}:REF:LINK NONE;:RAW{n}:STOP:LINK TSCO{n};:RAW{n}:ERRORS:CLEAR"
)
"""From an input to the array of its tags, without a reference."""


def _each(command: str) -> str:
    return ";:".join(command.replace("{n}", str(n)) for n in INPUTS)


_ERRORS = _each("RAW{n}:ERRORS?")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


PARAMS = (
    Param("resolution", str, "of all inputs: 1 ps or 100 ps", "DEVI:RES?", "DEVI:RES {}",
          choices={"hires": "HIRES", "lowres": "LOWRES"}, setting="resolution"),
    Param("threshold_{ch}_v", float, "threshold of input {ch}", "INPU{ch}:THRE?",
          "INPU{ch}:THRE {}V", "V", limits=(-2.0, 2.0), tolerance=0.01, channels=INPUTS,
          setting="threshold_{ch}_v"),
    Param("edge_{ch}", str, "edge of input {ch}", "INPU{ch}:EDGE?", "INPU{ch}:EDGE {}",
          choices={"rising": "RISING", "falling": "FALLING"}, channels=INPUTS,
          setting="edge_{ch}"),
    Param("enabled_{ch}", bool, "input {ch} is on", "INPU{ch}:ENAB?", "INPU{ch}:ENAB {}",
          channels=INPUTS, setting="enabled_{ch}"),
    Param("delay_{ch}_ps", int, "delay of input {ch}", "DELA{ch}:VALU?", "DELA{ch}:VALU {}", "ps",
          limits=(0, 10**12), channels=INPUTS, setting="delay_{ch}_ps"),
    Param("input_error_{ch}", int, "0, 1 recalibrate, 1001 to 1003 rate or threshold of input {ch}",
          "INPU{ch}:HIRES:ERROR?", channels=INPUTS, poll="slow"),
)  # fmt: skip


class TimeController(TaggerDriver, CountsPhotons):
    """One Time Controller, and the DLT service at ``?dlt=HOST:PORT`` of its address."""

    PARAMS = PARAMS
    CODEC = partial(ScpiCodec, errors="", failure="SCPI_ERR_", answers=True)
    OPTIONS = ("dlt",)

    class Settings(DriverSettings):
        """A Time Controller's settings beside its parameters."""

        acquisition_ms: float = Field(
            default=100.0, ge=10, le=1000, description="length of one acquisition of the stream"
        )
        counter_unit: Literal["ms", "ns"] = Field(
            default="ms", description="unit of COUNter:INTEgration, which differs between models"
        )
        stream_port: int = Field(
            default=4242, ge=0, le=65_532, description="of channel 1, then upwards; 0: free ones"
        )

    _stream: DltStream | None = None

    @property
    def capabilities(self) -> TaggerCapabilities:
        low = self.params.wanted.get("resolution") == "lowres"
        return TaggerCapabilities(INPUTS, 100.0 if low else 1.0, 25e6)

    @property
    def count_channels(self) -> tuple[int, ...]:
        return INPUTS

    @property
    def wire_format(self) -> WireFormat:
        """The channels' arrays, merged by time into words of 3-bit channel and 60-bit time."""
        return WireFormat("flat64", {"resolution_ps": 1.0})

    async def identify(self) -> Identity:
        text = await self.codec.ask("*IDN?", str)
        if not re.search(r"ID ?(900|1000)|Time ?Controller", text, re.IGNORECASE):
            raise IdentityError("another instrument answers here", where=self.name, seen=text[:80])
        if text.count(",") < 2:
            return Identity("ID Quantique", "Time Controller", "", text)
        return identity(text, where=self.name)

    async def read(self, param: Param) -> Value:
        """Replies may end in their unit (``1000TB``, ``-0.4V``)."""
        value: Value = await self.codec.ask(
            param.get, lambda text: self.codec.value(param, _UNIT.sub("", text))
        )
        return value

    async def count(self, gate_s: float) -> PhotonCounts:
        """Clicks per input within ``gate_s`` (1 ms to 100 s), by the instrument's counters."""
        self.only_idle("count")
        gate_ms = self.gate_ms(gate_s, 100_000)
        units = gate_ms * (1 if self.settings.counter_unit == "ms" else 10**6)
        for n in INPUTS:
            await self.codec.tell(f"INPU{n}:COUN:MODE CYCL;INTE {units};RESE")
        await asyncio.sleep(gate_ms * 1.1e-3 + 0.01)
        return PhotonCounts({n: await self._counter(n) for n in INPUTS}, gate_ms / 1000)

    async def _counter(self, channel: int) -> int:
        param = Param("counts", int, "clicks", f"INPU{channel}:COUN?", plausible=(0, 1e10))
        return int(await self.read(param))

    # ---- the stream ----------------------------------------------------------------------------

    async def begin(self) -> AcquisitionStart:
        """Endless recording in acquisitions of ``acquisition_ms``; time zero lies in ``PLAY``."""
        address, settings = Address.parse(self.address), self.settings
        dlt = address.options.get("dlt", f"127.0.0.1:{PORT}")
        width_ps = round(settings.acquisition_ms * 1e9)
        stream = DltStream(dlt, self.name, settings.reply_timeout_s, width_ps + DEAD_PS)
        self._stream = stream
        await stream.open(address.host, INPUTS, settings.stream_port)
        await self.codec.tell(_each(PATH))
        await self.codec.tell(
            "REC:STOP;:REC:TRIG:ARM:MODE MANU;:REC:ENAB ON;:REC:NUM INF"
            f";:REC:PWID {width_ps};:REC:PPER {width_ps + DEAD_PS};:{_each('RAW{n}:SEND ON')}"
        )
        before = time.time()
        await self.codec.tell("REC:PLAY")
        after = time.time()
        return AcquisitionStart.between(before, after, 0.001)

    async def pieces(self) -> AsyncIterator[WireChunk]:
        """Words of all channels. AcquisitionError when service and stream disagree."""
        while self._stream is not None:
            await asyncio.sleep(CHUNK_EVERY_S)
            if self._stream is not None:
                yield await self._stream.chunk(await self.codec.ask(_ERRORS, _numbers))

    async def end(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                await self.codec.tell(f"REC:STOP;:{_each('RAW{n}:SEND OFF')}")
            finally:
                await stream.close()
