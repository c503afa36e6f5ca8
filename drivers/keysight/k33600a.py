"""Keysight 33600A (and 33500): a two-channel waveform generator on SCPI (TCP 5025, USB).

Commands: Keysight's 33500/33600 series programming guide, as ``pymeasure`` 0.16.0 uses it. Not
tried on hardware. Amplitudes are meant into the load that is set: a wrong load doubles the voltage.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from photonlink.hal.codecs.scpi import ScpiCodec
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import LimitError
from photonlink.hal.facets import GeneratesPatterns, HasOutput, Identity, PatternStep
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="keysight.k33600a",
    title="Keysight 33600A: two-channel waveform generator",
    driver="K33600a",
    facets=("GeneratesPatterns", "HasOutput"),
    transports=("tcp", "visa", "serial"),
    evidence="manual",
    emulator="keysight-33600a",
    settings={"load1_ohm": 50.0},
    case={"place": "bob.modulator", "steady": ("load1_ohm", 50.0)},
)
_CHANNELS = (1, 2)
_NAME, _FEWEST, _MOST, _FULL_SCALE = "PHOTONLINK", 8, 65_536, 32_767


class K33600a(Driver, GeneratesPatterns, HasOutput):
    """One generator. ``open`` and ``close`` switch both outputs off."""

    PARAMS = (
        Param("output{ch}", bool, "output {ch} on", "OUTP{ch}?", "OUTP{ch} {}",
              channels=_CHANNELS),
        Param("shape{ch}", str, "waveform of output {ch}", "SOUR{ch}:FUNC?", "SOUR{ch}:FUNC {}",
              choices={"sine": "SIN", "square": "SQU", "triangle": "TRI", "ramp": "RAMP",
                       "pulse": "PULS",
                       "noise": "NOIS", "prbs": "PRBS", "pattern": "ARB", "dc": "DC"},
              channels=_CHANNELS),
        Param("amplitude{ch}_v", float, "peak to peak, into the load", "SOUR{ch}:VOLT?",
              "SOUR{ch}:VOLT {}", "V", limits=(0.001, 10.0), tolerance=0.001,
              channels=_CHANNELS, setting="amplitude{ch}_v"),
        Param("offset{ch}_v", float, "offset, into the load", "SOUR{ch}:VOLT:OFFS?",
              "SOUR{ch}:VOLT:OFFS {}", "V", limits=(-5.0, 5.0), tolerance=0.001,
              channels=_CHANNELS, setting="offset{ch}_v"),
        Param("load{ch}_ohm", float, "what is connected; 9.9e37 is an open end",
              "OUTP{ch}:LOAD?", "OUTP{ch}:LOAD {}", limits=(1.0, 9.9e37), tolerance=0.1,
              channels=_CHANNELS, setting="load{ch}_ohm"),
        Param("sample_rate{ch}_hz", float, "samples of a pattern per second",
              "SOUR{ch}:FUNC:ARB:SRAT?", "SOUR{ch}:FUNC:ARB:SRAT {}", "Hz", limits=(1e-6, 1e9),
              tolerance=1.0, channels=_CHANNELS, setting="sample_rate{ch}_hz"),
    )  # fmt: skip
    OFF = tuple(Off(f"output{n}", False, f"output {n} off") for n in _CHANNELS)
    CODEC = partial(ScpiCodec)
    _loaded: tuple[int, ...] = ()

    @property
    def output_channels(self) -> tuple[int, ...]:
        return _CHANNELS

    async def identify(self) -> Identity:
        found: Identity = await self.codec.identify(key=",33")
        return found

    async def set_output(self, on: bool, channel: int = 1) -> None:
        await self.set(f"output{channel}", on)

    async def output(self, channel: int = 1) -> bool:
        return bool(await self.get(f"output{channel}"))

    async def load_pattern(self, steps: Sequence[PatternStep]) -> None:
        """Analog outputs 0 and 1 of the steps go to channels 1 and 2, at ``sample_rate<n>_hz``.

        A channel that no step names is left alone; the outputs must be off while one is loaded.
        """
        if any(step.digital for step in steps):
            raise LimitError("this generator has no digital outputs", where=self.name)
        named = sorted({channel + 1 for step in steps for channel in step.analog_v})
        if not named or not set(named) <= set(_CHANNELS):
            raise LimitError("steps name the analog outputs 0 and 1", where=self.name)
        for channel in named:
            rate_hz = await self.params.get_float(f"sample_rate{channel}_hz")
            await self._load(channel, self._points(steps, channel, rate_hz))
        self._loaded = tuple(named)

    def _points(self, steps: Sequence[PatternStep], channel: int, rate_hz: float) -> list[float]:
        points: list[float] = []
        for number, step in enumerate(steps):
            samples = step.duration_ns * 1e-9 * rate_hz
            whole = round(samples)
            if whole < 1 or abs(samples - whole) > 1e-3 or whole > _MOST:
                raise LimitError(
                    f"step {number} is {samples:g} samples, not a whole number",
                    where=self.name, hint="Change sample_rate or the step",
                )  # fmt: skip
            points += [step.analog_v.get(channel - 1, 0.0)] * whole
        points *= -(-_FEWEST // len(points))  # a short pattern is repeated
        if len(points) > _MOST:
            raise LimitError(f"a pattern has at most {_MOST} samples", where=self.name)
        return points

    async def _load(self, channel: int, points: list[float]) -> None:
        top_v = max(max(abs(v) for v in points), 0.0005)
        self.params[f"amplitude{channel}_v"].check(
            2.0 * top_v, self.params.limits.get(f"amplitude{channel}_v"), where=self.name
        )
        await self.set(f"output{channel}", False)
        numbers = ", ".join(str(round(v / top_v * _FULL_SCALE)) for v in points)
        await self.codec.tell(f"SOUR{channel}:DATA:VOL:CLE")
        await self.codec.tell(f"SOUR{channel}:DATA:ARB:DAC {_NAME}, {numbers}")
        await self.codec.tell(f"SOUR{channel}:FUNC:ARB {_NAME}")
        await self.set(f"shape{channel}", "pattern")
        await self.set(f"offset{channel}_v", 0.0)
        await self.set(f"amplitude{channel}_v", 2.0 * top_v)

    async def play(self, runs: int) -> None:
        """Endless only (0): the outputs of the loaded channels on."""
        if runs != 0 or not self._loaded:
            raise LimitError("a loaded pattern plays endless: play(0)", where=self.name)
        for channel in self._loaded:
            await self.set_output(True, channel)

    async def halt(self) -> None:
        for channel in _CHANNELS:
            await self.set_output(False, channel)
