"""Swabian Instruments Pulse Streamer 8/2: eight digital and two analog outputs.

JSON-RPC over HTTP (port 8050), sequences over TCP (port 21328): ``pulsestreamer`` 2.1.2 and the
vendor's page "Low-level RPC interface". Firmware from 1.1.0. Not tried on hardware.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence

from photonlink.hal.codecs.json_rpc import JsonRpcCodec
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import IdentityError, InstrumentError, LimitError, LinkDesync
from photonlink.hal.facets import GeneratesPatterns, Identity, PatternStep
from photonlink.hal.links import Address, make_stream
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="swabian.pulse_streamer",
    title="Swabian Pulse Streamer 8/2: pattern generator",
    driver="PulseStreamer",
    facets=("GeneratesPatterns",),
    transports=("http",),
    network=(
        "12345",
        "PS-DISCOVERY",
        r'PS-DISCOVERY-REPLY.*"serial"\s*:\s*"(?P<serial>[^"]*)"',
        "http://{host}",
    ),
    evidence="manual",
    emulator="swabian-pulse-streamer",
    settings={"clock": "internal"},
    case={"place": "pump.modulator", "steady": ("clock", "internal")},
)
_UPLOAD_PORT, _MAGIC, _UPLOAD_S = 21328, 0x53504953, 10.0
_MOST_STEPS, _LONGEST_NS, _FULL_SCALE = 2_000_000, 0xFFFF_FFFF, 0x7FFF
_ZERO = [[0, 0, 0, 0]]


class PulseStreamer(Driver, GeneratesPatterns):
    """One generator. ``open``, ``halt`` and ``close`` set all outputs to zero."""

    PARAMS = (
        Param("playing", bool, "a sequence plays; false: all outputs to zero", "isStreaming",
              "constant", trips=True, only=(False,)),
        Param("clock", str, "clock of the sequences", "getClock", "selectClock",
              choices={"internal": "0", "external_125mhz": "1", "external_10mhz": "2"},
              setting="clock"),
        Param("underflow", bool, "the last sequence was not played as it is", "getUnderflow",
              stops={True: "data came too late for a sequence: it was not played as it is"}),
        Param("finished", bool, "the sequence has ended, its final state holds", "hasFinished"),
        Param("temperature_c", float, "temperature inside", "getTemperature", unit="°C",
              poll="slow"),
    )  # fmt: skip
    OFF = (Off("playing", False, "all outputs zero"),)
    OPTIONS = ("upload",)
    CODEC = JsonRpcCodec
    _pattern = b""
    _steps = 0

    async def identify(self) -> Identity:
        serial, firmware = await self.codec.call("getSerial"), ""
        if isinstance(serial, str):
            firmware = str(await self.codec.call("getFirmwareVersion"))
        number = firmware.partition(" ")[0].split(".")
        if not all(part.isdigit() for part in number):
            raise IdentityError("another instrument answers here", where=self.name,
                                seen=f"{serial!r}, {firmware!r}")  # fmt: skip
        if [int(part) for part in number] < [1, 1]:
            raise IdentityError(f"firmware {firmware} is older than 1.1.0", where=self.name,
                                hint="Update it with the vendor's tool")  # fmt: skip
        return Identity("Swabian Instruments", "Pulse Streamer 8/2", serial, firmware)

    async def read(self, param: Param) -> Value:
        found = await self.codec.call(param.get)
        if type(found) not in (int, bool, float):
            raise InstrumentError(f"{param.name}: a reply of the wrong kind", where=self.name,
                                  seen=repr(found)[:80])  # fmt: skip
        return bool(found) if param.kind is bool else param.parse(str(found), self.name)

    async def write(self, param: Param, value: Value) -> None:
        if param.name == "clock":
            await self.codec.call(param.set, [int(str(param.wire(value)))])
        else:
            await self.codec.call(param.set, _ZERO)

    def command_bytes(self, param: Param, value: Value) -> bytes:
        return b'{"jsonrpc":"2.0","id":0,"method":"constant","params":[[0,0,0,0]]}'

    async def load_pattern(self, steps: Sequence[PatternStep]) -> None:
        """Check and keep a pattern; nothing is sent. LimitError says which step is wrong."""
        parts: list[bytes] = []
        for number, step in enumerate(steps):
            parts += _encode(step, f"{self.name}, step {number}")
        if not 0 < len(parts) <= _MOST_STEPS:
            raise LimitError(f"a pattern has 1…{_MOST_STEPS} steps", where=self.name,
                             seen=str(len(parts)))  # fmt: skip
        self._pattern, self._steps = b"".join(parts), len(parts)

    async def play(self, runs: int) -> None:
        """It starts at once; the outputs go to zero after the last run."""
        if not self._pattern:
            raise InstrumentError("no pattern is loaded", where=self.name)
        if runs < 0:
            raise LimitError("runs must be 0 (endless) or more", where=self.name)
        block = struct.pack("<qQ2h4BQ", runs or -1, self._steps, 0, 0, 0, 0, 0, 0, 0)
        padding = b"\0" * (32 - len(self._pattern) % 32)
        await self._upload(block + self._pattern + padding)

    async def _upload(self, body: bytes) -> None:
        address = Address.parse(self.address)
        port = address.number("upload", _UPLOAD_PORT)
        link = make_stream(f"tcp://{address.host}:{port}", tap=self.codec.link.tap)
        number = secrets.randbits(32)
        head = struct.pack("<4I2Q", _MAGIC, number, 0, 0, len(body), 0)
        try:
            await link.open(self.settings.reply_timeout_s)
            await link.write(head + body, _UPLOAD_S)
            reply = await link.read_exactly(32, _UPLOAD_S)
        finally:
            await link.close()
        magic, echoed, error = struct.unpack_from("<3I", reply)
        if (magic, echoed) != (_MAGIC, number):
            raise LinkDesync("no answer to this upload", where=link.uri)
        if error:
            raise InstrumentError(f"the sequence was refused with error {error}", where=self.name)

    async def halt(self) -> None:
        await self.set("playing", False)


def _encode(step: PatternStep, where: str) -> list[bytes]:
    """One step as the wire takes it: nine bytes, more when it is longer than 32 bits of ns."""
    volts = [step.analog_v.get(channel, 0.0) for channel in (0, 1)]
    if step.duration_ns <= 0 or not 0 <= step.digital <= 255:
        raise LimitError("a step lasts 1 ns or longer, its mask is 0…255", where=where)
    if not all(-1.0 <= v <= 1.0 for v in volts) or set(step.analog_v) - {0, 1}:
        raise LimitError("analog outputs 0 and 1 give -1…1 V", where=where, seen=str(step.analog_v))
    analog = [round(v * _FULL_SCALE) for v in volts]
    whole, rest = divmod(step.duration_ns, _LONGEST_NS)
    spans = [_LONGEST_NS] * whole + ([rest] if rest else [])
    if len(spans) > _MOST_STEPS:
        raise LimitError("a step that is too long", where=where, seen=f"{step.duration_ns} ns")
    return [struct.pack("<IBhh", span, step.digital, *analog) for span in spans]
