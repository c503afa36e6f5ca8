"""Access: password file, sessions, paths that need a login; the login form in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from watch.conftest import WatchProgram

from photonlink.pipeline.watch import access
from photonlink.pipeline.watch.access import Access, AccessError, hash_password, split_listen
from photonlink.pipeline.watch.history import History
from photonlink.pipeline.watch.server import HEADER, serving
from photonlink.pipeline.watch.service import Watch


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    path.write_text(f"ann:{hash_password('correct horse')}\n")
    path.chmod(0o600)
    return path


def test_a_right_password_opens_a_session_and_wrong_ones_are_slowed(
    passwords: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(access.time, "monotonic", lambda: now[0])
    who = Access.read(passwords)
    token = who.login("ann", "correct horse")
    assert token is not None
    assert who.who(token) == "ann"
    assert who.who("") is None
    assert who.who(token[:-1]) is None
    for name in ("ann", "bert"):
        for _ in range(5):
            assert who.login(name, "wrong") is None
    assert who.login("ann", "correct horse") is None  # after ten failures in a minute
    now[0] += 61.0
    assert who.login("ann", "correct horse") is not None
    now[0] += access.SESSION_S
    assert who.who(token) is None


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("ann:plain\n", 0o600, "line 1: not NAME"),
        ("# nobody\n", 0o600, "names nobody"),
        ("ann:$argon2id$x\n", 0o644, "can be read by others"),
    ],
)
def test_a_password_file_that_will_not_do(tmp_path: Path, text: str, mode: int, said: str) -> None:
    path = tmp_path / "passwords"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(AccessError, match=said):
        Access.read(path)


@pytest.mark.parametrize("listen", ["8080", "host:", ":8080", "host:70000", "host:http"])
def test_where_to_listen_is_host_and_port(listen: str) -> None:
    with pytest.raises(AccessError, match="no HOST:PORT"):
        split_listen(listen)


async def test_without_a_session_nothing_is_told(passwords: Path) -> None:
    watch = Watch(History(":memory:"))
    try:
        async with serving(watch, Access.read(passwords), "127.0.0.1", 0) as port:
            base = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession() as session:
                for path in ("/events", "/api/links", "/api/log", "/api/alarms", "/metrics",
                             "/app.js"):  # fmt: skip
                    async with session.get(base + path) as answer:
                        assert answer.status == 401, path
                note = {"alarm": "lab/l0-alice/no_key", "what": "ack"}
                async with session.post(
                    f"{base}/api/note", json=note, headers={HEADER: "1"}
                ) as answer:
                    assert answer.status == 401
                async with session.post(
                    f"{base}/login", data={"name": "ann", "password": "correct horse"},
                    allow_redirects=False,
                ) as answer:  # fmt: skip
                    cookie = answer.headers["Set-Cookie"]
                assert "HttpOnly" in cookie
                assert "SameSite=Strict" in cookie
                told = {"Cookie": cookie.partition(";")[0]}
                async with session.get(f"{base}/api/links", headers=told) as answer:
                    assert answer.status == 200
                # a page of another site cannot send the header
                async with session.post(f"{base}/api/note", json=note, headers=told) as answer:
                    assert answer.status == 403
                async with session.post(
                    f"{base}/api/note", json=note, headers=told | {HEADER: "1"}
                ) as answer:
                    assert answer.status == 200
        assert watch.history.notes()["lab/l0-alice/no_key"]["who"] == "ann"
    finally:
        watch.history.close()


def test_the_login_form(browser: Any, broker: Any, passwords: Path, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    program = WatchProgram(tmp_path, broker.port, "--passwords", str(passwords))
    context = browser.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(program.url)
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#failed")).to_be_visible(timeout=60_000)
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill("correct horse")
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#live")).to_contain_text("live", timeout=60_000)
    finally:
        context.close()
        assert program.stop() == 0
