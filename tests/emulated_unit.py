"""A driver and its emulator on a lit optical table, in one event loop, over the real wire."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.registry import load_driver, registry


@contextlib.asynccontextmanager
async def emulated(
    driver_id: str,
    run_dir: Path,
    emulator: dict[str, Any] | None = None,
    *,
    speed: float = 1.0,
    **settings: Any,
) -> AsyncIterator[tuple[Any, Any]]:
    """(driver, device): the driver is closed and not yet opened, ``device.table`` is its table.

    speed: of the emulator's clock; with a fast clock the table is dark.
    """
    entry, kind = registry().drivers[driver_id], load_driver(driver_id)
    config = bench_of(models()[entry.emulator], "", emulator or {}, 7)
    if speed > 1.0:
        config.source.pump_power_mw = 0.0  # light cannot be computed faster than real time
    async with Program(config, run_dir, clock=Clock(speed)) as program:
        device: Any = program.devices["unit"]
        device.table = program.bench
        wanted = {"reply_timeout_s": 5.0, **entry.settings, **settings}
        driver = kind("unit", device.address, kind.Settings(**wanted))
        try:
            yield driver, device
        finally:
            await driver.close()
            assert device.internal_errors == 0
