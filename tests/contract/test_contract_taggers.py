"""Every time tagger over its wire: the same contract, the real decoder, known light."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from contract_cases import CASES, PLACES
from contract_checks import again_when_disturbed

from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import AcquisitionError, InstrumentError, PhotonlinkError
from photonlink.hal.facets import Emits, StreamsTags
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.supervisor import BackOff, Lost, Started, Supervisor

TAGGERS = tuple(name for name, entry in CASES.items() if "StreamsTags" in entry.facets)
POWER = "source.pump_power_mw"
PATIENCE_S = 120.0
"""A host that is busy elsewhere is waited for; what is tested is what comes, not when."""
REPLY_S = 10.0


async def take(tagger: StreamsTags, seconds: float) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(time_ps, channel, horizon_ps, lost intervals) of an acquisition of about ``seconds``."""
    decoder = decoder_for(tagger.wire_format)
    times, channels, lost, end = [], [], 0, 0
    async with asyncio.timeout(PATIENCE_S), aclosing(tagger.chunks()) as chunks:
        async for chunk in chunks:
            block = decoder.feed(chunk)
            assert block.start_ps >= end or not times  # late records may come first
            end = block.end_ps
            lost += len(block.lost)
            times.append(block.time_ps)
            channels.append(block.channel)
            if end > seconds * 1e12:
                break
    return np.concatenate(times), np.concatenate(channels), end, lost


def pump_of(program: Any) -> str | None:
    """The laser at this bench's pump place, if there is one."""
    here = (name for name, place in PLACES.items() if place == "pump")
    return next((name for name in here if name in program.addresses), None)


async def lit(program: Any, *names: str, reply_s: float = REPLY_S) -> Bench:
    """A lit bench with these instruments; diodes without a driver are at nominal bias."""
    pump = pump_of(program)
    if pump is None:
        program.ask(set={POWER: 10.0})
        return await open_bench(program.station(*names, deadline_s=reply_s, open_s=60.0))
    bench = await open_bench(program.station(pump, *names, deadline_s=reply_s, open_s=60.0))
    await bench.having(Emits)[pump].set_emission(True)
    return bench


async def darken(program: Any, bench: Bench) -> None:
    pump = pump_of(program)
    if pump is None:
        program.ask(set={POWER: 0.0})
    else:
        await bench.having(Emits)[pump].set_emission(False)


@pytest.fixture(autouse=True)
def dark_before_and_after(programs: dict[int, Any]) -> Iterator[None]:
    """Only one table is lit at a time: the benches share a program, and light costs CPU time."""
    free = [p for p in programs.values() if pump_of(p) is None]
    for program in free:
        program.ask(set={POWER: 0.0})
    yield
    for program in free:
        program.ask(set={POWER: 0.0})


@pytest.mark.parametrize("name", TAGGERS)
@again_when_disturbed
async def test_events_arrive_whole_in_order_and_at_the_right_rate(program: Any, name: str) -> None:
    bench = await lit(program, name)
    try:
        tagger = bench.having(StreamsTags)[name]
        for _ in range(20):  # the uncertainty is large on a busy host
            before = time.time()
            start = await tagger.start()
            after = time.time()
            if start.uncertainty_s < 0.4:
                break
            await tagger.stop()
        assert before - start.uncertainty_s - 0.3 <= start.host_time_s <= after
        assert start.uncertainty_s < 0.4, "the pipeline's hint must be good to 0.4 s"
        times, channels, end, lost = await take(tagger, 1.0)
        assert start.host_time_s + end / 1e12 - time.time() < 0.1 + max(0.4, after - before)
        side = PLACES[name].partition(".")[0]
        rates = program.ask(status=True)["status"]["taggers"][side]["rates_hz"]
        await tagger.stop()
        assert lost == 0
        assert np.all(np.diff(times) >= 0)
        first = CASES[name].case.get("first_channel", 1)
        assert set(tagger.capabilities.channels) >= set(np.unique(channels))
        for place in range(4):
            counted = np.count_nonzero(channels == first + place) / (end / 1e12)
            assert counted == pytest.approx(rates[place], rel=0.15, abs=500)
    finally:
        await bench.close()


@pytest.mark.parametrize("name", TAGGERS)
@again_when_disturbed
async def test_no_light_no_clicks_but_time_goes_on(program: Any, name: str) -> None:
    bench = await lit(program, name)
    try:
        tagger = bench.having(StreamsTags)[name]
        await tagger.start()
        bright, _, end, _ = await take(tagger, 0.5)
        await tagger.stop()
        bright_rate = len(bright) / (end / 1e12)
        await darken(program, bench)
        await asyncio.sleep(0.1)
        await tagger.start()
        dark, _, end, _ = await take(tagger, 0.5)
        await tagger.stop()
        assert len(dark) / (end / 1e12) < bright_rate / 5
        program.ask(set={"alice.hv_fraction": 0.5})
    finally:
        await bench.close()


