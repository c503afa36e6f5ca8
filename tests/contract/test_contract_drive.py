"""Every instrument with a bias or an output is off at the start, at the end, and in emergencies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract_cases import CASES

from photonlink.hal import light_guard, light_guard_program
from photonlink.hal.errors import InstrumentError, LimitError
from photonlink.hal.facets import Biased
from photonlink.hal.opening import open_bench

DRIVEN = tuple(n for n, e in CASES.items() if {"Biased", "HasOutput"} & set(e.facets))


async def switch(instrument: Any, on: bool) -> None:
    if isinstance(instrument, Biased):
        await instrument.set_bias(on)
    else:
        await instrument.set_output(on)


async def becomes(program: Any, name: str, on: bool) -> None:
    """Wait for the emulator's own state, not for the driver's reading of it."""
    key = "bias" if "Biased" in CASES[name].facets else "output"
    async with asyncio.timeout(60):
        while bool(program.status(name)[key]) is not on:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def left_on(program: Any, name: str) -> Any:
    """An instrument with its output on, as a killed process leaves it."""
    bench = await open_bench(program.station(name))
    instrument: Any = bench.instruments[name]
    await switch(instrument, True)
    await becomes(program, name, True)
    bench.claims.release()
    return instrument


@pytest.mark.parametrize("name", DRIVEN)
async def test_it_is_off_until_asked_for_and_off_again_at_the_end(program: Any, name: str) -> None:
    bench = await open_bench(program.station(name))
    try:
        await becomes(program, name, False)
        await switch(bench.instruments[name], True)
        await becomes(program, name, True)
        assert all(step.ok for step in await bench.instruments[name].safe_state())
        await becomes(program, name, False)
        await switch(bench.instruments[name], True)
    finally:
        await bench.close()
    await becomes(program, name, False)


@pytest.mark.parametrize("name", DRIVEN)
async def test_opening_ends_what_was_left_on(program: Any, name: str) -> None:
    await (await left_on(program, name)).release()
    bench = await open_bench(program.station(name))
    try:
        await becomes(program, name, False)
    finally:
        await bench.close()


@pytest.mark.parametrize("name", DRIVEN)
async def test_the_guard_ends_it_when_the_program_is_gone(program: Any, name: str) -> None:
    instrument = await left_on(program, name)
    target = light_guard._target(name, instrument)
    assert target is not None
    await instrument.release()
    await asyncio.to_thread(light_guard_program.SENDERS[target["scheme"]], target)
    await becomes(program, name, False)


@pytest.mark.parametrize("name", DRIVEN)
async def test_emergency_off_goes_past_the_event_loop(program: Any, name: str) -> None:
    instrument = await left_on(program, name)
    instrument.emergency_off()
    await becomes(program, name, False)
    await instrument.close()


@pytest.mark.parametrize("name", DRIVEN)
async def test_what_does_not_come_on_is_an_error(program: Any, name: str) -> None:
    bench = await open_bench(program.station(name))
    instrument: Any = bench.instruments[name]
    instrument.params._settle_s = 0.2
    try:
        program.fault(name, "ignore-sets")
        with pytest.raises(InstrumentError):
            await switch(instrument, True)
        program.fault(name, "none")
        await becomes(program, name, False)
    finally:
        await bench.close()


@pytest.mark.parametrize("name", DRIVEN)
async def test_limits_are_kept(program: Any, name: str) -> None:
    """Values beyond both limits, and values that are not numbers, are refused for every parameter
    and change nothing."""
    bench = await open_bench(program.station(name))
    instrument: Any = bench.instruments[name]
    try:
        for param in instrument.params.table.values():
            if not (param.set and param.get and param.numeric and param.limits):
                continue
            present = await instrument.get(param.name)
            low, high = (
                x + s * max(1.0, 0.01 * abs(x)) for x, s in zip(param.limits, (-1, 1), strict=True)
            )
            for wrong in (low, high, float("nan"), float("inf")):
                with pytest.raises(LimitError):
                    await instrument.set(param.name, wrong)
            assert await instrument.get(param.name) == pytest.approx(present, abs=param.tolerance)
    finally:
        await bench.close()
