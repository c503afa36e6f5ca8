"""Device emulators on a stand-in bench: the test itself defines what every port sees.

Each emulator runs in its own thread with its own event loop, as it does in its own process in
real use: a client that blocks must not stop the instrument.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.places import TagRead, example_place, kinds
from photonlink.firmware_sim.tagger import TagMemory

SLICE_PS = 20 * 10**9


class FakePump:
    def __init__(self) -> None:
        self.power_mw = -1.0
        self.wavelength_nm = 0.0

    def set_optical_power_mw(self, power_mw: float) -> None:
        self.power_mw = power_mw

    def set_wavelength_nm(self, wavelength_nm: float) -> None:
        self.wavelength_nm = wavelength_nm


class FakeDetector:
    """Clicks at ``rate_hz`` while there is excess bias, in slices of 20 ms like the real table."""

    def __init__(self) -> None:
        self.rate_hz = 10_000.0
        self.excess_v = self.temperature_c = self.threshold_mv = -1.0
        self.dead_time_s: float | None = None
        self._clicks, self._at = 0.0, time.monotonic()

    def _advance(self) -> None:
        while time.monotonic() - self._at > 0.02:
            self._at += 0.02
            if self.excess_v > 0:
                self._clicks += 0.02 * self.rate_hz

    def set_excess_bias_v(self, excess_v: float) -> None:
        self._advance()
        self.excess_v = excess_v

    def set_temperature_c(self, temperature_c: float) -> None:
        self.temperature_c = temperature_c

    def set_threshold_mv(self, threshold_mv: float) -> None:
        self.threshold_mv = threshold_mv

    def set_dead_time_s(self, dead_time_s: float) -> None:
        self.dead_time_s = dead_time_s

    def clicks_total(self) -> int:
        self._advance()
        return int(self._clicks)

    def stage_k(self) -> float | None:
        return self.stage

    stage: float | None = None


class FakeArray:
    def __init__(self) -> None:
        self.channels = tuple(FakeDetector() for _ in range(4))


class FakeTagger:
    """Replays a test's list of events in wall-clock time, through a bounded memory."""

    def __init__(self) -> None:
        self.load([], [])
        self.enabled: dict[int, bool] = {}
        self.resolution_ps, self.inputs, self.fifo_tags = 1.0, 0, 1 << 20
        self.running = False
        self.starts = 0
        self._next, self._memory = 0, TagMemory(self.fifo_tags)
        self._end: int | None = 0

    def load(self, time_ps: Any, channel: Any) -> None:
        self.time_ps = np.asarray(time_ps, np.int64)
        self.channel = np.asarray(channel, np.uint8)

    def configure(self, *, inputs: int, resolution_ps: float, **figures: Any) -> None:
        self.inputs, self.resolution_ps = inputs, resolution_ps
        self.fifo_tags = figures.get("fifo_tags", self.fifo_tags)

    def set_enabled(self, channel: int, enabled: bool) -> None:
        assert 0 <= channel < self.inputs
        self.enabled[channel] = enabled

    def start(self) -> None:
        self.running, self._t0, self._end = True, time.monotonic(), None
        self.starts += 1
        self._next, self._memory = 0, TagMemory(self.fifo_tags)

    def stop(self) -> None:
        if self.running:
            self._end = self._now_ps()
        self.running = False

    def _now_ps(self) -> int:
        if self._end is not None:
            return self._end
        return int((time.monotonic() - self._t0) * 1e12)

    def read(self, max_tags: int | None = None) -> TagRead:
        """Read the memory; a slice of 20 ms enters it once, when it has ended."""
        until, unit = self._now_ps(), int(self.resolution_ps)
        while self._next <= until:
            end = self._next + SLICE_PS
            if end > until:
                break
            span = slice(*np.searchsorted(self.time_ps, (self._next, end)))
            times, channels = self.time_ps[span] // unit * unit, self.channel[span]
            open_ = np.array([self.enabled.get(c, True) for c in range(64)])[channels]
            self._memory.put(times[open_], channels[open_], end // unit * unit)
            self._next = end
        return self._memory.take(max_tags)

    def rates_hz(self) -> tuple[float, ...]:
        return tuple(1000.0 * (i + 1) * self.enabled.get(i, True) for i in range(self.inputs))


FAKES: dict[str, Callable[[], Any]] = {
    "pump": FakePump,
    "detector": FakeDetector,
    "detector-array": FakeArray,
    "tagger": FakeTagger,
}


class FakeTable:
    """A table for optical elements: 1 mW of pump, 1e6 pairs/s, no other light."""

    def __init__(self) -> None:
        self.config = BenchConfig.model_validate({"source": {"pump_power_mw": 1.0}})
        self.elements: dict[str, Any] = {}

    def touch(self) -> None: ...

    def pair_rate_hz(self) -> float:
        return 1e6

    def transmission(self, side: str) -> float:
        return 0.1


def fake_place(kind: str) -> Any:
    """A stand-in place for a device of this kind; for ``elements/`` it is the element itself."""
    if kind in FAKES or not kind:
        return FAKES[kind]() if kind else None
    return kinds()[kind].create(FakeTable(), example_place(kind))


class Emulator:
    """A started device in its thread, its port, and a way to call it."""

    def __init__(self, model: str, run_dir: Path, config: dict[str, Any]) -> None:
        self.run_dir = run_dir
        self.port: Any = fake_place(models()[model].kind)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self.device: EmulatedDevice = self.call(
                lambda: models()[model].create("unit", config, self.port, 7)
            )
            self.wait(self.device.start(run_dir))
        except BaseException:
            self._end()
            raise

    def wait(self, coroutine: Any, timeout_s: float = 5.0) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run ``function`` in the emulator's loop and return what it returned."""
        result: Future[Any] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001 - the test sees it
                result.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return result.result(5.0)

    def control(self, **command: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.call(lambda: self.device.control(command))
        return answer

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.call(self.device.status)
        return answer

    @property
    def path(self) -> str:
        return self.device.address.split("://", 1)[1]

    def close(self) -> None:
        self.wait(self.device.stop())
        self._end()

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)
        self.loop.close()
