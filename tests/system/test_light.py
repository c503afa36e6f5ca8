"""Light safety: the bench is dark soon after any end of a node; each fault is reported."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import PHOTONLINK, Running, emulated_bench, node, running

from photonlink.firmware_sim.control import ask

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Alice's emulated bench, running, without a peer."""
    folder = tmp_path_factory.mktemp("light")
    with emulated_bench(folder):
        yield folder


def _status(bench: Path, device: str) -> dict[str, Any]:
    reply = ask(str(bench / "run" / "control.sock"), {"status": True})
    status: dict[str, Any] = reply["status"]["devices"][device]
    return status


def _set(bench: Path, **state: bool) -> None:
    reply = ask(str(bench / "run" / "control.sock"), {"device": "pump", "set": state})
    assert reply["ok"], reply


def _fault(bench: Path, fault: str) -> None:
    reply = ask(str(bench / "run" / "control.sock"), {"device": "pump", "fault": fault})
    assert reply["ok"], reply


def _lit(bench: Path) -> bool:
    return bool(_status(bench, "pump")["emission"])


def _until(true: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> float:
    """Wait for a condition; seconds until it is true."""
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < deadline_s, what
        time.sleep(0.02)
    return time.monotonic() - begin


def _lit_node(bench: Path, *options: str) -> Running:
    program = Running(*node(bench / "alice.toml", *options))
    try:
        _until(lambda: program.process.poll() is not None or _lit(bench), "no light")
        assert program.process.poll() is None, program.tail()
    except BaseException:
        program.stop()
        raise
    return program


def _biased(bench: Path) -> bool:
    return float(_status(bench, "alice-spd-h")["bias_v"]) > 1.0


@pytest.mark.row("SIGKILL: emission stays on until somebody acts")
@pytest.mark.parametrize("number", [signal.SIGKILL], ids=lambda n: n.name)
def test_a_killed_node_leaves_no_light(bench: Path, number: signal.Signals) -> None:
    program = _lit_node(bench)
    try:
        _until(lambda: _biased(bench), "no bias")
        program.process.send_signal(number)
        after_s = _until(lambda: not _lit(bench), "the light stays on")
        _until(lambda: not _biased(bench), "the bias stays on")
        assert program.process.wait(10) != 0
    finally:
        program.stop()
    assert after_s < 5.0  # 0.1 s on an idle machine


def test_a_laser_that_came_later_is_guarded_too(bench: Path) -> None:
    late = bench / "late.toml"
    table = "[instruments.pump]\n"
    text = (bench / "alice.toml").read_text()
    assert table in text
    late.write_text(text.replace(table, table + "optional = true\n"))
    _fault(bench, "unplug")
    program = Running(*node(late, "--control"))
    try:
        program.wait_for(event="alarm", active=True, code="pump_lost")
        _until(lambda: _biased(bench), "no bias")  # the guard runs
        _fault(bench, "replug")
        program.wait_for(event="found", instrument="pump")
        assert not _lit(bench), "it comes dark"
        program.say("light on")
        _until(lambda: _lit(bench), "no light when asked")
        program.process.send_signal(signal.SIGKILL)
        _until(lambda: not _lit(bench), "the light stays on", 20.0)
    finally:
        _fault(bench, "replug")
        program.stop()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM],
                         ids=lambda n: n.name)  # fmt: skip
def test_a_node_that_is_asked_to_end_reads_the_light_back(
    bench: Path, number: signal.Signals
) -> None:
    program = _lit_node(bench)
    try:
        os.killpg(program.process.pid, number)  # to the whole group, as when a terminal closes
        program.finish()
        light = program.wait_for(event="light")
        assert program.wait_for(event="stopped")["reason"] == number.name
    finally:
        program.stop()
    assert not _lit(bench)
    assert all(step["ok"] for step in light["steps"])
    assert b"switching off" not in program.errors, "the guard had nothing to do"


@pytest.mark.row("SIGHUP ends a node at once and leaves the laser emitting")
def test_a_terminal_that_closes_leaves_no_light(bench: Path) -> None:
    master, slave = pty.openpty()
    command = (*PHOTONLINK, "node", str(bench / "alice.toml"))
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    reader = threading.Thread(target=_swallow, args=(os.dup(master),), daemon=True)
    reader.start()
    try:
        _until(lambda: process.poll() is not None or _lit(bench), "no light")
        os.kill(process.pid, signal.SIGHUP)  # as from the kernel when the window closes
        os.close(master)
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != -signal.SIGHUP, "it was asked, and ended by itself"
    assert not _lit(bench)


def _swallow(terminal: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass
    os.close(terminal)


def test_a_stopped_node_loses_its_light_and_says_so_when_it_wakes(bench: Path) -> None:
    program = _lit_node(bench)
    try:
        program.process.send_signal(signal.SIGSTOP)
        _until(lambda: not _lit(bench), "the light stays on")
        if program.process.poll() is None:
            program.process.send_signal(signal.SIGCONT)
            alarm = program.wait_for(event="alarm", code="light_lease_expired")
            assert "no sign of life" in alarm["text"]
    finally:
        program.stop()


def test_a_killed_guard_takes_the_light_with_it(bench: Path) -> None:
    program = _lit_node(bench)
    try:
        children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children")
        for child in children.read_text().split():
            if b"light_guard_program" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)
        program.wait_for(event="alarm", code="light_guard_lost")
        _until(lambda: not _lit(bench), "the light stays on")
    finally:
        program.stop()


def test_a_second_start_on_the_same_bench_does_not_touch_the_first_ones_light(bench: Path) -> None:
    program = _lit_node(bench)
    try:
        with running(*node(bench / "alice.toml")) as second:
            assert second.finish() == 1
            assert b"uses this directory" in second.errors
            assert b"Traceback" not in second.errors
        assert _lit(bench)
    finally:
        program.stop()


@pytest.mark.row("an interlock opened in mid run is never reported")
def test_an_interlock_that_opens_is_an_alarm_until_it_closes(bench: Path) -> None:
    program = _lit_node(bench, "--control")
    try:
        _set(bench, interlock_open=True)
        alarm = program.wait_for(event="alarm", active=True, code="pump_interlock_open")
        assert "Close it, then ask for light again" in alarm["text"]
        _set(bench, interlock_open=False)
        program.wait_for(event="alarm", active=False, code="pump_interlock_open")
        assert not _lit(bench), "closing it does not light"
        for _ in range(3):  # a host that is blocked for 5 s rightly loses the light again
            program.say("light on")
            with contextlib.suppress(AssertionError):
                _until(lambda: _lit(bench), "no light when asked", 20.0)
                break
        assert _lit(bench), "no light when asked"
        program.wait_for(event="alarm", active=False, code="pump_emission_ended")
        assert not [e for e in program.events if e.get("code") == "pump_lost"]
    finally:
        program.stop()
