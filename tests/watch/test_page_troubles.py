"""Troubles around ``watch`` are named on the page and in its log; it goes on showing links."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest
from brokers import find_mosquitto
from status.certificates import Authority
from watch import figures as f
from watch.conftest import WatchProgram

pytest.importorskip("playwright", reason="needs playwright (pip install 'photonlink[browser]')")
from playwright.sync_api import expect

LONG_MS = 60_000


def until_logged(program: WatchProgram, words: str) -> None:
    end = time.monotonic() + LONG_MS / 1000
    while words not in program.log:
        assert time.monotonic() < end, f"{words!r} never came: {program.log}"
        time.sleep(0.05)


@contextlib.contextmanager
def watching(browser: Any, folder: Path, broker: int | str, *options: str,
             within: tuple[str, ...] = ()) -> Iterator[tuple[WatchProgram, Any]]:  # fmt: skip
    """Start the program, and open its page in a browser."""
    program = WatchProgram(folder, broker, *options, within=within)
    context = browser.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(LONG_MS)
        page.goto(program.url)
        yield program, page
    finally:
        context.close()
        code = program.stop()
    assert code == 0, program.log


def named(program: WatchProgram, page: Any, words: str) -> None:
    """Wait for these words on the page and in the log."""
    expect(page.locator("#banner")).to_contain_text(words, timeout=LONG_MS)
    until_logged(program, words)


def test_a_broker_that_refuses(browser: Any, tmp_path: Path) -> None:
    broker = find_mosquitto(tmp_path, anonymous=False)
    broker.start()
    try:
        with watching(browser, tmp_path, broker.port) as (program, page):
            named(program, page, "the broker refuses user None")
    finally:
        broker.kill()


class _Old(BaseRequestHandler):
    """Answers CONNECT like an MQTT 3.1.1 broker that gets a request for version 5."""

    def handle(self) -> None:
        self.request.recv(1024)
        self.request.sendall(b"\x20\x02\x00\x01")


def test_a_broker_of_mqtt_3_1_1(browser: Any, tmp_path: Path) -> None:
    with ThreadingTCPServer(("127.0.0.1", 0), _Old) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            with watching(browser, tmp_path, server.server_address[1]) as (program, page):
                named(program, page, "the broker speaks MQTT 3.1.1 only; MQTT 5 is needed")
        finally:
            server.shutdown()
            thread.join()


def test_a_certificate_that_has_expired(browser: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.broker("expired", days=(-20, -10))
    broker = find_mosquitto(tmp_path)
    broker.configure(
        f"listener {broker.port} 127.0.0.1\nuser root\npersistence false\nallow_anonymous true\n"
        f"cafile {authority.file}\ncertfile {pair.certificate}\nkeyfile {pair.key}"
    )
    broker.start()
    url = f"mqtts://127.0.0.1:{broker.port}"
    try:
        with watching(browser, tmp_path, url, "--ca", str(authority.file)) as (program, page):
            named(program, page, "the broker's certificate has expired")
    finally:
        broker.kill()


def test_a_schema_of_a_newer_version(page: Any, watch: Any, link: Any, publish: Any) -> None:
    link()
    page.goto(watch.url)
    expect(page.locator("a.tile")).to_be_visible()
    newer = f.state("lab", "l0", "bob", time.time()) | {"v": 3}
    publish((f.topic("lab", "l0", "bob", "link", "l0", "state"), f.dump(newer), False))
    expect(page.locator("a.tile")).to_contain_text("1 messages refused")
    page.locator("a.tile").click()
    end = page.locator("section[aria-label='lab/l0-bob']")
    expect(end).to_contain_text("schema version '3', not 2")
    expect(end).to_contain_text("coincidences")  # its earlier figures stay
    until_logged(watch, "lab/l0-bob: message refused: schema version '3', not 2")


def test_a_node_whose_clock_is_a_day_wrong(page: Any, watch: Any, link: Any, publish: Any) -> None:
    link()
    page.goto(watch.url)
    expect(page.locator("a.tile")).to_be_visible()
    ahead = f.state("lab", "l0", "alice", time.time() + 86_400)
    publish((f.topic("lab", "l0", "alice", "link", "l0", "state"), f.dump(ahead), True))
    expect(page.locator("a.tile")).to_contain_text("clock of a node is off by 24 h")
    page.keyboard.press("a")
    expect(page.locator("tbody tr").first).to_contain_text("host_clock_off", timeout=LONG_MS)
    page.keyboard.press("o")
    expect(page.locator("tbody")).to_contain_text("host_clock_off", timeout=LONG_MS)
    until_logged(watch, "lab/l0-alice: host_clock_off")


def test_a_history_that_is_damaged(browser: Any, broker: Any, link: Any, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    history.write_bytes(b"somebody's bytes, no database" * 500)
    before = history.read_bytes()
    with watching(browser, tmp_path, broker.port) as (program, page):
        named(program, page, "file is not a database")
        expect(page.locator("#banner")).to_contain_text("History is kept in memory only")
        link()
        expect(page.locator("a.tile")).to_contain_text("making key")
        page.locator("a.tile").click()
        expect(page.locator(".uplot").first).to_be_visible()
    assert history.read_bytes() == before


def test_a_disk_that_is_full(browser: Any, broker: Any, link: Any, tmp_path: Path) -> None:
    """The history lies on a small file system in a mount namespace, which the test fills."""
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    inside = ("unshare", *own, "--mount", "sh", "-c",
              f"mount -t tmpfs -o size=1m none '{tmp_path}' && exec \"$@\"", "sh")  # fmt: skip
    if (
        not shutil.which("unshare")
        or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine gives no mount namespace")
    with watching(browser, tmp_path, broker.port, within=inside) as (program, page):
        link()
        expect(page.locator("a.tile")).to_contain_text("making key")
        filler = Path(f"/proc/{program.process.pid}/root{tmp_path}/filler")
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        deadline = time.monotonic() + LONG_MS / 1000
        while page.locator("#banner").is_hidden() and time.monotonic() < deadline:
            link()  # gives the history something to write
            page.wait_for_timeout(200)
        named(program, page, "database or disk is full")
        expect(page.locator("a.tile")).to_contain_text("making key")
        filler.unlink()
        expect(page.locator("#banner")).to_be_hidden(timeout=LONG_MS)
        until_logged(program, "history is written again")


def test_only_who_has_a_certificate_may_look(broker: Any, tmp_path: Path) -> None:
    ours, strangers = Authority(tmp_path), Authority(tmp_path, "stranger")
    page = ours.broker("page")
    program = WatchProgram(
        tmp_path, broker.port, "--certificate", str(page.certificate), "--key", str(page.key),
        "--client-ca", str(ours.file),
    )  # fmt: skip
    try:
        url = program.url.replace("localhost", "127.0.0.1")
        assert url.startswith("https://")

        def ask(who: Any, path: str, data: bytes | None = None) -> tuple[int, str]:
            context = ssl.create_default_context(cafile=str(ours.file))
            if who is not None:
                context.load_cert_chain(str(who.certificate), str(who.key))
            headers = {"X-Photonlink": "1", "Content-Type": "application/json"}
            request = urllib.request.Request(url + path, data, headers)  # noqa: S310 - https
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
                return answer.status, answer.read().decode()

        for who in (None, strangers.client("eve")):
            with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError)):
                ask(who, "/api/links")
        ann = ours.client("ann")
        assert ask(ann, "/api/links")[0] == 200
        note = b'{"alarm": "lab/l0-alice/no_key", "what": "ack"}'
        assert ask(ann, "/api/note", note)[0] == 200
    finally:
        assert program.stop() == 0
    import sqlite3

    with contextlib.closing(sqlite3.connect(tmp_path / "history.sqlite")) as db:
        assert db.execute("SELECT who FROM notes").fetchall() == [("ann",)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "0.0.0.0:0"], "only with a login"),
        (["--listen", "127.0.0.1:0", "--client-ca", "{ca}"], "the page has no certificate"),
        (["--listen", "0.0.0.0:0", "--client-ca", "{ca}"], "the page has no certificate"),
    ],
)
def test_it_refuses_to_be_open_to_everybody(tmp_path: Path, options: list[str], said: str) -> None:
    import sys

    ca = Authority(tmp_path).file
    done = subprocess.run(
        [sys.executable, "-m", "photonlink.pipeline.cli", "watch", "--history", ":memory:",
         *(o.format(ca=ca) for o in options)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert said in done.stderr
