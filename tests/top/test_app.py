"""The full screen driven by keys, with textual's own pilot and in a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from textual.widgets import Static
from top.conftest import Heard, alarm

from photonlink.pipeline.top.app import TopApp

SMALL = (80, 24)
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
DEADLINE_S = 30.0
TOP = ("-m", "photonlink.pipeline.cli", "top")


def screen(app: TopApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(part.text for part in strip).rstrip() for strip in strips)


async def test_one_link_fits_80_by_24(heard: Heard) -> None:
    model = heard("l0", block_fill=0.4)
    alarm(model, "l0", "alice", "no_key", text="3 blocks without key")
    async with TopApp(model).run_test(size=SMALL) as pilot:
        await pilot.pause()
        seen = screen(pilot.app)  # type: ignore[arg-type]
    for text in (
        "EMULATED",
        "no key: 3 blocks",
        "QBER",
        "2.40 %",
        "clicks A",
        "2 × IRSPD1",
        "q stop",
    ):
        assert text in seen, text


async def test_keys_choose_links_and_panes(heard: Heard) -> None:
    model = heard(*(f"l{i}" for i in range(12)))
    alarm(model, "l7", "alice", "clock_lost", action="look at the fibre")
    app = TopApp(model)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        assert app.choice.link == "l7", "what is wrong comes first"
        await pilot.press("j", "down", "k")
        assert app.choice.link == "l0"
        await pilot.press("2")
        assert "IRSPD1" in screen(app)
        await pilot.press("right_square_bracket")
        assert app.choice.pane == "alarms"
        assert "→ look at the fibre" in screen(app)
        await pilot.press("4")
        assert "▲ l7-alice: clock_lost" in screen(app)
        await pilot.press("left_square_bracket", "escape")
        assert app.choice.pane == "link"
        await pilot.press("s")
        assert "order: name" in screen(app)


async def test_the_filter_is_typed_and_taken_back(heard: Heard) -> None:
    app = TopApp(heard("north", "south"))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("slash", *"sou", "enter")
        assert app.choice.link == "south"
        assert "north" not in str(app.query_one("#links", Static).render())
        await pilot.press("q")
    assert app.choice.filter == "sou"


async def test_instruments_unfold_and_help_opens(heard: Heard) -> None:
    app = TopApp(heard("l0"))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("2")
        assert "2 × IRSPD1, emulated  spd-h, spd-v" in screen(app)
        await pilot.press("e")
        assert "● IRSPD1, emulated  spd-v" in screen(app)
        await pilot.press("question_mark")
        assert "unfold equal instruments" in screen(app)
        await pilot.press("escape")
        assert "unfold equal instruments" not in screen(app)


async def test_a_link_is_chosen_by_mouse(heard: Heard) -> None:
    app = TopApp(heard("l0", "l1", "l2"))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.click("#links", offset=(3, 2))
        assert app.choice.link == "l2"


@pytest.mark.parametrize("key", ["q", "ctrl+c", "f10"])
async def test_stopping_is_asked_once_and_shown(heard: Heard, key: str) -> None:
    asked: list[int] = []
    app = TopApp(heard("l0"), lambda: asked.append(1))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(key, key)
        assert asked == [1]
        assert "stopping: light off, read back" in screen(app)
        assert app.is_running, "the work ends it"


@pytest.mark.parametrize("size", [(40, 12), (20, 5), (200, 60)])
async def test_any_size_is_drawn(heard: Heard, size: tuple[int, int]) -> None:
    app = TopApp(heard("l0", "l1"))
    async with app.run_test(size=size) as pilot:
        for pane in "1234":
            await pilot.press(pane)
        assert "l0" in screen(app) or size[1] < 6


async def test_picture_for_the_documentation(heard: Heard) -> None:
    """Run with PHOTONLINK_PICTURES=1 to write docs/pictures."""
    app = TopApp(heard("north", "south", "sea", block_fill=0.4))
    alarm(app.model, "sea", "alice", "qber_above_threshold", text="QBER 9.1 %, threshold 8.0 %")
    async with app.run_test(size=(100, 28)) as pilot:
        await pilot.pause()
        drawn = app.export_screenshot(title="photonlink top")
    assert "QBER" in drawn
    if os.environ.get("PHOTONLINK_PICTURES"):
        drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # no web font
        (PICTURES / "top.svg").write_text(drawn, encoding="utf-8")


WORK = """
import asyncio, logging, sys
from photonlink.pipeline.top.model import Model
from photonlink.pipeline.top.run import on_screen

async def work(show, how):
    row = {"name": "pump", "driver": "toptica.dlc_pro", "provenance": "emulated"}
    show({"event": "opened", "node": "alice", "link": "demo", "instruments": [row]})
    state = {"event": "state", "node": "alice", "phase": "sifting", "emulated": True}
    show(state | {"qber_hv": 0.0123})
    logging.getLogger("x").warning("a line of the log")
    if how == "fails":
        await asyncio.sleep(1)
        raise ValueError("the work failed")
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(2, ended.set)
    await ended.wait()
    show({"event": "light", "node": "alice", "steps": [{"instrument": "pump", "readback": "off"}]})
    return "worked"

model = Model("bench")
print("RESULT", asyncio.run(on_screen(model, work(model.event, sys.argv[1]))), flush=True)
"""


class Terminal:
    """A program in a terminal of 80 × 24 characters."""

    def __init__(self, *command: str) -> None:
        self.master, slave = pty.openpty()
        import fcntl
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            [sys.executable, *command], stdin=slave, stdout=slave, stderr=slave, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = b""

    def until(self, text: bytes) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen[-2000:]
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65_536)
                except OSError:  # the program has ended
                    assert text in self.seen, self.seen[-2000:]

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        self.process.kill()
        code = self.process.wait(20)
        os.close(self.master)
        return code


def test_q_ends_the_work_as_a_signal_would_and_the_last_view_stays() -> None:
    terminal = Terminal("-c", WORK, "runs")
    try:
        terminal.until(b"DLC PRO, emulated")
        terminal.until(b"1.23 %")
        terminal.press(b"4")
        terminal.until(b"a line of the log")
        terminal.press(b"q")
        terminal.until(b"RESULT worked")
        last = terminal.seen[terminal.seen.rindex(b"1049l") :]  # the normal screen is back
        assert b"1.23 %" in last
    finally:
        terminal.end()


def test_work_that_fails_is_told_after_the_screen_is_gone() -> None:
    terminal = Terminal("-c", WORK, "fails")
    try:
        terminal.until(b"ValueError: the work failed")
        assert b"1049l" in terminal.seen
    finally:
        terminal.end()


def test_a_signal_from_outside_ends_it_too() -> None:
    terminal = Terminal("-c", WORK, "runs")
    try:
        terminal.until(b"1.23 %")
        os.kill(terminal.process.pid, signal.SIGINT)
        terminal.until(b"RESULT worked")
    finally:
        terminal.end()


def test_top_without_a_terminal_is_lines_and_ends_with_a_signal(tmp_path: Path) -> None:
    command = [*TOP, "--broker", "mqtt://127.0.0.1:9"]
    said = tmp_path / "said"
    with said.open("w") as out:
        process = subprocess.Popen([sys.executable, *command], stdout=out, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while "broker: nothing listens at the broker's address" not in said.read_text():
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_top_on_a_terminal_opens_and_closes() -> None:
    terminal = Terminal(*TOP, "--broker", "mqtt://127.0.0.1:9")
    try:
        terminal.until(b"nothing listens")
        terminal.press(b"q")
        assert terminal.process.wait(20) == 0
    finally:
        terminal.end()
