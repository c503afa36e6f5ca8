"""A node with ``[status]`` and no broker: its figures, its alarms and its key, on the page."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import PHOTONLINK, emulated_bench, node, running

from photonlink.pipeline.status.broker import free_port

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
expect = sync_api.expect
LONG_MS = 120_000


@pytest.fixture
def page() -> Iterator[Any]:
    """A page in headless Chromium; an error on its console fails the test."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        if os.environ.get("CI"):
            pytest.fail("CI installs chromium, but it is not here")
        pytest.skip("needs chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=found, args=arguments)
        opened = browser.new_page()
        wrong: list[str] = []
        opened.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        yield opened
        browser.close()
    assert not wrong, wrong


@pytest.mark.skipif(
    not os.environ.get("PHOTONLINK_LONG"), reason="half a minute of link: PHOTONLINK_LONG=1"
)
def test_a_node_s_own_page_is_watched_up_to_the_key(page: Any, tmp_path: Path) -> None:
    port = free_port()
    with emulated_bench(tmp_path) as (files, _), contextlib.ExitStack() as stack:
        for side, station in files.stations.items():
            text = station.read_text().partition("[mqtt]")
            text_after = text[2].partition("[sim]")
            status = f'[status]\nlisten = "127.0.0.1:{port}"\n\n' if side == "alice" else ""
            station.write_text(text[0] + status + "[sim]" + text_after[2])
        watch = stack.enter_context(
            running(
                *PHOTONLINK, "watch", "--node", f"http://127.0.0.1:{port}", "--listen",
                "127.0.0.1:0", "--history", ":memory:",
            )
        )  # fmt: skip
        nodes = [
            stack.enter_context(running(*node(station, "--duration", "600")))
            for station in files.stations.values()
        ]
        nodes[0].wait_for(event="block", abort=None)
        url = watch.output.decode().strip().rpartition(" ")[2]
        page.goto(url)
        tile = page.locator("a.tile")
        expect(tile).to_contain_text("making key", timeout=LONG_MS)
        expect(tile).to_contain_text("EMULATED")
        tile.click()
        rows = page.locator("table.wide").last.locator("tbody tr")
        expect(rows.first).to_contain_text("bit", timeout=LONG_MS)
        histogram = page.get_by_role("img", name="coincidence histogram")
        expect(histogram).to_be_visible(timeout=LONG_MS)
        expect(page.locator("figcaption")).to_contain_text("of disclosed pairs", timeout=LONG_MS)
        expect(page.locator("main")).to_contain_text("toptica.dlc_pro")
        page.goto("about:blank")  # leave the page before its node ends
        for each in reversed(nodes):
            each.interrupt()
        assert nodes[0].finish() in (0, 130), nodes[0].tail()


def test_one_command_opens_the_page_of_the_demo(page: Any) -> None:
    with running(*PHOTONLINK, "demo", "--web", "--block-bits", "40000", "--duration", "600",
                 "--seed", "5", "--plain") as demo:  # fmt: skip
        end = time.monotonic() + LONG_MS / 1000
        while not (found := re.search(rb"page: (http://\S+)", demo.output + demo.errors)):
            assert time.monotonic() < end, demo.tail()
            assert demo.process.poll() is None, demo.tail()
            time.sleep(0.1)
        page.goto(found[1].decode())
        tile = page.locator("a.tile")
        expect(tile).to_contain_text("making key", timeout=LONG_MS)
        expect(tile).to_contain_text("EMULATED")
        tile.click()
        expect(page.get_by_role("img", name="coincidence histogram").first).to_be_visible(
            timeout=LONG_MS
        )
        if folder := os.environ.get("PHOTONLINK_PICTURES"):
            page.screenshot(path=Path(folder) / "demo_link.png", full_page=True)
        page.goto("about:blank")
        demo.interrupt()
        assert demo.finish() == 130, demo.tail()
