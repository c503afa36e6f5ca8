"""Every view of the page: wide and narrow, light and dark; the pictures of docs/.

``PHOTONLINK_PICTURES=docs/pictures pytest tests/watch/test_pictures.py`` writes them again.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from watch import figures as f
from watch.conftest import WatchProgram

from photonlink.pipeline.watch.history import History

pytest.importorskip("playwright", reason="needs playwright (pip install 'photonlink[browser]')")
from playwright.sync_api import expect

PLACES = {
    "vienna": (48.21, 16.37), "graz": (47.07, 15.44), "linz": (48.31, 14.29),
    "salzburg": (47.80, 13.05), "klagenfurt": (46.62, 14.31), "st-poelten": (48.20, 15.62),
}  # fmt: skip
LINKS = {
    "vienna-graz": ("vienna", "graz"), "vienna-linz": ("vienna", "linz"),
    "linz-salzburg": ("linz", "salzburg"), "graz-klagenfurt": ("graz", "klagenfurt"),
    "vienna-poelten": ("vienna", "st-poelten"), "poelten-linz": ("st-poelten", "linz"),
}  # fmt: skip
BROKEN, REAL = "graz-klagenfurt", "linz-salzburg"
VIEWS = {
    "watch": "/", "watch_link": "/#/link/vienna-graz", "watch_alarms": "/#/alarms",
    "watch_network": "/#/network", "watch_log": "/#/log",
}  # fmt: skip

ON_A_TELEPHONE = ("watch", "watch_alarms")  # docs/ also show these narrow and dark


def one_link(name: str, now: float, *, blocks: bool) -> list[tuple[str, bytes, bool]]:
    """Messages of both ends, each at its own site."""
    found = []
    for role, site in zip(f.ROLES, LINKS[name], strict=True):
        place = dict(zip(("latitude", "longitude"), PLACES[site], strict=True))
        real = name == REAL
        changes = {"emulated": not real, "qber_hv": 0.017 + 0.003 * len(name) % 0.01}
        if name == BROKEN:
            changes |= {"skr_bps": 0.0, "qber_hv": 0.091, "last_abort": "qber_above_threshold"}
        found += [(t, p.replace(b'"emulated": true', b'"emulated": false') if real else p, r)
                  for t, p, r in f.birth(site, name, role, now, **place)]  # fmt: skip
        link = ("link", name)
        found += [
            (f.topic(site, name, role, *link, "state"),
             f.dump(f.state(site, name, role, now, **changes)), True),
            (f.topic(site, name, role, *link, "histogram"),
             f.dump(f.histogram(site, name, role, now)), True),
            (f.topic(site, name, role, "readiness"), f.dump(f.readiness(site, name, role, now)),
             True),
        ]  # fmt: skip
        if blocks and name != BROKEN:
            found += [
                (f.topic(site, name, role, *link, "block"),
                 f.dump(f.block(site, name, role, now - 30 * (5 - n), n)), False)
                for n in range(1, 6)
            ]  # fmt: skip
        found += [
            (f.topic(site, name, role, "instrument", i),
             f.dump(f.instrument(site, name, role, now, i)), True)
            for i in ("tagger", "spd-h", "spd-v", "spd-d", "spd-a")
        ]  # fmt: skip
    if name == BROKEN:
        site = LINKS[name][0]
        topic = f.topic(site, name, "alice", "alarm", "qber_above_threshold")
        found.append(
            (topic, f.dump(f.alarm(site, name, "alice", now - 900, "qber_above_threshold")), True)
        )
    return found


@pytest.fixture
def seen_for_an_hour(broker: Any, publish: Any, tmp_path: Path) -> Iterator[WatchProgram]:
    """A watch with an hour of history, and links that publish."""
    now = time.time()
    history = History(tmp_path / "history.sqlite")
    for name, sites in LINKS.items():
        for second in range(-3600, 0, 5):
            t = now + second
            wave = 1 + 0.06 * math.sin(t / 200 + len(name)) + 0.02 * math.sin(t / 17)
            body = f.state(sites[0], name, "alice", t)
            body |= {"skr_bps": 2_300 * wave, "sifted_bps": 5_100 * wave,
                     "qber_hv": 0.021 / wave, "qber_da": 0.024 / wave,
                     "clock_frequency_ppm": 3.1 + 0.002 * math.sin(t / 700)}  # fmt: skip
            history.state(sites[0], f"{name}-alice", name, t, body)
    history.close(now)
    program = WatchProgram(tmp_path, broker.port)
    try:
        publish(*(m for name in LINKS for m in one_link(name, time.time(), blocks=True)))
        yield program
    finally:
        assert program.stop() == 0


def settled(page: Any, view: str) -> None:
    """Wait until the view's content is shown."""
    expect(page.locator("#live")).to_contain_text("live")
    if view == "watch":
        expect(page.locator("a.tile")).to_have_count(len(LINKS))
        expect(page.locator("a.tile").first).to_contain_text("no key")
    elif view == "watch_link":
        expect(page.locator(".uplot")).to_have_count(8)
        expect(page.get_by_role("img", name="coincidence histogram")).to_have_count(2)
    elif view == "watch_network":
        expect(page.locator("svg.net text")).to_have_count(len(PLACES))
    else:
        expect(page.locator("tbody tr").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_wide_and_narrow(
    browser: Any, seen_for_an_hour: WatchProgram, publish: Any, scheme: str
) -> None:
    wanted = os.environ.get("PHOTONLINK_PICTURES")
    for width in (1280, 360):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, timezone_id="UTC"
        )
        page = context.new_page()
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        for view, path in VIEWS.items():
            publish(*(m for n in LINKS for m in one_link(n, time.time(), blocks=False)))
            page.goto("about:blank")
            page.goto(seen_for_an_hour.url + path)
            settled(page, view)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view
            clip = {"x": 0, "y": 0, "width": width, "height": 470 if view == "watch" else 900}
            whole = view == "watch_link"
            data = page.screenshot(full_page=whole, clip=None if whole else clip)
            assert len(data) > 10_000
            if wanted and (
                (width, scheme) == (1280, "light")
                or ((width, scheme) == (360, "dark") and view in ON_A_TELEPHONE)
            ):
                Path(wanted).mkdir(exist_ok=True)
                narrow = "_narrow" if width == 360 else ""
                name = f"{view}{narrow}{'_dark' if scheme == 'dark' else ''}.png"
                (Path(wanted) / name).write_bytes(data)
        context.close()


