"""Emulated qutools quTAU, sold by ID Quantique as ID800 and ID801: eight inputs, 81 ps.

What it shares with quTAG is in :mod:`.tdcbase`; the older forms of the functions are those that
``idq-id801`` 1.0.2 declares. Evidence: manual. Unverified: the level of the direct path without
signal conditioning (2 V, rising), the factor between delays and time base (delays in its units).
"""

from __future__ import annotations

from dataclasses import dataclass

from photonlink.firmware_sim.devices.qutools.tdcbase import (
    DELAY_MAX_PS,
    MISC,
    NIM,
    OUT_OF_RANGE,
    PRESET,
    TdcBase,
    TdcSettings,
)
from photonlink.firmware_sim.kit.library import CallError
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration

TYPES = {"1A": 0, "1B": 1, "1C": 2}
DIRECT_V = 2.0


@dataclass
class QutauSettings(TdcSettings):
    """device_type: 1A has no signal conditioning, 1B has it at eight inputs, 1C at three."""

    resolution_ps: float = 81.0
    device_type: str = "1A"


class Qutau(TdcBase):
    """One quTAU, ID800 or ID801."""

    TABLE = "id801"
    Settings = QutauSettings
    INPUTS, SINGLES, COINCIDENT, BY_HIGHEST = 8, tuple(range(8)), (0, 1, 2, 3), False
    DIVIDERS = (1, 8, 16, 32, 64, 128)
    TEST_UNITS_PS = (20_000, 80_000)

    def setup(self) -> None:
        if self.config.device_type not in TYPES:
            raise ValueError(f"{self.name}: device_type must be one of {', '.join(TYPES)}")
        super().setup()

    def _defaults(self) -> None:
        super()._defaults()
        self.thresholds = [DIRECT_V] * self.INPUTS
        self.conditioned = [0] * self.INPUTS
        self.terminated = [0] * self.INPUTS

    def _only(self, *kinds: str) -> None:
        if self.config.device_type not in kinds:
            raise CallError(OUT_OF_RANGE)

    @command("TDC_getDevType")
    def device_type(self) -> int:
        return TYPES[self.config.device_type]

    @command("TDC_configureSignalConditioning")
    def _condition(self, channel: int, kind: int, edge: int, term: int, threshold: float) -> None:
        self._only("1B", "1C")
        if not (0 <= kind <= MISC and -2.0 <= threshold <= 3.0):
            raise CallError(OUT_OF_RANGE)
        number = self.numbered(channel)
        preset = PRESET.get(kind, (int(bool(edge)), threshold)) if kind else (1, DIRECT_V)
        if not self.faults.use("ignore-sets"):
            self.edges[number], level = preset
            self.thresholds[number] = round(level / 1.2e-3) * 1.2e-3
            self.conditioned[number] = int(kind != 0)
            self.terminated[number] = int(kind == NIM or (kind != 0 and bool(term)))
        self.apply(number)

    @command("TDC_getSignalConditioning")
    def _conditioning(self, channel: int) -> tuple[int, int, int, float]:
        self._only("1B", "1C")
        n = self.numbered(channel)
        return self.conditioned[n], self.edges[n], self.terminated[n], self.thresholds[n]

    @command("TDC_switchTermination")
    def _terminate(self, on: int) -> None:
        self._only("1A")
        self.put("terminated", [int(bool(on))] * self.INPUTS)

    @command("TDC_configureApdCooling")
    def _cooling(self, fan_speed: int, temperature: int) -> None:
        self._only("1C")
        if not (0 <= fan_speed <= 50_000 and 0 <= temperature <= 65_535):
            raise CallError(OUT_OF_RANGE)

    @command("TDC_configureInternalApds")
    def _apds(self, apd: int, bias: float, threshold: float) -> None:
        self._only("1C")
        if apd not in (0, 1) or not (0 <= bias <= 250 and 0 <= threshold <= 2):
            raise CallError(OUT_OF_RANGE)

    @command("TDC_setCoincidenceWindow")
    def _window(self, bins: int) -> None:
        self.put("window", bins, 0, 65_535)

    @command("TDC_getDeviceParams")
    def _parameters(self) -> tuple[int, int, int]:
        return self.mask, self.window, self.exposure_ms

    @command("TDC_setChannelDelays")
    def _delays(self, delays: list[int]) -> None:
        delays_ps = [round(d * self.config.resolution_ps) for d in delays or [0] * self.INPUTS]
        if any(abs(delay) > DELAY_MAX_PS for delay in delays_ps):
            raise CallError(OUT_OF_RANGE)
        self.put("delays_ps", delays_ps)

    @command("TDC_getChannelDelays")
    def _delayed(self) -> list[int]:
        return [round(d / self.config.resolution_ps) for d in self.delays_ps]


REGISTRATION = Registration(
    "qutools-qutau", "tagger", Qutau, "qutools quTAU, ID Quantique ID800 and ID801, eight inputs"
)
