"""Emulated qutools quTAG: four or five inputs, behind ``libtdcbase.so``.

What it shares with quTAU is in :mod:`.tdcbase`. Inputs are numbered 1…4, the start input 0 (or 5);
tags carry the input's number less one, the start input 4. Evidence: manual. Unverified: which
features the unit has (all but channel link, external clock, chain), that a dead time of 0 is the
default, what filters pass at the edge of the window, that markers carry only the millisecond tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from photonlink.firmware_sim.devices.qutools import timestamps as tags
from photonlink.firmware_sim.devices.qutools.tdcbase import (
    DELAY_MAX_PS,
    LVTTL,
    MISC,
    OUT_OF_RANGE,
    PRESET,
    TdcBase,
    TdcSettings,
)
from photonlink.firmware_sim.kit.library import CallError
from photonlink.firmware_sim.kit.registers import command
from photonlink.firmware_sim.kit.registration import Registration

START = 4
FEATURES = 0x0004 | 0x0008 | 0x0010 | 0x0020 | 0x0040
TICK_MARKER = 104
CALIBRATION_S = 2.0
MUTE, COINC, SYNC = 1, 2, 3


@dataclass
class QutagSettings(TdcSettings):
    """external_clock: the unit is locked to one."""

    external_clock: bool = False


class Qutag(TdcBase):
    """One quTAG; the last of its five inputs is start."""

    TABLE = "tdcbase"
    Settings = QutagSettings
    INPUTS, SINGLES, COINCIDENT, BY_HIGHEST = 5, (START, 0, 1, 2, 3), (0, 1, 2, 3, START), True
    DIVIDERS = (1, 2, 4, 8)
    TEST_UNITS_PS = (5_000, 20_000)

    def _defaults(self) -> None:
        super()._defaults()
        self.five, self.single_stop, self.markers = False, False, 0
        self.filters = [(0, 0)] * self.INPUTS
        self._calibrated_s = 0.0
        self._start_at = 0

    def all_channels(self) -> int:
        return 0x1F

    def enabled(self, channel: int) -> bool:
        if channel == START:
            return self.five or bool(self.mask & 1)
        return bool(self.mask >> (channel + 1) & 1)

    def hardware(self, channel: int) -> int:
        """The place's input of the vendor's number."""
        if channel not in range(6):
            raise CallError(OUT_OF_RANGE)
        return START if channel in (0, 5) else channel - 1

    def take(self, time: tags.Times, channel: tags.Channels) -> None:
        """Filters, the start input's reset of the clock, and the millisecond tick in files."""
        if self.clock.now_s() < self._calibrated_s:
            return
        keep = np.ones(len(time), np.bool_)
        for number, (kind, mask) in enumerate(self.filters):
            if kind:
                mine = channel == number
                keep[mine] = self._passed(kind, mask, time[mine], time, channel)
        time, channel = time[keep], channel[keep]
        if not self.five:
            starts = channel == START
            at = np.maximum.accumulate(np.where(starts, time, self._start_at))
            self._start_at = int(at[-1]) if len(at) else self._start_at
            time, channel = (time - at)[~starts], channel[~starts]
        super().take(time, channel)

    def _passed(self, kind: int, mask: int, mine: Any, time: Any, channel: Any) -> Any:
        if kind == MUTE:
            return False
        others = [self.hardware(n) for n in range(1, 6) if mask >> n & 1]
        near = time[np.isin(channel, others)]
        ahead = self.window if kind == COINC else 0
        low = np.searchsorted(near, mine - self.window)
        return np.searchsorted(near, mine + ahead, "right") > low

    # ---- calls ---------------------------------------------------------------------------------

    @command("TDC_checkFeatures")
    def _features(self) -> int:
        return FEATURES

    @command("TDC_getClockState")
    def _clock_state(self) -> tuple[int, int]:
        return int(self.config.external_clock), 0

    @command("TDC_getChainPosition")
    def _chain(self) -> tuple[int, int]:
        return 0, 1

    @command("TDC_getChannelLink")
    def _link(self) -> int:
        return 0

    @command("TDC_setFiveChannelMode")
    def _set_five(self, on: int) -> None:
        self.put("five", bool(on))
        self.apply(START)

    @command("TDC_getFiveChannelMode")
    def _get_five(self) -> int:
        return int(self.five)

    @command("TDC_preselectSingleStop")
    def _set_single(self, on: int) -> None:
        self.put("single_stop", bool(on))

    @command("TDC_getSingleStopPreselection")
    def _get_single(self) -> int:
        return int(self.single_stop)

    @command("TDC_startCalibration")
    def _calibrate(self) -> None:
        self._calibrated_s = self.clock.now_s() + CALIBRATION_S

    @command("TDC_getCalibrationState")
    def _calibrating(self) -> int:
        return int(self.clock.now_s() < self._calibrated_s)

    @command("TDC_getChannelsEnabled")
    def _channels(self) -> int:
        return self.mask

    @command("TDC_enableMarkers")
    def _set_markers(self, mask: int) -> None:
        self.put("markers", mask, 0, 1023)

    @command("TDC_getMarkersEnabled")
    def _get_markers(self) -> int:
        return self.markers

    @command("TDC_configureSignalConditioning")
    def _condition(self, channel: int, kind: int, edge: int, threshold: float) -> None:
        if not (LVTTL <= kind <= MISC and -2.0 <= threshold <= 3.0):
            raise CallError(OUT_OF_RANGE)
        number = self.hardware(channel)
        edge, threshold = PRESET.get(kind, (int(bool(edge)), threshold))
        if not self.faults.use("ignore-sets"):
            self.edges[number], self.thresholds[number] = edge, round(threshold / 1.47e-3) * 1.47e-3
        self.apply(number)

    @command("TDC_getSignalConditioning")
    def _conditioned(self, channel: int) -> tuple[int, float]:
        number = self.hardware(channel)
        return self.edges[number], self.thresholds[number]

    @command("TDC_setCoincidenceWindow")
    def _window(self, bins: int) -> None:
        self.put("window", bins, 0, 2_000_000_000)

    @command("TDC_configureFilter")
    def _filter(self, channel: int, kind: int, mask: int) -> None:
        if channel == 0 or not 0 <= kind <= SYNC or mask & 1:
            raise CallError(OUT_OF_RANGE)
        self.filters[self.hardware(channel)] = (kind, mask)

    @command("TDC_getFilter")
    def _filtered(self, channel: int) -> tuple[int, int]:
        return self.filters[self.hardware(channel)]

    @command("TDC_getDeviceParams")
    def _parameters(self) -> tuple[int, int]:
        return self.window, self.exposure_ms

    @command("TDC_setChannelDelays")
    def _delays(self, delays_ps: list[int]) -> None:
        delays_ps = delays_ps or [0] * self.INPUTS
        if any(abs(delay) > DELAY_MAX_PS for delay in delays_ps):
            raise CallError(OUT_OF_RANGE)
        self.put("delays_ps", [*delays_ps[1:], delays_ps[0]])

    @command("TDC_getChannelDelays")
    def _delayed(self) -> list[int]:
        unit = self.config.resolution_ps
        return [round(d / unit) for d in (self.delays_ps[START], *self.delays_ps[:START], 0, 0, 0)]

    @command("TDC_setDeadTime")
    def _dead_time(self, channel: int, length_ps: int) -> None:
        if length_ps < 0:
            raise CallError(OUT_OF_RANGE)
        if not self.faults.use("ignore-sets"):
            self.dead_ps[self.hardware(channel)] = length_ps

    @command("TDC_getDeadTime")
    def _dead(self, channel: int) -> int:
        return self.dead_ps[self.hardware(channel)]


REGISTRATION = Registration("qutools-qutag", "tagger", Qutag, "qutools quTAG, four or five inputs")
