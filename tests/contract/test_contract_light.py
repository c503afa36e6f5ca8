"""Every instrument that emits: light needs a lease; lease, guard, interlock and loss end it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract_cases import CASES, opened

from photonlink.hal import light_guard, light_guard_program
from photonlink.hal.errors import InstrumentError, LimitError, ReadbackMismatch
from photonlink.hal.facets import Emits
from photonlink.hal.opening import open_bench
from photonlink.hal.safety import arm

LIGHT = tuple(name for name, entry in CASES.items() if "Emits" in entry.facets)
INTERLOCKS = {n: CASES[n].case["interlock"] for n in LIGHT if "interlock" in CASES[n].case}
"""Attribute of the emulator's world that forbids light."""


async def becomes(program: Any, name: str, on: bool) -> None:
    """Wait for the light itself, not for the driver's reading of it."""
    async with asyncio.timeout(60):
        while bool(program.status(name)["emission"]) is not on:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", LIGHT)
async def test_light_comes_and_goes_with_its_lease(program: Any, name: str) -> None:
    async with opened(program, name) as bench:
        laser = bench.having(Emits)[name]
        assert not program.status(name)["emission"]
        async with arm(laser, "contract", 10.0):
            await becomes(program, name, True)
            assert await laser.emission()
            instrument = bench.instruments[name]
            assert instrument.conditions(await instrument.snapshot()) == ()
        await becomes(program, name, False)
        assert not await laser.emission()


@pytest.mark.parametrize("name", LIGHT)
async def test_the_guard_ends_the_light_of_a_program_that_is_gone(program: Any, name: str) -> None:
    bench = await open_bench(program.station(name))
    instrument: Any = bench.instruments[name]
    target = light_guard._target(name, instrument)
    assert target is not None
    await bench.having(Emits)[name].set_emission(True)
    await becomes(program, name, True)
    await instrument.release()  # as a killed process leaves it
    bench.claims.release()
    await asyncio.to_thread(light_guard_program.SENDERS[target["scheme"]], target)
    await becomes(program, name, False)


@pytest.mark.parametrize("name", LIGHT)
async def test_opening_ends_light_that_was_left_on(program: Any, name: str) -> None:
    left_on = await open_bench(program.station(name))
    await left_on.having(Emits)[name].set_emission(True)
    instrument: Any = left_on.instruments[name]
    await instrument.release()  # as a killed process leaves it
    left_on.claims.release()
    await becomes(program, name, True)
    async with opened(program, name):
        await becomes(program, name, False)


@pytest.mark.parametrize("name", LIGHT)
async def test_emergency_off_goes_past_the_event_loop(program: Any, name: str) -> None:
    async with opened(program, name) as bench:
        await bench.having(Emits)[name].set_emission(True)
        await becomes(program, name, True)
        bench.instruments[name].emergency_off()
        await becomes(program, name, False)


@pytest.mark.parametrize("name", INTERLOCKS)
async def test_an_interlock_ends_the_light_and_forbids_it(program: Any, name: str) -> None:
    world = INTERLOCKS[name]
    async with opened(program, name) as bench:
        laser, instrument = bench.having(Emits)[name], bench.instruments[name]
        await laser.set_emission(True)
        await becomes(program, name, True)
        program.ask(device=name, set={world: True})
        try:
            await becomes(program, name, False)
            assert instrument.conditions(await instrument.snapshot()), "nobody is told"
            with pytest.raises((InstrumentError, ReadbackMismatch)):
                await laser.set_emission(True)
            assert not program.status(name)["emission"]
        finally:
            program.ask(device=name, set={world: False})
        await asyncio.sleep(0.1)
        assert not program.status(name)["emission"], "it stays off until it is asked for"
        await laser.set_emission(True)
        await becomes(program, name, True)


@pytest.mark.parametrize("name", LIGHT)
async def test_light_that_does_not_come_is_an_error_and_off(program: Any, name: str) -> None:
    async with opened(program, name) as bench:
        laser: Any = bench.having(Emits)[name]
        laser.params._settle_s = 0.2
        program.fault(name, "ignore-sets")
        with pytest.raises((InstrumentError, ReadbackMismatch)):
            await laser.set_emission(True)
        program.fault(name, "none")
        assert not program.status(name)["emission"]


@pytest.mark.parametrize("name", LIGHT)
async def test_limits_are_kept_and_values_come_back(program: Any, name: str) -> None:
    """For every parameter: values beyond its limits are refused and its present value stays."""
    async with opened(program, name) as bench:
        instrument: Any = bench.instruments[name]
        for param in instrument.params.table.values():
            if not (param.set and param.get and param.numeric and param.limits):
                continue
            present = await instrument.get(param.name)
            for wrong in (param.limits[0] - 1, param.limits[1] + 1, float("nan"), float("inf")):
                with pytest.raises(LimitError):
                    await instrument.set(param.name, wrong)
            assert await instrument.get(param.name) == pytest.approx(present, abs=param.tolerance)
