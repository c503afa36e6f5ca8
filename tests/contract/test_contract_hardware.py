"""The contract against the instruments of a station file: ``pytest -m hardware --station my.toml``.

The same checks as against the emulators (``contract_checks``), without faults that only an emulator
can produce. Each instrument is opened with the station's settings; nothing is emitted or biased,
and only values beyond the limits are tried. ``--stream-s`` is the time for which a tagger streams
(10 s), ``--restarts`` the number of times that every instrument is released and reopened (10).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import contract_checks as checks
import pytest

from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.station import BenchStation, load_station

pytestmark = pytest.mark.hardware


@contextlib.asynccontextmanager
async def opened(config: pytest.Config, name: str) -> AsyncIterator[tuple[Bench, Any]]:
    """One instrument of the station."""
    station = load_station(config.getoption("station"), BenchStation)
    entry = station.instruments[name]
    bench = await open_bench(station.model_copy(update={"instruments": {name: entry}}))
    try:
        yield bench, bench.instruments[name]
    finally:
        steps = await bench.close()
        assert all(step.ok for step in steps), steps


async def test_it_says_who_it_is_and_reads_what_it_declares(
    pytestconfig: pytest.Config, on_station: str
) -> None:
    async with opened(pytestconfig, on_station) as (bench, _):
        await checks.reads(bench, on_station)


async def test_200_questions_at_once_each_get_their_own_answer(
    pytestconfig: pytest.Config, on_station: str
) -> None:
    async with opened(pytestconfig, on_station) as (_, instrument):
        await checks.answers_many(instrument)


async def test_questions_that_are_given_up(pytestconfig: pytest.Config, on_station: str) -> None:
    async with opened(pytestconfig, on_station) as (_, instrument):
        await checks.survives_cancellation(instrument)


async def test_limits_words_and_names_are_kept(
    pytestconfig: pytest.Config, on_station: str
) -> None:
    async with opened(pytestconfig, on_station) as (_, instrument):
        await checks.keeps_limits(instrument)


async def test_no_question_comes_faster_than_it_bears(
    pytestconfig: pytest.Config, on_station: str
) -> None:
    async with opened(pytestconfig, on_station) as (_, instrument):
        await checks.keeps_pace(instrument)


async def test_safe_state_is_reached_and_read_back(
    pytestconfig: pytest.Config, on_station: str
) -> None:
    async with opened(pytestconfig, on_station) as (_, instrument):
        await checks.is_safe(instrument)


async def test_a_tagger_streams_whole_and_in_order(
    pytestconfig: pytest.Config, on_station: str
) -> None:
    async with opened(pytestconfig, on_station) as (_, instrument):
        tags, gaps, seconds = await checks.streams(instrument, pytestconfig.getoption("stream_s"))
        print(f"{on_station}: {tags} tags, {gaps} gaps told in {seconds:.2f} s")


async def test_given_back_and_opened_again_and_again(
    pytestconfig: pytest.Config, on_station: str
) -> None:
    found = set()
    for _ in range(pytestconfig.getoption("restarts")):
        async with opened(pytestconfig, on_station) as (bench, _):
            found.add(bench.resolutions[on_station].identity)
    assert len(found) == 1, found
