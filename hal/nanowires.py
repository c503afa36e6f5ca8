"""Common part of the drivers of superconducting nanowire detectors: bias, and unlatching.

A nanowire in the normal state (latched) detects nothing until its bias is removed. The rule:
a reading above ``latched_v`` across a wire that has bias is a latch; it is counted, the bias is
removed for ``unlatch_s`` and restored. A wire that latches ``unlatch_most`` times within
``unlatch_within_s`` is left without bias, and that is a condition (an alarm).

The driver declares, per channel, parameters ``bias_{ch}_a`` (setting ``bias_{ch}_a``, deferred) and
``voltage_{ch}_v``; ``snapshot`` applies the rule, so every poll of the bench applies it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from photonlink.hal.driver import Driver
from photonlink.hal.errors import LimitError
from photonlink.hal.facets import Biased, Condition, Reading
from photonlink.hal.settings import DriverSettings


class NanowireSettings(DriverSettings):
    """Settings of every driver of nanowires."""

    latched_v: float = Field(
        default=0.05, gt=0, le=10, description="more than this across a wire: it has latched, V"
    )
    unlatch_s: float = Field(
        default=0.1, gt=0, le=10, description="how long the bias is taken away, s"
    )
    unlatch_most: int = Field(
        default=3, ge=0, le=1000, description="latches within `unlatch_within_s` that are undone"
    )
    unlatch_within_s: float = Field(
        default=60.0, gt=0, le=86_400, description="the time in which they are counted, s"
    )


class NanowireDriver(Driver, Biased):
    """One or several nanowires, each with its own bias."""

    Settings = NanowireSettings

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.latches: dict[int, int] = defaultdict(int)
        """Latches per channel since the driver was made."""
        self._recent: dict[int, deque[float]] = defaultdict(deque)
        self._given_up: set[int] = set()
        self._bias_lock = asyncio.Lock()

    async def set_channel_bias(self, channel: int, bias_a: float) -> None:
        await self.set(f"bias_{channel}_a", bias_a)

    async def enable(self) -> None:
        """Switch on what a bias needs; by default nothing."""

    async def set_bias(self, on: bool, channel: int | None = None) -> None:
        """Bias of the settings on, or off; of one channel or (None) of all that have one."""
        known = self.bias_channels
        if channel is not None and channel not in known:
            raise LimitError(f"there is no channel {channel}", where=self.name, hint=f"{known}")
        wanted = {
            ch: float(getattr(self.settings, f"bias_{ch}_a") or 0.0)
            for ch in (known if channel is None else (channel,))
        }
        if on and not any(wanted.values()):
            raise LimitError(
                "the settings give no bias_…_a: there is none to apply", where=self.name
            )
        async with self._bias_lock:
            for ch, bias_a in wanted.items():
                self._given_up.discard(ch)
                self._recent[ch].clear()
                await self.set_channel_bias(ch, bias_a if on else 0.0)
            if on:
                await self.enable()

    async def snapshot(self) -> Mapping[str, Reading]:
        """The readings, after the rule; ``latches_{ch}`` counts what it found."""
        async with self._bias_lock:
            readings = dict(await super().snapshot())
            for ch in self.bias_channels:
                if self._latched(readings, ch):
                    await self._undo(ch)
                    for name in (f"bias_{ch}_a", f"voltage_{ch}_v"):
                        readings[name] = await self.get(name)
        return readings | {f"latches_{ch}": self.latches[ch] for ch in self.bias_channels}

    @property
    def of_clicks(self) -> frozenset[str]:
        return super().of_clicks | {f"latches_{ch}" for ch in self.bias_channels}

    def _latched(self, readings: Mapping[str, Reading], channel: int) -> bool:
        volts, bias_a = readings.get(f"voltage_{channel}_v"), readings.get(f"bias_{channel}_a")
        if volts is None or not bias_a:
            return False
        return abs(float(volts)) > float(self.settings.latched_v)

    async def _undo(self, channel: int) -> None:
        """Remove the bias, and restore it unless the wire latches too often."""
        now, settings, recent = time.monotonic(), self.settings, self._recent[channel]
        self.latches[channel] += 1
        while recent and now - recent[0] > settings.unlatch_within_s:
            recent.popleft()
        recent.append(now)
        bias_a = await self.params.get_float(f"bias_{channel}_a")
        self._given_up.add(channel)  # until its bias is back, so that any error below is reported
        await self.set_channel_bias(channel, 0.0)
        if len(recent) > settings.unlatch_most:
            return
        await asyncio.sleep(settings.unlatch_s)
        await self.set_channel_bias(channel, bias_a)
        self._given_up.discard(channel)

    def conditions(self, readings: Mapping[str, Reading]) -> tuple[Condition, ...]:
        return super().conditions(readings) + tuple(
            Condition(
                f"channel_{ch}_latches",
                f"channel {ch} has latched {self.latches[ch]} times and has no bias now: lower it, "
                "look at the light and the cold stage, then ask for bias again",
            )
            for ch in sorted(self._given_up)
        )
