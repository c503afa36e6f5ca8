"""Every driver over its real wire, against the emulator program: the same contract for all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract_cases import CASES, opened

from photonlink.hal.errors import (
    InstrumentError,
    LimitError,
    LinkClosed,
    LinkTimeout,
    ReadbackMismatch,
)
from photonlink.hal.facets import Biased, CountsPhotons, Emits
from photonlink.hal.opening import open_bench
from photonlink.hal.tags import Provenance

ALL = tuple(CASES)


@pytest.mark.parametrize("name", ALL)
async def test_open_identify_read_close_and_open_again(program: Any, name: str) -> None:
    for _ in range(2):
        async with opened(program, name) as bench:
            resolution = bench.resolutions[name]
            assert resolution.provenance is Provenance.EMULATED
            assert resolution.identity.model
            values = (await bench.snapshot())[name]
            assert values
            assert not [key for key in values if key.endswith("error")], values
            assert all(step.ok for step in await bench.safe_state())


@pytest.mark.parametrize("name", ALL)
async def test_unplugged_is_closed_at_once(program: Any, name: str) -> None:
    silent = CASES[name].transports == ("udp",)  # a datagram to an absent instrument gets no answer
    async with opened(program, name, deadline_s=0.5 if silent else 30.0) as bench:
        program.fault(name, "unplug")
        begin = asyncio.get_running_loop().time()
        gone = (LinkClosed, InstrumentError, *((LinkTimeout,) if silent else ()))
        with pytest.raises(gone):
            await bench.instruments[name].snapshot()
        assert asyncio.get_running_loop().time() - begin < 20.0, "long before the deadline"
        program.fault(name, "replug")


async def test_a_command_accepted_but_not_executed_is_found_out(program: Any) -> None:
    async with opened(program, "pump", "alice-h") as bench:
        laser, detector = bench.having(Emits)["pump"], bench.having(Biased)["alice-h"]
        laser.params._settle_s = detector.params._settle_s = 0.3
        program.fault("pump", "ignore-sets")
        program.fault("alice-h", "ignore-sets")
        with pytest.raises(ReadbackMismatch, match=r"60.* reads back"):
            await laser.set("current_set_ma", 60.0)
        with pytest.raises(ReadbackMismatch):
            await laser.set_emission(True)
        with pytest.raises(ReadbackMismatch, match="bias"):
            await detector.set_bias(True)


async def test_the_laser_refuses_what_it_should(program: Any) -> None:
    async with opened(program, "pump") as bench:
        laser: Any = bench.having(Emits)["pump"]
        for wrong in (1e6, -1.0, float("nan")):
            with pytest.raises(LimitError):
                await laser.set("current_set_ma", wrong)
        clip = (await laser.snapshot())["current_clip_ma"]
        with pytest.raises(LimitError, match="outside"):
            await laser.set("current_set_ma", float(clip) + 0.5)
        assert (await laser.snapshot())["current_set_ma"] == 80.0, "nothing was changed"
        for setting, words in (("interlock_open", "interlock"), ("frontkey_locked", "key")):
            program.ask(device="pump", set={setting: True})
            with pytest.raises(InstrumentError, match=words):
                await laser.set_emission(True)
            assert not await laser.emission()
            program.ask(device="pump", set={setting: False})
        await laser.set_emission(True)
        assert program.status("pump")["emission"]
        await laser.set_emission(False)
        assert not program.status("pump")["emission"]


async def test_closing_leaves_light_and_bias_off(program: Any) -> None:
    async with opened(program, "pump", "alice-h") as bench:
        await bench.having(Emits)["pump"].set_emission(True)
        await bench.having(Biased)["alice-h"].set_bias(True)
        assert program.status("pump")["emission"]
        assert program.status("alice-h")["bias"]
    assert not program.status("pump")["emission"]
    assert not program.status("alice-h")["bias"]


async def test_opening_takes_light_and_bias_off(program: Any) -> None:
    left_on = await open_bench(program.station("pump", "alice-h"))
    await left_on.having(Emits)["pump"].set_emission(True)
    await left_on.having(Biased)["alice-h"].set_bias(True)
    for instrument in left_on.instruments.values():
        await instrument.codec.close()  # as a killed process leaves them
    left_on.claims.release()
    async with opened(program, "pump", "alice-h"):
        assert not program.status("pump")["emission"]
        assert not program.status("alice-h")["bias"]


async def test_emergency_off_works_past_the_event_loop(program: Any) -> None:
    async with opened(program, "pump", "alice-h") as bench:
        await bench.having(Emits)["pump"].set_emission(True)
        await bench.having(Biased)["alice-h"].set_bias(True)
        for instrument in bench.instruments.values():
            instrument.emergency_off()  # blocks this event loop, so it works without it
        for _ in range(1000):
            await asyncio.sleep(0.05)
            if not (program.status("pump")["emission"] or program.status("alice-h")["bias"]):
                break
        assert not program.status("pump")["emission"]
        assert not program.status("alice-h")["bias"]


async def test_a_detector_counts_what_its_diode_clicks(program: Any) -> None:
    async with opened(program, "alice-h") as bench:
        detector: Any = bench.having(CountsPhotons)["alice-h"]
        assert (await detector.count(0.05)).total == 0, "without bias there are no clicks"
        await detector.set_bias(True)
        before = program.status("alice-h")["clicks_total"]
        reading = await detector.count(0.5)
        after = program.status("alice-h")["clicks_total"]
        assert reading.gate_s == 0.5
        assert 0 < reading.total <= after - before
        assert reading.total > 0.5 * (after - before)
        for wrong in (0.0, 66.0, float("nan")):
            with pytest.raises((LimitError, ValueError)):
                await detector.count(wrong)
