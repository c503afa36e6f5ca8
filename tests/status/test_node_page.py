"""A node's own page: figures for Prometheus, and the events for ``watch --node``."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from photonlink.pipeline.node.station import StatusSection
from photonlink.pipeline.status.connection import BrokerAddressError
from photonlink.pipeline.status.model import (
    Alarm,
    BlockReport,
    InstrumentState,
    LinkState,
    Phase,
    Severity,
)
from photonlink.pipeline.status.topics import Speaker
from photonlink.pipeline.status.web import QUEUE_BOUND, StatusPage
from photonlink.pipeline.watch.history import History
from photonlink.pipeline.watch.node_listener import NodeListener
from photonlink.pipeline.watch.service import Watch

SPEAKER = Speaker("lab", "l0-alice", "l0", "alice")
STATE = LinkState(Phase.SIFTING, skr_bps=800.0, qber_hv=0.02, emulated=True)
ALARM = Alarm("no_key", Severity.MAJOR, "three blocks")
BLOCK = BlockReport(
    4, 200_000, 100_000, 100_000, 200_000, 0, 0.02, 0.02, 15_000, 1.05, 64, 40_000, 1024, 38_976,
    30_000, 1.1e-10, 0.08, 0.08, 40, 21.0, True,
)  # fmt: skip


@contextlib.asynccontextmanager
async def followed(page: StatusPage, port: int = 0) -> AsyncIterator[tuple[Watch, int]]:
    """Serve the page; a watch that follows it."""
    watch = Watch(History(":memory:"))
    async with page.serving("127.0.0.1", port) as bound:
        listener = NodeListener(f"http://127.0.0.1:{bound}", watch.feed)
        watch.trouble = lambda: listener.trouble
        task = asyncio.create_task(listener.run())
        try:
            yield watch, bound
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            watch.history.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - state of the code under test
            await asyncio.sleep(0.01)


async def test_watch_follows_a_node_without_a_broker() -> None:
    page = StatusPage(SPEAKER, "photonlink 1")
    page.offer(STATE)
    page.offer(ALARM)
    page.offer(InstrumentState("pump", "toptica.dlc_pro", "1", "emulated", "ok"))
    async with followed(page) as (watch, _):
        await until(lambda: watch.board.nodes.get("lab/l0-alice"))
        node = watch.board.nodes["lab/l0-alice"]
        await until(lambda: "pump" in node.instruments and "no_key" in node.alarms)
        assert node.state["skr_bps"] == 800.0
        page.offer(dataclasses.replace(ALARM, active=False))
        page.offer(BLOCK)
        await until(lambda: node.blocks and not node.alarms)
        assert watch.board.refused == 0
    await asyncio.sleep(0)


async def test_metrics_of_a_node_pass_promtool() -> None:
    page = StatusPage(SPEAKER, "photonlink 1")
    page.offer(STATE)
    page.offer(ALARM)
    async with (
        page.serving("127.0.0.1", 0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        text = await answer.read()
    assert b'emulated="true"' in text
    assert b"photonlink_secret_key_bytes_per_second{" in text
    assert b'code="no_key"' in text
    if shutil.which("promtool"):
        done = subprocess.run(  # noqa: ASYNC221
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr


async def test_a_node_that_goes_is_named_and_found_again() -> None:
    page = StatusPage(SPEAKER, "photonlink 1")
    async with followed(page) as (watch, port):
        await until(lambda: not watch.trouble())
    listener = NodeListener(f"http://127.0.0.1:{port}", lambda topic, payload: None)
    task = asyncio.create_task(listener.run())
    try:
        await until(lambda: "nothing listens" in listener.trouble)
        async with page.serving("127.0.0.1", port):
            await until(lambda: listener.connected)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_reader_that_does_not_read_is_dropped_and_counted() -> None:
    page = StatusPage(SPEAKER, "photonlink 1")
    page._readers.add(asyncio.Queue(QUEUE_BOUND))
    for _ in range(QUEUE_BOUND + 1):
        page.offer(BLOCK)
    assert page.dropped == 1
    assert not page._readers


def test_states_are_told_twice_a_second_at_most() -> None:
    page = StatusPage(SPEAKER, "photonlink 1")
    before = page._seq
    for _ in range(50):
        page.offer(STATE)
    assert page._seq == before + 1


def test_only_loopback_and_only_addresses() -> None:
    with pytest.raises(ValueError, match="loopback"):
        StatusSection(listen="0.0.0.0:9464")
    with pytest.raises(BrokerAddressError, match="no http"):
        NodeListener("mqtt://x", lambda topic, payload: None)
