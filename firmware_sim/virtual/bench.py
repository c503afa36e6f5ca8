"""A bench of emulated instruments on a virtual loop, for a runner or a user's own tests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from photonlink.firmware_sim.config import BenchConfig, default_bench, parse_bench
from photonlink.firmware_sim.kit.clock import LoopClock
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.virtual.loop import VirtualLoop


class NotVirtual(ValueError):
    """An instrument of the bench cannot run on virtual time."""


def demo_bench(config: BenchConfig | None = None) -> BenchConfig:
    """The demo's bench (or one like it) with two time taggers that can run on virtual time."""
    config = (config or parse_bench(default_bench())).model_copy(deep=True)
    bob = config.devices["bob-tagger"]
    config.devices["bob-tagger"] = bob.model_copy(update={"model": "sfifteen-tdc1"})
    return config


def in_memory(config: BenchConfig) -> BenchConfig:
    """The bench with every instrument on ``mem://NAME``, or on TCP where that is its own wire.

    NotVirtual: an instrument is reached through a vendor's library or package, by datagrams or
    by HTTP.
    """
    found = config.model_copy(deep=True)
    for name, entry in found.devices.items():
        device = models()[entry.model].device
        if not device.is_stream():
            raise NotVirtual(
                f"{name} ({entry.model}) is reached over {device.WIRES[0]}, which keeps real time; "
                "in virtual time there are instruments on tcp and serial only"
            )
        if "tcp" not in device.WIRES:
            entry.settings = {**entry.settings, "address": f"mem://{name}"}
    return found


@contextlib.asynccontextmanager
async def running(
    config: BenchConfig, run_dir: Path, loop: VirtualLoop, *, seed: int | None = None
) -> AsyncIterator[Program]:
    """The bench, started on ``loop``, its files in the folder ``run_dir``; afterwards its
    light is off and its wires are gone."""
    clock = LoopClock(loop, loop.wall_s())
    async with Program(in_memory(config), run_dir, seed=seed, clock=clock) as program:
        yield program
