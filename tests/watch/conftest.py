"""A watch process and a broker for each test; Chromium where it is installed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from watch import figures as f

from photonlink.pipeline.status.broker import EmbeddedBroker

Publish = Callable[..., None]
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as embedded:
        yield embedded


class Publisher:
    """Publishes from a thread of its own, for tests that drive a browser."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def __call__(self, *messages: tuple[str, bytes, bool]) -> None:
        asyncio.run_coroutine_threadsafe(self._publish(messages), self._loop).result(20)

    async def _publish(self, messages: tuple[tuple[str, bytes, bool], ...]) -> None:
        async with aiomqtt.Client(
            "127.0.0.1", self._port, protocol=aiomqtt.ProtocolVersion.V5, timeout=10
        ) as client:
            for topic, payload, retain in messages:
                await client.publish(topic, payload, qos=1, retain=retain)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def publish(broker: EmbeddedBroker) -> Iterator[Publisher]:
    publisher = Publisher(broker.port)
    yield publisher
    publisher.close()


class WatchProgram:
    """``photonlink watch`` as a process; ``url`` is the address of its page."""

    def __init__(
        self, folder: Path, broker: int | str, *options: str, within: tuple[str, ...] = ()
    ) -> None:
        """broker: its port on loopback, or its URL. within: a command that starts watch."""
        url = broker if isinstance(broker, str) else f"mqtt://127.0.0.1:{broker}"
        command = [
            *within, sys.executable, "-m", "photonlink.pipeline.cli", "watch", "--broker", url,
            "--listen", "127.0.0.1:0", "--history", str(folder / "history.sqlite"), *options,
        ]  # fmt: skip
        self._log = folder / "watch.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.url = line.strip().rpartition(" ")[2].rstrip("/")
        assert self.url.startswith("http"), line + self.log

    @property
    def log(self) -> str:
        """Its log so far."""
        return self._log.read_text()

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def watch(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[WatchProgram]:
    program = WatchProgram(tmp_path, broker.port)
    yield program
    assert program.stop() == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; skipped where it is not installed, except in CI. Playwright keeps an
    event loop running in this thread, so it ends with the module."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    sync_api = None
    with contextlib.suppress(ImportError):
        from playwright import sync_api
    if not found or sync_api is None:
        if os.environ.get("CI"):
            pytest.fail("CI installs chromium and playwright, but they are not here")
        pytest.skip("needs chromium and playwright (pip install 'photonlink[browser]')")
    with sync_api.sync_playwright() as p:
        launched = p.chromium.launch(executable_path=found, args=CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any, watch: WatchProgram) -> Iterator[Any]:
    """A new page, closed before watch; an error on the console fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="UTC")
    fresh = context.new_page()
    wrong: list[str] = []
    fresh.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    fresh.on("pageerror", lambda e: wrong.append(str(e)))
    fresh.expected_errors = []
    yield fresh
    context.close()
    unexpected = [w for w in wrong if not any(e in w for e in fresh.expected_errors)]
    assert not unexpected, unexpected


@pytest.fixture
def link(publish: Publisher) -> Callable[..., None]:
    """Publish all messages of one link, with the present time."""

    def say(site: str = "lab", name: str = "l0", **changes: Any) -> None:
        publish(*f.whole_link(site, name, time.time(), **changes))

    return say