BOXES = """() => [...document.querySelectorAll("svg.net .site:not(.folded) text")].map(text => {
  const [box, size] = [text.getBoundingClientRect(), getComputedStyle(text).fontSize];
  return [text.textContent, box.left, box.top, box.right, box.bottom, size];
})"""


@pytest.mark.parametrize("width", [1280, 360])
def test_the_names_of_150_sites_can_be_read(
    browser: Any, watch: WatchProgram, publish: Any, width: int
) -> None:
    """Names do not overlap; a wide screen shows nearly all of them and folds the rest."""
    now, sites = time.time(), [f"site-{i:03}" for i in range(150)]
    messages = []
    for i in range(1, 150):
        link = f"link-{i:03}"
        for role, site in zip(f.ROLES, (sites[(i - 1) // 2], sites[i]), strict=True):
            messages += f.birth(site, link, role, now)
            body = f.dump(f.state(site, link, role, now))
            messages.append((f.topic(site, link, role, "link", link, "state"), body, True))
    publish(*messages)
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{watch.url}/#/network")
    expect(page.locator("svg.net .site")).to_have_count(150, timeout=60_000)
    shown = page.evaluate(BOXES)
    folded = page.locator("svg.net .folded").count()
    assert len(shown) + folded == 150
    assert all(float(size.removesuffix("px")) >= 11 for *_, size in shown)
    over = [
        (a[0], b[0]) for i, a in enumerate(shown) for b in shown[i + 1 :]
        if a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4]
    ]  # fmt: skip
    assert not over, over
    assert len(shown) >= (130 if width == 1280 else 20)
    if folded:
        expect(page.locator("#net-legend")).to_contain_text(f"{folded} names folded")
    expect(page.locator("svg.net .relay")).to_have_count(75)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if os.environ.get("PHOTONLINK_PICTURES") and width == 1280:
        path = Path(os.environ["PHOTONLINK_PICTURES"]) / "watch_150_sites.png"
        path.write_bytes(page.screenshot())
    context.close()
