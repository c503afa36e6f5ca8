"""Mistakes of a user at the bench: the error says what, where, what to do; light stays off."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from photonlink.firmware_sim.control import ask
from photonlink.hal.errors import (
    IdentityError,
    LinkBusy,
    LinkNotFound,
    LinkPermission,
    StationError,
)
from photonlink.hal.station import parse_station
from photonlink.pipeline.bench import hints
from photonlink.pipeline.bench.new_station import emulated_station, schema
from photonlink.pipeline.bench.target import with_sim
from photonlink.pipeline.node.simulated_station import SimulatedStation


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("bench") / "bench.toml"
    path.write_text(emulated_station("bench"))
    with with_sim(str(path), start=True):
        yield path


def command(*words: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "photonlink.pipeline.cli", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False, **kwargs,  # type: ignore[call-overload]
    )  # fmt: skip


def is_dark(bench: Path) -> bool:
    control = str(bench.with_name("bench-run") / "control.sock")
    return not ask(control, {"status": True})["status"]["devices"]["pump"]["emission"]


TWICE = """schema = 2
name = "b"
[instruments.one]
driver = "toptica.dlc_pro"
{one}
[instruments.two]
driver = "toptica.dlc_pro"
{two}
"""


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ('address = "tcp://h:1998"', 'address = "tcp://h:1998?monitor=1999"'),
        ('address = "serial:///dev/ttyS0"', 'address = "serial:///dev/./ttyS0?baud=9600"'),
        (
            'backend = "emulator"\nemulator = "sim:pump"',
            'backend = "auto"\naddress = "tcp://h:1"\nemulator = "sim:pump"',
        ),
    ],
)
def test_one_device_under_two_names_is_refused(one: str, two: str) -> None:
    with pytest.raises(StationError, match="one and two are one device"):
        parse_station(TWICE.format(one=one, two=two), SimulatedStation)


def test_two_devices_of_one_library_are_two() -> None:
    one, two = (f'address = "lib:///opt/libmh150.so#index={n}"' for n in (0, 1))
    text = TWICE.format(one=one, two=two).replace("toptica.dlc_pro", "picoquant.multiharp150")
    assert len(parse_station(text, SimulatedStation).instruments) == 2


def test_a_device_in_the_wrong_port_is_named_with_both_models(bench: Path, tmp_path: Path) -> None:
    text = bench.read_text().replace("bench-run", str(bench.with_name("bench-run")))
    swapped = tmp_path / "swapped.toml"
    swapped.write_text(
        text.replace("sim:pump", "X").replace("sim:alice-spd-h", "sim:pump").replace(
            "X", "sim:alice-spd-h"
        )
    )  # fmt: skip
    done = command("light", swapped, "--reason", "x", "--duration", "1")
    assert done.returncode == 1
    assert "pump" in done.stderr
    assert "spd-h" in done.stderr
    assert "Traceback" not in done.stderr
    assert is_dark(bench)


def test_a_station_with_windows_line_ends_is_the_same_station(bench: Path, tmp_path: Path) -> None:
    windows = tmp_path / "bench.toml"
    text = bench.read_text().replace("bench-run", str(bench.with_name("bench-run")))
    windows.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert command("station", "check", windows).returncode == 0
    done = command("get", f"{windows}:pump", "current_set_ma")
    assert done.stdout.startswith("current_set_ma = ")


def test_a_bench_that_is_not_there_is_no_success(tmp_path: Path) -> None:
    path = tmp_path / "bench.toml"
    path.write_text(emulated_station("bench"))  # whose emulators do not run
    done = command("monitor", path, "--duration", "0.2")
    assert done.returncode == 1, done.stdout
    assert "nothing was read from" in done.stderr


def test_two_programs_for_one_device(bench: Path) -> None:
    words = [sys.executable, "-m", "photonlink.pipeline.cli", "light", str(bench)]
    first = subprocess.Popen(
        [*words, "--reason", "first", "--duration", "60"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert "light is ON" in first.stdout.readline()
        for other in (
            ("light", bench, "--reason", "second", "--duration", "1"),
            ("count", bench, "--duration", "1"),
            ("histogram", bench, 1, 2, "--duration", "1"),
            ("record", bench, bench.with_name("x.tags"), "--duration", "1"),
            ("set", f"{bench}:pump", "current_set_ma=1"),
        ):
            done = command(*other)
            assert done.returncode == 1, other
            assert f"process {first.pid}" in done.stderr, done.stderr
            assert "Traceback" not in done.stderr
        assert not bench.with_name("x.tags").exists()
    finally:
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60)
    assert is_dark(bench)


def test_without_a_terminal_a_display_or_a_home_it_works(bench: Path) -> None:
    bare = {"PATH": os.environ["PATH"]}
    if "PHOTONLINK_RUN_DIR" in os.environ:
        bare["PHOTONLINK_RUN_DIR"] = os.environ["PHOTONLINK_RUN_DIR"]
    done = command(
        "monitor", bench, "temperature_act_c", "--duration", "0.3", env=bare,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "pump.temperature_act_c" in done.stdout


def test_a_terminal_of_any_size_shows_it(bench: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x05\0\x14\0\0\0\0\0")  # 5 lines of 20 columns
    process = subprocess.Popen(
        [sys.executable, "-m", "photonlink.pipeline.cli", "monitor", str(bench), "--duration", "1"],
        stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=os.environ | {"TERM": "dumb"},
    )  # fmt: skip
    os.close(theirs)
    shown, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    _, errors = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0, errors
    assert b"pump" in shown


def test_every_hint_names_what_to_do(tmp_path: Path) -> None:
    address = "serial:///dev/ttyACM0"
    denied = hints.hint_for(LinkPermission("may not be opened"), "sfifteen.tdc1", address)
    assert "udev" in denied
    rule = hints.udev_rule("sfifteen.tdc1", [Path(__file__).parents[2] / hints._RULES])
    assert "S-Fifteen" in rule
    busy = tmp_path / "port"
    with busy.open("w") as held:
        child = subprocess.Popen(["sleep", "60"], stdin=held)
        try:
            said = hints.hint_for(LinkBusy("busy"), "sfifteen.tdc1", f"serial://{busy}")
            assert f"process {child.pid}" in said
        finally:
            child.kill()
            child.wait()
    lost = hints.hint_for(LinkNotFound("no"), "picoquant.multiharp150", "lib:///none/libmh150.so")
    assert "libmh150.so" in lost
    assert "/none" in lost
    wrong = hints.hint_for(IdentityError("another"), "toptica.dlc_pro", "tcp://h:1")
    assert "Toptica DLC pro" in wrong


def test_a_wrong_model_is_told_with_both_names() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        port = server.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "photonlink.pipeline.cli", "identify",
             f"keithley.model2400@tcp://127.0.0.1:{port}"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        peer, _ = server.accept()
        with peer:
            peer.settimeout(20)
            while b"*IDN?" not in peer.recv(4096):
                pass
            peer.sendall(b"ACME,ROCKET 9,1,1\n")
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ROCKET 9" in errors
    assert "2400" in errors


def test_the_schema_knows_every_table_of_a_station() -> None:
    bench, node = schema(), schema(node=True)
    assert {"instruments", "interlock", "task", "sim"} <= set(bench["properties"])
    assert "alignment" in node["properties"]
    assert "optional" in bench["$defs"]["InstrumentEntry"]["properties"]
    assert json.dumps(bench)
