"""A driver and its emulator on a lit optical table, in one event loop, over the real wire."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.registry import load_driver, registry


@contextlib.asynccontextmanager
async def emulated(
    driver_id: str, run_dir: Path, emulator: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[tuple[Any, Any]]:
    """(driver, device): the driver is closed and not yet opened, ``device.table`` is its table."""
    entry, kind = registry().drivers[driver_id], load_driver(driver_id)
    config = bench_of(models()[entry.emulator], "", emulator or {}, 7)
    async with Program(config, run_dir) as program:
        device: Any = program.devices["unit"]
        device.table = program.bench
        wanted = {"reply_timeout_s": 0.5, **entry.settings, **settings}
        driver = kind("unit", device.address, kind.Settings(**wanted))
        try:
            yield driver, device
        finally:
            await driver.close()
            assert device.internal_errors == 0
