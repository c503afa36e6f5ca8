"""The IRSPD1 emulator, byte by byte."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import serial


class Terminal:
    def __init__(self, unit: Any) -> None:
        self.port = serial.Serial(unit.path, timeout=1.0, write_timeout=1.0)

    def ask(self, text: str) -> str:
        self.port.write(text.encode())
        return self.port.readline().decode()


@pytest.fixture
def unit(emulate: Any) -> Any:
    return emulate("sfifteen-irspd1", settling_s=0.1)


@pytest.fixture
def terminal(unit: Any) -> Iterator[Terminal]:
    t = Terminal(unit)
    yield t
    t.port.close()


def test_no_bias_after_power_on(terminal: Terminal, unit: Any) -> None:
    assert float(terminal.ask("hvolt?;")) == 0.0
    assert unit.port.excess_v < 0
    assert unit.status()["bias"] is False


@pytest.mark.parametrize("end", [";", "\r", "\n", "\r\n"])
def test_terminators_and_case(terminal: Terminal, end: str) -> None:
    assert "SPD" in terminal.ask(f"*IDN?{end}")
    assert "SPD" in terminal.ask(f"*idn?{end}")
    assert float(terminal.ask(f"HVOLT 55.5{end}hvolt?{end}")) == 55.5


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("hvolt", "61.25", "61.250"),
        ("threshvolt", "-0.1", "-0.1000"),
        ("constp", "1.5", "1.5000"),
        ("consti", "0", "0.0000"),
        ("loop", "0", "0"),
        ("time", "250.0", "250"),
        ("settemp", "-35", "-35.000"),
        ("delay", "2000", "2000"),
    ],
)
def test_sets_are_silent_and_read_back(
    terminal: Terminal, name: str, value: str, shown: str
) -> None:
    assert terminal.ask(f"{name} {value}\r\n{name}?;") == f"{shown}\r\n"
    terminal.port.timeout = 0.05
    assert terminal.port.read(10) == b""


@pytest.mark.parametrize("bad", ["hvolt 500", "hvolt -1", "time 0", "settemp nan", "delay inf"])
def test_values_out_of_range_change_nothing(terminal: Terminal, bad: str) -> None:
    name = bad.split()[0]
    before = terminal.ask(f"{name}?;")
    assert terminal.ask(f"{bad}\r\n{name}?;") == before


@pytest.mark.parametrize("bad", ["frob", "frob?", "frob 1", "hvolt x", "hvolt", "hvolt? 1"])
def test_unknown_commands(terminal: Terminal, bad: str) -> None:
    assert terminal.ask(f"{bad};") == "Unknown command\r\n"
    assert float(terminal.ask("hvolt?;")) == 0.0


def test_counts_answer_after_their_gate_and_in_order(terminal: Terminal) -> None:
    terminal.ask("hvolt 62;hvolt?;")
    start = time.monotonic()
    terminal.port.write(b"time 300;counts?;loop?;")
    assert int(terminal.port.readline()) == pytest.approx(3000, abs=450)
    assert time.monotonic() - start >= 0.3
    assert terminal.port.readline() == b"1\r\n"


def test_bias_counts_from_the_breakdown_of_this_temperature(
    terminal: Terminal, unit: Any, until: Any
) -> None:
    terminal.ask("hvolt 62;hvolt?;")
    assert unit.port.excess_v == pytest.approx(2.0, abs=0.01)
    terminal.ask("settemp -40;settemp?;")
    until(lambda: float(terminal.ask("temp?;")) < -39.9)
    until(lambda: abs(unit.port.excess_v - 3.0) < 0.05)
    assert unit.port.temperature_c == pytest.approx(-40.0, abs=0.3)


def test_peltier_voltage_without_the_loop(terminal: Terminal, until: Any) -> None:
    assert float(terminal.ask("pvolt?;")) == pytest.approx(2.6, abs=0.05)  # set by the loop
    terminal.ask("loop 0;pvolt 1.0;loop?;")
    until(lambda: abs(float(terminal.ask("temp?;")) - 2.0) < 0.2)  # 20 K below 22 °C


def test_save_survives_a_power_cycle_but_bias_does_not(terminal: Terminal, unit: Any) -> None:
    terminal.ask("delay 1234;hvolt 62;save;threshvolt 0.3;threshvolt?;")
    unit.control(fault="reboot")
    assert terminal.ask("delay?;") == "1234\r\n"
    assert float(terminal.ask("threshvolt?;")) == 0.05
    assert float(terminal.ask("hvolt?;")) == 0.0
    assert unit.port.excess_v < 0


def test_safe_off(terminal: Terminal, unit: Any) -> None:
    terminal.ask("hvolt 62;hvolt?;")
    assert unit.status()["bias"] is True
    unit.call(unit.device.safe_off)
    assert unit.status()["bias"] is False
    assert unit.port.excess_v < 0


def test_cooling_fails(terminal: Terminal, unit: Any, until: Any) -> None:
    unit.control(fault="tec-stuck")
    until(lambda: float(terminal.ask("temp?;")) > 20.0)
    unit.control(fault="none")
    until(lambda: float(terminal.ask("temp?;")) < -25.0)
    unit.control(set={"ambient_c": 70.0})  # too hot for the Peltier element
    until(lambda: float(terminal.ask("temp?;")) > -11.0)


def test_unplug_keeps_the_settings(terminal: Terminal, unit: Any) -> None:
    terminal.ask("hvolt 62;hvolt?;")
    unit.control(fault="unplug")
    with pytest.raises((serial.SerialException, OSError)):
        terminal.port.read(1)
    assert unit.port.excess_v > 0  # it is not powered by the cable
    unit.control(fault="replug")
    fresh = Terminal(unit)
    assert float(fresh.ask("hvolt?;")) == 62.0
    fresh.port.close()


def test_reply_faults(terminal: Terminal, unit: Any) -> None:
    terminal.port.timeout = 0.1
    unit.control(fault="silent", count=2)
    assert terminal.ask("loop?;") == ""
    assert terminal.ask("loop?;") == ""
    unit.control(fault="late", count=1, delay_s=0.15)
    assert terminal.ask("loop?;") == ""
    assert terminal.port.readline() == b"1\r\n"
    unit.control(fault="truncated", count=1)
    assert not terminal.ask("*idn?;").endswith("\n")
    unit.control(fault="garbled", count=1)
    good = terminal.ask("time?;time?;")
    assert terminal.port.readline() != good.encode() or good != "1000\r\n"
    terminal.port.reset_input_buffer()
    unit.control(fault="ignore-sets")
    assert float(terminal.ask("hvolt 60;hvolt?;")) == 0.0
    unit.control(fault="none")
    assert float(terminal.ask("hvolt 60;hvolt?;")) == 60.0


def test_a_flood_is_bounded(terminal: Terminal, unit: Any) -> None:
    terminal.port.write(b"x" * 5000 + b";")
    assert terminal.port.readline() == b"Unknown command\r\n"
    assert float(terminal.ask("hvolt?;")) == 0.0


def test_settings_of_the_bench_file(emulate: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown setting 'breakdown'.*'breakdown_v'"):
        emulate("sfifteen-irspd1", breakdown=3)
    with pytest.raises(ValueError, match="'breakdown_v' must be float"):
        emulate("sfifteen-irspd1", breakdown_v="60")
