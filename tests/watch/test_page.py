"""The page of ``photonlink watch`` in headless Chromium, served by the program itself."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from watch import figures as f

from photonlink.pipeline.status.broker import EmbeddedBroker

pytest.importorskip("playwright", reason="needs playwright (pip install 'photonlink[browser]')")
from playwright.sync_api import expect


def raise_alarm(publish: Any, code: str = "qber_above_threshold") -> str:
    topic = f.topic("lab", "l0", "alice", "alarm", code)
    publish((topic, f.dump(f.alarm("lab", "l0", "alice", time.time(), code)), True))
    return topic


def test_a_link_appears_and_says_that_it_makes_key(page: Any, watch: Any, link: Any) -> None:
    page.goto(watch.url)
    expect(page.locator("#live")).to_contain_text("live")
    link()
    tile = page.locator("a.tile")
    expect(tile).to_contain_text("making key")
    expect(tile).to_contain_text("EMULATED")
    expect(tile).to_contain_text("kbit/s")


def test_an_alarm_is_raised_and_cleared(page: Any, watch: Any, link: Any, publish: Any) -> None:
    link()
    page.goto(watch.url)
    topic = raise_alarm(publish)
    expect(page.locator("a.tile")).to_contain_text("no key: QBER 9.1 %")
    expect(page.locator("#alarm-count")).to_have_text("1")
    page.keyboard.press("a")
    row = page.locator("tbody tr")
    expect(row).to_contain_text("align the polarization")
    row.get_by_role("button", name="Acknowledge").click()
    expect(row).to_contain_text("acknowledged by operator")
    row.get_by_role("button", name="Take back").click()
    row.get_by_role("button", name="Shelve 8 h").click()
    expect(row).to_contain_text("shelved until")
    publish((topic, b"", True))
    expect(page.locator("main")).to_contain_text("No alarm holds")
    page.keyboard.press("o")
    expect(page.locator("tbody")).to_contain_text("cleared")


def test_a_link_opened_shows_its_ends_charts_and_blocks(page: Any, watch: Any, link: Any) -> None:
    link()
    page.goto(watch.url)
    page.locator("a.tile").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="l0 EMULATED")).to_be_visible()
    expect(page.locator("section[aria-label='lab/l0-alice']")).to_contain_text("irspd1")
    expect(page.locator("table").last).to_contain_text("61 kbit")
    expect(page.locator(".uplot").first).to_be_visible()
    page.keyboard.press("2")
    expect(page.locator("main")).to_contain_text("live")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Secret key rate as CSV").click()
    assert "net key [bit/s]" in Path(saved.value.path()).read_text()
    for kind in ("PNG", "SVG"):
        with page.expect_download() as saved:
            page.get_by_role("button", name=f"QBER as {kind}").click()
        assert Path(saved.value.path()).stat().st_size > 200
    page.keyboard.press("Escape")
    expect(page.locator("a.tile")).to_be_visible()


def test_the_time_axis_is_dragged(page: Any, watch: Any, link: Any) -> None:
    for _ in range(3):
        link()
        time.sleep(0.6)
    page.goto(f"{watch.url}/#/link/l0")
    over = page.locator(".u-over").first
    expect(over).to_be_visible()
    box = over.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 20, steps=5)
    page.mouse.up()
    shown = page.locator(".tools [role=status]")
    expect(shown).not_to_contain_text("live")
    page.get_by_role("button", name="← earlier").click()
    page.get_by_role("button", name="hour").click()
    expect(shown).to_contain_text("live")


def test_a_node_that_dies_is_offline(page: Any, watch: Any, link: Any, publish: Any) -> None:
    link()
    page.goto(watch.url)
    expect(page.locator("a.tile")).to_contain_text("making key")
    for role in f.ROLES:
        gone = f.head("lab", "l0", role, time.time()) | {"status": "offline"}
        publish((f.topic("lab", "l0", role, "status"), f.dump(gone), True))
    expect(page.locator("a.tile")).to_contain_text("offline since")


def test_a_broker_that_goes_is_named_and_comes_back(
    page: Any, watch: Any, link: Any, broker: Any
) -> None:
    link()
    page.goto(watch.url)
    expect(page.locator("a.tile")).to_be_visible()
    broker.stop()
    expect(page.locator("#banner")).to_contain_text("Broker:", timeout=20_000)
    with EmbeddedBroker(broker.port):
        expect(page.locator("#banner")).to_be_hidden(timeout=40_000)


def test_html_in_names_is_text(page: Any, watch: Any, publish: Any) -> None:
    evil = "<img src=x onerror=alert(1)>"
    now = time.time()
    publish(*f.whole_link("lab", "l0", now, last_abort=evil, phase=evil))
    topic = f.topic("lab", "l0", "alice", "alarm", "no_key")
    publish((topic, f.dump(f.alarm("lab", "l0", "alice", now, "no_key", text=evil)), True))
    page.goto(watch.url)
    expect(page.locator("a.tile")).to_contain_text(evil)
    page.locator("a.tile").click()
    expect(page.locator("main")).to_contain_text(evil)
    assert page.locator("img").count() == 0


def test_a_hostile_publisher_is_named(page: Any, watch: Any, link: Any, publish: Any) -> None:
    link()
    page.goto(watch.url)
    expect(page.locator("a.tile")).to_be_visible()
    topic = f.topic("lab", "l0", "bob", "link", "l0", "state")
    publish((topic, b"x" * 30_000, False), (topic, b"[" * 5000, False))
    expect(page.locator("a.tile")).to_contain_text("messages refused")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_and_both_colour_schemes(
    browser: Any, watch: Any, link: Any, scheme: str
) -> None:
    link()
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    narrow = context.new_page()
    for where in ("/", "/#/link/l0", "/#/alarms", "/#/network", "/#/log"):
        narrow.goto(watch.url + where)
        expect(narrow.locator("#live")).to_contain_text("live")
        narrow.wait_for_timeout(300)
        wide = narrow.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, f"{where} is {wide} pixels wide"
    context.close()


AXE = Path(__file__).parents[2] / "build" / "web_peers" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_view(
    browser: Any, watch: Any, link: Any, publish: Any, scheme: str
) -> None:
    if not AXE.is_file():
        if os.environ.get("CI"):
            pytest.fail("CI installs axe-core, but it is not here")
        pytest.skip("needs axe-core (npm install in build/web_peers)")
    link()
    raise_alarm(publish)
    context = browser.new_context(color_scheme=scheme)
    looked = context.new_page()
    found = []
    for where in ("/", "/#/link/l0", "/#/alarms", "/#/network", "/#/log", "/login.html"):
        looked.goto(watch.url + where)
        looked.wait_for_timeout(500)
        looked.evaluate(AXE.read_text())  # not a script of the page, so its policy does not apply
        result = looked.evaluate("axe.run()")
        found += [
            f"{where}: {v['id']} ({v['impact']}): {v['nodes'][0]['html']}"
            for v in result["violations"]
            if v["impact"] in ("serious", "critical")
        ]
        looked.goto("about:blank")
    context.close()
    assert not found, "\n".join(found)


def test_keys(page: Any, watch: Any, publish: Any) -> None:
    now = time.time()
    publish(*f.whole_link("lab", "l0", now), *f.whole_link("lab", "l1", now))
    page.goto(watch.url)
    expect(page.locator("a.tile")).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert "l1" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("/")
    page.keyboard.type("l0")
    expect(page.locator("a.tile")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator("svg.net")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_be_visible()


def test_no_request_leaves_the_machine_and_the_policy_holds(
    page: Any, watch: Any, link: Any
) -> None:
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    link()
    answer = page.goto(watch.url)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page.goto(f"{watch.url}/#/link/l0")
    expect(page.locator(".uplot").first).to_be_visible()
    assert all(u.startswith((watch.url, "data:", "blob:")) for u in seen), seen
