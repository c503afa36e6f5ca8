"""The DLC pro emulator, byte by byte."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photonlink.firmware_sim.devices.toptica.decof import DecofError, encode, execute, parse

CC = "laser1:dl:cc:"


class Line:
    """A raw TCP client."""

    def __init__(self, emulator: Any, port: int | None = None) -> None:
        host, command = emulator.path.split(":")
        self.socket = socket.create_connection((host, port or int(command)), timeout=2.0)
        self.left = b""

    def until(self, end: bytes) -> bytes:
        while end not in self.left:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self.left)
            self.left += data
        head, _, self.left = self.left.partition(end)
        return head

    def ask(self, request: str) -> str:
        self.socket.sendall(request.encode() + b"\n")
        return self.until(b"\r\n> ").decode().replace("\r\n", "\n")

    def get(self, name: str) -> str:
        return self.ask(f"(param-ref '{name})")

    def set(self, name: str, value: str) -> int:
        return int(self.ask(f"(param-set! '{name} {value})"))


@pytest.fixture
def laser(emulate: Any) -> Any:
    return emulate("toptica-dlc-pro", settling_s=0.1)


@pytest.fixture
def connect(laser: Any) -> Iterator[Any]:
    """``connect([port])``: a client that has read the banner; all are closed after the test."""
    lines: list[Line] = []

    def new(port: int | None = None) -> Line:
        lines.append(Line(laser, port))
        if port is None:
            lines[-1].until(b"\n> ")
        return lines[-1]

    yield new
    for line in lines:
        line.socket.close()


@pytest.fixture
def line(connect: Any) -> Line:
    client: Line = connect()
    return client


def test_banner(laser: Any) -> None:
    client = Line(laser)
    assert client.until(b"DeCoF Command Line\r\n> ").endswith(b"\r\n")
    client.socket.close()


@pytest.mark.parametrize(
    ("request_text", "reply"),
    [
        ("(param-ref 'laser1:dl:cc:current-set)", "0.0"),
        ("(param-gsv 'laser1:dl:cc:current-set)", "0.0"),
        ("(param-disp 'laser1:dl:cc:current-set)", "laser1:dl:cc:current-set = 0.0\n0"),
        ("(param-ref 'laser1:dl:cc:enabled)", "#f"),
        ("(param-ref 'system-type)", '"DLCpro"'),
        ("`(,(param-ref 'ul),(param-ref 'emission))", "(3 #f)"),
        ("`(,(param-ref 'system-type) 1 (2.5 #t))", '("DLCpro" 1 (2.5 #t))'),
        ("(+ (param-set! 'laser1:label \"a\")(param-set! 'laser1:scan:enabled #t))", "0"),
        ("(+ 1 2 3)", "6"),
        ('(exec \'change-ul 2 "CAUTION")', "2"),
        ('(exec \'change-ul 2 "guess")', "3"),
        ('(param-set! \'laser1:label "say \\"hi\\" \\\\ ")', "0"),
        ("42", "42"),
        ('\'(1 2.0 "x")', '(1 2.0 "x")'),
    ],
)
def test_requests(line: Line, request_text: str, reply: str) -> None:
    assert line.ask(request_text) == reply


@pytest.mark.parametrize(
    "request_text",
    [
        "(param-ref 'nothing)",
        "(param-ref nothing)",
        "(param-ref)",
        "(param-ref 'uptime 1)",
        "(param-ref 'uptime",
        "param-ref 'uptime)",
        "(frobnicate 1)",
        "(exec 'frobnicate)",
        '(exec \'change-ul 9 "")',
        '(exec \'change-ul #t "")',
        "((((((((((((((((((((((((((((((((((((((((((((((((1))))))))",
        "(param-set! 'laser1:label \"open",
        ",(param-ref 'uptime)",
        "`(,(param-ref 'uptime),(param-ref 'nothing))",
        "&!!!",
        "(+ 1 #t)",
        "(+ 9223372036854775807 1)",
        "1e999",
        "9" * 5000,
        "&é",
        "\x00\x01\x02",
    ],
)
def test_refusals_are_error_lines_with_a_negative_number(line: Line, request_text: str) -> None:
    assert re.match(r"Error: -\d+ \S", line.ask(request_text))
    assert line.get("ul") == "3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nothing", "1"),
        ("uptime", "1"),
        (CC + "current-set", "201.0"),
        (CC + "current-set", "-1.0"),
        (CC + "current-set", '"100"'),
        (CC + "current-set", "#t"),
        (CC + "enabled", "1"),
        ("laser1:scan:signal-type", "1.0"),
        (CC + "current-clip", "100.0"),
        ("laser1:dl:tc:temp-set", "50.0"),
        ("laser1:label", "5"),
        ("ul", "0"),
        ("ul", "7"),
    ],
)
def test_refused_sets_answer_with_a_negative_status(line: Line, name: str, value: str) -> None:
    before = line.get(name) if name not in ("nothing", "uptime") else ""
    assert line.set(name, value) < 0
    assert not before or line.get(name) == before


def test_empty_line_gives_a_prompt_and_an_endless_line_an_error(line: Line) -> None:
    assert line.ask("") == ""
    assert line.ask("x" * 100_000) == "Error: -1 line too long"
    assert line.get("ul") == "3"


def test_user_levels_belong_to_one_client(line: Line, connect: Any) -> None:
    other = connect()
    assert line.ask('(exec \'change-ul 2 "CAUTION")') == "2"
    assert (line.get("ul"), other.get("ul")) == ("2", "3")
    assert line.set(CC + "current-clip", "90.0") == 0
    assert other.get(CC + "current-clip") == "90.0"
    assert other.set(CC + "current-clip", "91.0") < 0
    assert line.set("ul", "4") == 0
    assert line.set(CC + "current-set", "10.0") < 0  # read-only now


def on(line: Line, current_ma: float) -> None:
    assert line.set(CC + "current-set", f"{current_ma:.1f}") == 0
    assert line.set(CC + "enabled", "#t") == 0


def test_light_follows_the_current_above_threshold_up_to_the_clip(line: Line, laser: Any) -> None:
    on(line, 59.0)
    assert line.get("emission") == "#t"
    assert laser.port.power_mw == 0.0  # below threshold
    line.set(CC + "current-set", "110.0")
    assert laser.port.power_mw == pytest.approx(0.8 * 50.0, rel=1e-3)
    line.ask('(exec \'change-ul 2 "CAUTION")')
    line.set(CC + "current-clip", "85.0")
    assert laser.port.power_mw == pytest.approx(0.8 * 25.0, rel=1e-3)
    assert line.get(CC + "status-txt") == '"Current clip"'
    assert laser.port.wavelength_nm == pytest.approx(775.0, abs=0.01)


def test_a_warmer_diode_needs_more_current(line: Line, laser: Any, until: Any) -> None:
    on(line, 100.0)
    cold = laser.port.power_mw
    line.set("laser1:dl:tc:temp-set", "35.0")
    until(lambda: line.get("laser1:dl:tc:ready") == "#t")
    assert float(line.get("laser1:dl:tc:temp-act")) == pytest.approx(35.0, abs=0.1)
    assert laser.port.power_mw < cold - 1.0


def test_wavelength_moves_at_the_speed_of_its_motor(line: Line, laser: Any, until: Any) -> None:
    assert line.set("laser1:ctl:wavelength-set", "775.3") == 0
    assert line.get("laser1:ctl:state") == "1"
    until(lambda: line.get("laser1:ctl:state") == "0")
    assert laser.port.wavelength_nm == pytest.approx(775.3, abs=0.01)


@pytest.mark.parametrize("cause", ["interlock_open", "frontkey_locked", "tc_fault"])
def test_a_trip_switches_off_and_stays_off(line: Line, laser: Any, cause: str) -> None:
    on(line, 100.0)
    laser.control(set={cause: True})
    assert (line.get("emission"), laser.port.power_mw) == ("#f", 0.0)
    assert int(line.get("system-health")) != 0
    line.set(CC + "enabled", "#t")
    assert line.get("emission") == "#f"
    laser.control(set={cause: False})
    assert (line.get("emission"), laser.port.power_mw) == ("#f", 0.0)  # until switched on again
    line.set(CC + "enabled", "#t")
    assert line.get("emission") == "#t"
    assert int(line.get("system-messages:count")) > 0


@pytest.mark.parametrize("name", ["emission-button-enabled", "laser1:enabled"])
def test_other_conditions_of_emission(line: Line, laser: Any, name: str) -> None:
    on(line, 100.0)
    assert line.set(name, "#f") == 0
    assert (line.get("laser1:emission"), laser.port.power_mw) == ("#f", 0.0)


def test_safe_off_and_status(line: Line, laser: Any) -> None:
    on(line, 100.0)
    assert laser.status()["emission"] is True
    laser.control(fault="silent")
    laser.call(laser.device.safe_off)
    laser.call(laser.device.safe_off)
    assert laser.port.power_mw == 0.0
    status = laser.status()
    assert (status["emission"], status["power_mw"]) == (False, 0.0)


def test_scan_keeps_both_descriptions_equal(line: Line) -> None:
    line.set("laser1:scan:start", "60.0")
    line.set("laser1:scan:end", "64.0")
    scan = "`(,(param-ref 'laser1:scan:offset),(param-ref 'laser1:scan:amplitude))"
    assert line.ask(scan) == "(62.0 4.0)"


def test_every_parameter_can_be_read(line: Line) -> None:
    *shown, status = line.ask("(param-disp 'laser1)").splitlines()
    assert status == "0"
    assert len(shown) > 400
    for text in shown:
        name, _, value = text.partition(" = ")
        reply = line.get(name)
        assert not reply.startswith("Error")
        assert type(parse(reply)) is type(parse(value))


# -- faults --------------------------------------------------------------------------------------


def test_unplug_resets_clients_and_keeps_the_address_and_the_light(
    line: Line, laser: Any, connect: Any, until: Any
) -> None:
    on(line, 100.0)
    laser.control(fault="unplug")
    with pytest.raises((EOFError, ConnectionError)):
        line.until(b"never")
    host, port = laser.path.split(":")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), timeout=1.0)
    assert laser.port.power_mw > 0  # pulling the network cable does not stop light
    laser.control(fault="replug")
    until(lambda: laser.status()["plugged"])
    assert connect().get("emission") == "#t"


def test_reboot_comes_back_dark_with_defaults(
    line: Line, laser: Any, connect: Any, until: Any
) -> None:
    on(line, 100.0)
    laser.control(fault="reboot")
    assert laser.port.power_mw == 0.0
    until(lambda: laser.status()["plugged"])
    client = connect()
    assert (client.get(CC + "current-set"), client.get("uptime")) == ("0.0", "0")


def test_silent_then_healed(line: Line, laser: Any) -> None:
    laser.control(fault="silent", count=1)
    line.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        line.ask("(param-ref 'uptime)")
    assert line.get("ul") == "3"


def test_a_late_reply_keeps_its_place(line: Line, laser: Any) -> None:
    laser.control(fault="late", count=1, delay_s=0.1)
    start = time.monotonic()
    line.socket.sendall(b"(param-ref 'system-type)\n")
    assert line.get("ul") == '"DLCpro"'
    assert time.monotonic() - start >= 0.1
    assert line.until(b"\r\n> ") == b"3"


def test_garbled_truncated_echo(line: Line, laser: Any) -> None:
    laser.control(fault="echo", count=1)
    assert line.get("ul") == "(param-ref 'ul)\n3"
    laser.control(fault="truncated", count=1)
    line.socket.sendall(b"(param-ref 'system-type)\n")
    assert line.get("ul") == '"DLCpr3'  # the cut reply and the next one
    laser.control(fault="garbled", count=1)
    line.socket.sendall(b"(param-ref 'system-type)\n(param-ref 'ul)\n")
    time.sleep(0.1)
    data = line.socket.recv(1000)
    assert data != b'"DLCpro"\r\n> 3\r\n> '
    assert len(data) == 17


def test_ignored_sets_look_accepted(line: Line, laser: Any) -> None:
    laser.control(fault="ignore-sets")
    assert line.set(CC + "enabled", "#t") == 0
    assert line.get(CC + "enabled") == "#f"
    laser.control(fault="none")
    assert line.set(CC + "enabled", "#t") == 0
    assert line.get(CC + "enabled") == "#t"


@pytest.mark.parametrize(
    "command", [{"fault": "explode"}, {"set": {"colour": 1}}, {}, {"fault": "silent", "x": 1}]
)
def test_unknown_control_is_refused(laser: Any, command: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"explode|colour|known|say fault"):
        laser.control(**command)


def test_unknown_setting_is_named(emulate: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown setting 'tempreature_c'.*'temperature_c'"):
        emulate("toptica-dlc-pro", tempreature_c=3.0)


# -- monitoring line -----------------------------------------------------------------------------


def test_monitoring_line(laser: Any, line: Line, connect: Any) -> None:
    port = laser.status()["monitoring_port"]
    first, second = connect(port), connect(port)
    first.socket.sendall(b"(add 'laser1:dl:cc:enabled)\n")
    stamp = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"
    assert re.fullmatch(rb"\(" + stamp + rb" 'laser1:dl:cc:enabled #f\)", first.until(b"\r\n"))
    second.socket.sendall(b"(add 'nothing 50)\n(frob)\n(add 'laser1:dl:cc:current-set 10 5.0)\n")
    assert re.fullmatch(rb"\(Error: -\d+ \(" + stamp + rb" 'nothing\) .+\)", second.until(b"\r\n"))
    assert second.until(b"\r\n").startswith(b"(Error: -1 ")
    assert second.until(b"\r\n").endswith(b"'laser1:dl:cc:current-set 0.0)")
    line.set(CC + "enabled", "#t")
    line.set(CC + "current-set", "3.0")  # below the second client's threshold
    assert first.until(b"\r\n").endswith(b"#t)")
    time.sleep(0.1)
    line.set(CC + "current-set", "7.0")
    assert second.until(b"\r\n").endswith(b" 7.0)")
    first.socket.sendall(b"(remove 'laser1:dl:cc:enabled)\n(add 'ul)\n")
    assert first.until(b"\r\n").endswith(b"'ul 3)")
    first.socket.sendall(b'(change-ul 2 "CAUTION")\n')
    assert first.until(b"\r\n").endswith(b"'ul 2)")
    line.set(CC + "enabled", "#f")
    first.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        first.until(b"\r\n")


def test_interval_limits_the_pushes(laser: Any, connect: Any) -> None:
    monitor = connect(laser.status()["monitoring_port"])
    monitor.socket.sendall(b"(add 'laser1:dl:tc:temp-act 200)\n")  # noisy: it always changes
    time.sleep(0.7)
    pushed = monitor.socket.recv(65536).count(b"\r\n")
    assert 2 <= pushed <= 5


# -- language ------------------------------------------------------------------------------------

values = st.recursive(
    st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\n\r\t"))
    | st.binary(min_size=1),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=8,
)


@given(values)
def test_printed_values_read_back(value: Any) -> None:
    class NoHost:
        pass

    assert execute("'" + encode(value), NoHost()) == encode(value)  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_always_carry_a_dot(value: float) -> None:
    assert "." in encode(value)
    assert float(encode(value)) == value


@given(st.text(st.sampled_from("()'`,\"\\#&.+-0a \x00é")))
def test_any_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(DecofError):
        parse(text)