@pytest.mark.parametrize("name", TAGGERS)
@again_when_disturbed
async def test_stop_and_start_again_is_a_new_time_zero(program: Any, name: str) -> None:
    bench = await lit(program, name)
    try:
        tagger, starts = bench.having(StreamsTags)[name], []
        for _ in range(3):
            begin = time.monotonic()
            starts.append(await tagger.start())
            _, _, end, lost = await take(tagger, 0.25)
            lasted = time.monotonic() - begin
            assert end < (lasted + 2.0) * 1e12, "nothing of the acquisition before"
            assert lost == 0
            with pytest.raises(InstrumentError):
                await tagger.start()
            await tagger.stop()
            await tagger.stop()
            assert (await tagger.snapshot())["streaming"] is False
        assert starts[0].host_time_s < starts[1].host_time_s < starts[2].host_time_s
        with pytest.raises(InstrumentError, match="not started"):
            await anext(aiter(tagger.chunks()))
    finally:
        await bench.close()


@again_when_disturbed
async def test_a_tagger_s_own_counts_agree_with_its_events(program: Any) -> None:
    bench = await lit(program, "alice-tagger")
    try:
        tagger: Any = bench.having(StreamsTags)["alice-tagger"]
        counts = (await tagger.count(0.5)).counts
        await tagger.start()
        with pytest.raises(InstrumentError, match="while it streams"):
            await tagger.count(0.1)
        _, channels, end, _ = await take(tagger, 1.0)
        await tagger.stop()
        for place in range(4):
            rate = np.count_nonzero(channels == 1 + place) / (end / 1e12)
            assert counts[1 + place] / 0.5 == pytest.approx(rate, rel=0.15, abs=500)
    finally:
        await bench.close()


@pytest.mark.parametrize(
    "fault", [{"fault": "lose", "events": 1000, "flagged": True}, {"fault": "ref-lost"}]
)
@again_when_disturbed
async def test_losses_told_beside_the_records_are_reported(
    program: Any, fault: dict[str, Any]
) -> None:
    bench = await lit(program, "bob-tagger")
    try:
        tagger = bench.having(StreamsTags)["bob-tagger"]
        await tagger.start()
        program.ask(device="bob-tagger", **fault)
        _, _, _, lost = await take(tagger, 0.6)
        assert lost >= 1
        await tagger.stop()
    finally:
        await bench.close()


@again_when_disturbed
async def test_a_full_fifo_ends_the_acquisition_with_a_gap(program: Any) -> None:
    bench = await lit(program, "bob-tagger")
    try:
        tagger, gaps = bench.having(StreamsTags)["bob-tagger"], []

        async def read_on() -> None:
            async for chunk in tagger.chunks():
                gaps.extend(chunk.lost)

        await tagger.start()
        program.fault("bob-tagger", "overrun")
        with pytest.raises(AcquisitionError, match="overran"):
            await read_on()
        assert gaps
        assert gaps[-1].end_ps == -1
        await tagger.stop()
        await tagger.start()
        times, *_ = await take(tagger, 0.3)
        assert len(times), "and it starts again"
        await tagger.stop()
    finally:
        await bench.close()


@pytest.mark.parametrize("name", TAGGERS)
@again_when_disturbed
async def test_unplugged_while_streaming_is_found_again(program: Any, name: str) -> None:
    bench = await lit(program, name, reply_s=3.0)
    events: list[Any] = []
    supervisor = Supervisor(bench, events.append, back_off=BackOff(0.05, 0.2))
    seen: list[str] = []
    decoder, tags = None, 0
    try:
        async with aclosing(supervisor.tagger_stream()) as stream:
            async with asyncio.timeout(PATIENCE_S):
                async for item in stream:
                    if isinstance(item, Started):
                        seen.append("started")
                        decoder, tags = decoder_for(bench.having(StreamsTags)[name].wire_format), 0
                    elif isinstance(item, Lost):
                        seen.append("lost")
                    else:
                        tags += len(decoder.feed(item))
                        if tags > 5000 and seen == ["started"]:
                            program.fault(
                                name, "unplug", for_s=CASES[name].case.get("unplug_s", 0.5)
                            )
                            tags = -(10**9)
                        if tags > 5000 and seen[1:] == ["lost", "started"]:
                            break
        kinds = [type(event).__name__ for event in events]
        assert kinds == ["Lost", "Found"]
        assert events[1].identity == bench.resolutions[name].identity
        assert await bench.having(StreamsTags)[name].snapshot()
    finally:
        await bench.close()


async def test_a_silent_stream_is_not_waited_for_forever(program: Any) -> None:
    bench = await lit(program, "alice-tagger", reply_s=2.0)
    try:
        tagger = bench.having(StreamsTags)["alice-tagger"]
        await tagger.start()
        program.ask(device="alice-tagger", fault="reboot")
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(PhotonlinkError):
                async for _ in tagger.chunks():
                    pass
    finally:
        await bench.close()
