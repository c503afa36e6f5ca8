"""The TDC1 emulator, byte by byte."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from photonlink.firmware_sim.devices.sfifteen.words import HALF, WordPacker, coincidences

PERIOD = 1 << 27


class Terminal:
    def __init__(self, unit: Any) -> None:
        self.port = serial.Serial(unit.path, timeout=1.0, write_timeout=1.0)

    def ask(self, text: str) -> str:
        self.port.write(text.encode())
        return self.port.readline().decode()

    def words(self, seconds: float, stop: str = "abort\r\n") -> npt.NDArray[np.int64]:
        """All words from reading for ``seconds``, stopping, and reading until nothing comes."""
        data, end = b"", time.monotonic() + seconds
        self.port.timeout = 0.05
        while time.monotonic() < end:
            data += self.port.read(1 << 16)
        self.port.write(stop.encode())
        while more := self.port.read(1 << 16):
            data += more
        assert len(data) % 4 == 0
        return np.frombuffer(data, "<u4").astype(np.int64)


def decode(words: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Absolute ticks and patterns of real events, by S-Fifteen's description of the word."""
    tick = words >> 5
    tick = tick + PERIOD * np.cumsum(np.diff(tick, prepend=tick[:1]) < 0)
    real = (words & 16) == 0
    return tick[real], words[real] & 15


@pytest.fixture
def unit(emulate: Any) -> Any:
    return emulate("sfifteen-tdc1")


@pytest.fixture
def terminal(unit: Any) -> Iterator[Terminal]:
    t = Terminal(unit)
    yield t
    t.port.close()


def test_identity_and_power_on_settings(terminal: Terminal) -> None:
    assert "TDC1" in terminal.ask("*IDN?\n")
    assert terminal.ask("TIME?;") == "1000\r\n"
    assert terminal.ask("MODE?;") == "0\r\n"
    assert float(terminal.ask("LEVEL?;").split()[0]) < 0
    assert terminal.ask("REFCLK?;") == "0\r\n"


@pytest.mark.parametrize("end", [";", "\n", "\r\n"])
def test_terminators_case_and_chains(terminal: Terminal, end: str) -> None:
    assert terminal.ask(f"\r\n;;\r\nPAIRS{end}mode?{end}") == "1\r\n"
    assert terminal.ask(f"Timestamp;time 250;Mode?{end}") == "3\r\n"
    assert terminal.ask(f"tImE?{end}") == "250\r\n"


def test_a_command_in_pieces(terminal: Terminal) -> None:
    for piece in ("mo", "d", "e?"):
        terminal.port.write(piece.encode())
        time.sleep(0.02)
    assert terminal.ask(";") == "0\r\n"


def test_time_is_printed_as_a_signed_number(terminal: Terminal) -> None:
    assert terminal.ask("time 40000;time?;") == f"{40000 - 65536}\r\n"
    assert terminal.ask("time 65535;time?;") == "-1\r\n"


@pytest.mark.parametrize("bad", ["time 65536", "time -1", "refclk 3", "neg x", "frob", "frob?"])
def test_unknown_and_out_of_range(terminal: Terminal, bad: str) -> None:
    assert terminal.ask(f"{bad};") == "Unknown command\r\n"
    assert terminal.ask("time?;") == "1000\r\n"


def test_level_decides_whether_pulses_are_seen(terminal: Terminal, unit: Any) -> None:
    for command, seen in (("TTL", False), ("NIM", True), ("NEG 1.5", False), ("NEG 0.2", True)):
        terminal.ask(f"{command};level?;")
        assert set(unit.port.enabled.values()) == {seen}
    assert float(terminal.ask("pos 1.25;level?;").split()[0]) == 1.25
    assert float(terminal.ask("neg -0.25;level?;").split()[0]) == -0.25


def test_external_clock_flag(terminal: Terminal, unit: Any) -> None:
    assert terminal.ask("eclock?;") == "0\r\n"
    unit.control(set={"external_clock": True})
    assert terminal.ask("eclock?;") == "1\r\n"


def test_reset_and_help(terminal: Terminal) -> None:
    assert terminal.ask("pairs;time 5;*RST;mode?;") == "0\r\n"
    terminal.port.write(b"HELP;")
    terminal.port.timeout = 0.2
    assert len(terminal.port.readlines()) > 4


def test_counts_keep_later_commands_waiting_and_abort_ends_them(
    terminal: Terminal, unit: Any
) -> None:
    unit.port.load(np.arange(1, 500) * 10**9, np.zeros(499))
    start = time.monotonic()
    terminal.port.write(b"time 200;counts?;mode?;")
    assert terminal.port.readline() == b"199 0 0 0\r\n"
    assert time.monotonic() - start >= 0.2
    assert terminal.port.readline() == b"0\r\n"
    terminal.port.write(b"time 5000;counts?;")
    assert terminal.ask("abort;mode?;") == "0\r\n"


# -- stream --------------------------------------------------------------------------------------


def test_dummies_make_long_gaps_visible(terminal: Terminal, unit: Any) -> None:
    truth = np.array([5, 10**11, 6 * 10**11, 6 * 10**11 + 1999, 6 * 10**11 + 2000])
    unit.port.load(truth, [0, 1, 2, 3, 0])
    terminal.port.write(b"timestamp;time 650;inpkt;counts?;")
    words = terminal.words(0.8, stop="")
    assert ((words & 31) == 0b10001).sum() == int(0.65 * 5e8 // HALF)
    tick, pattern = decode(words)
    np.testing.assert_array_equal(tick, [0, 5 * 10**7, 3 * 10**8, 3 * 10**8 + 1])
    np.testing.assert_array_equal(pattern, [1, 2, 12, 1])  # inputs 3 and 4 in one tick


def test_counter_near_its_end(terminal: Terminal, unit: Any) -> None:
    unit.control(fault="rollover", before=10)
    truth = np.arange(20) * 2000
    unit.port.load(truth, np.zeros(20))
    terminal.port.write(b"timestamp;time 0;inpkt;counts?;")
    words = terminal.words(0.2)
    real = words[(words & 16) == 0] >> 5
    np.testing.assert_array_equal(real, (PERIOD - 10 + np.arange(20)) % PERIOD)


def test_time_ends_the_stream(terminal: Terminal, unit: Any, until: Any) -> None:
    unit.port.load(np.arange(2000) * 10**9, np.zeros(2000))
    terminal.port.write(b"timestamp;time 100;inpkt;counts?;")
    tick, _ = decode(terminal.words(0.4, stop=""))
    np.testing.assert_array_equal(tick, np.arange(100) * 500_000)
    assert terminal.ask("mode?;") == "3\r\n"


def test_every_event_arrives_at_200_000_per_second(terminal: Terminal, unit: Any) -> None:
    rng = np.random.default_rng(9)
    truth = np.sort(rng.integers(0, 3 * 10**11, 60_000))
    unit.port.load(truth, rng.integers(0, 4, len(truth)))
    terminal.port.write(b"timestamp;time 300;inpkt;counts?;")
    tick, pattern = decode(terminal.words(0.5))
    np.testing.assert_array_equal(tick, np.unique(truth // 2000))
    clicks = sum(int(((pattern >> c) & 1).sum()) for c in range(4))
    same = len(truth) - len(np.unique(np.stack((truth // 2000, unit.port.channel)), axis=1).T)
    assert clicks == len(truth) - same
    assert unit.status()["events_lost"] == 0


def test_a_host_that_does_not_read_loses_counted_events(terminal: Terminal, unit: Any) -> None:
    total = 400_000
    unit.port.load(np.arange(total) * 2_500_000, np.zeros(total))  # 400 k/s for 1 s
    terminal.port.write(b"timestamp;time 0;inpkt;counts?;")
    time.sleep(0.8)
    tick, _ = decode(terminal.words(0.8))
    status = unit.status()
    assert status["events_lost"] > 0
    assert len(tick) + status["events_lost"] == total
    np.testing.assert_array_equal(tick % 1250, 0)  # the words that arrive are correct


def test_rate_is_limited_to_four_million_per_second(terminal: Terminal, unit: Any) -> None:
    total = 2_000_000
    unit.port.load(np.arange(total) * 100_000, np.zeros(total))  # 10 M/s for 0.2 s
    terminal.port.write(b"timestamp;time 200;inpkt;counts?;")
    words = terminal.words(0.8, stop="")
    sent = int(((words & 16) == 0).sum())
    assert sent < 0.2 * 4.2e6 + (1 << 17)
    assert sent + unit.status()["events_lost"] == total


def test_lost_events_are_not_flagged(terminal: Terminal, unit: Any) -> None:
    unit.port.load(np.arange(1000) * 10**8, np.zeros(1000))
    unit.control(fault="lose", events=100)
    terminal.port.write(b"timestamp;time 0;inpkt;counts?;")
    tick, _ = decode(terminal.words(0.3))
    np.testing.assert_array_equal(tick, np.arange(100, 1000) * 50_000)
    assert unit.status()["events_lost"] == 100


def test_a_slipped_byte_puts_the_stream_out_of_step(terminal: Terminal, unit: Any) -> None:
    unit.port.load(np.arange(1, 100) * 10**9, np.zeros(99))
    unit.control(fault="slip", bytes=3)
    terminal.port.write(b"timestamp;time 60;inpkt;counts?;")
    data = b""
    while more := terminal.port.read(1 << 12):
        data += more
    assert len(data) == 59 * 4 - 3
    np.testing.assert_array_equal(
        np.frombuffer(data[1:], "<u4") >> 5, np.arange(2, 60) * 500_000 % PERIOD
    )


def test_only_abort_and_reset_are_heard_while_streaming(terminal: Terminal, unit: Any) -> None:
    unit.port.load([], [])
    terminal.port.write(b"timestamp;time 0;inpkt;counts?;*idn?;mode?;")
    assert (terminal.words(0.3) & 16).all()  # only dummies
    assert not unit.status()["streaming"]
    terminal.port.timeout = 1.0
    assert terminal.ask("mode?;") == "3\r\n"


# -- cable and faults ----------------------------------------------------------------------------


def test_unplug_during_a_stream_and_replug(terminal: Terminal, unit: Any) -> None:
    unit.port.load(np.arange(10**6) * 10**7, np.zeros(10**6))
    terminal.port.write(b"timestamp;time 0;inpkt;counts?;")
    unit.control(fault="unplug")

    def read_on() -> None:
        while True:
            terminal.port.read(100)

    with pytest.raises((serial.SerialException, OSError)):
        read_on()
    with pytest.raises(serial.SerialException):
        serial.Serial(unit.path)
    unit.control(fault="replug")
    fresh = Terminal(unit)
    assert fresh.ask("mode?;") == "0\r\n"  # powered by the cable: settings are lost
    fresh.port.close()


def test_another_unit_answers(terminal: Terminal, unit: Any) -> None:
    before = terminal.ask("*idn?;")
    unit.control(set={"serial_number": "SWAPPED"})
    assert terminal.ask("*idn?;") == before.replace("000007", "SWAPPED")


def test_unplugged_for_a_time(unit: Any, until: Any) -> None:
    unit.control(fault="unplug", for_s=0.1)
    assert not unit.status()["plugged"]
    until(lambda: unit.status()["plugged"])


def test_settings_survive_a_client(unit: Any) -> None:
    first = Terminal(unit)
    assert first.ask("time 77;time?;") == "77\r\n"
    first.port.close()
    second = Terminal(unit)
    assert second.ask("time?;") == "77\r\n"
    second.port.close()


def test_reboot_ignored_sets_and_reply_faults(terminal: Terminal, unit: Any) -> None:
    terminal.ask("pairs;mode?;")
    unit.control(fault="reboot")
    assert terminal.ask("mode?;") == "0\r\n"
    unit.control(fault="ignore-sets", for_s=0.1)
    assert terminal.ask("pairs;mode?;") == "0\r\n"
    time.sleep(0.15)
    assert terminal.ask("pairs;mode?;") == "1\r\n"
    unit.control(fault="silent", count=1)
    terminal.port.timeout = 0.1
    assert terminal.ask("mode?;") == ""
    unit.control(fault="echo", count=1)
    assert terminal.ask("mode?;") == "mode?\r\n"
    assert terminal.port.readline() == b"1\r\n"
    with pytest.raises(ValueError, match="known"):
        unit.control(fault="explode")


# -- words ---------------------------------------------------------------------------------------

ticks = st.lists(st.tuples(st.integers(0, 4 * PERIOD), st.integers(0, 3)), max_size=40)


@given(ticks, st.integers(0, PERIOD - 1), st.integers(1, 7))
def test_packing_in_pieces_is_packing_at_once(
    events: list[tuple[int, int]], start: int, pieces: int
) -> None:
    events = sorted(set(events))
    tick = np.array([t for t, _ in events], np.int64)
    channel = np.array([c for _, c in events], np.uint8)
    end = 4 * PERIOD + 1
    whole = WordPacker(start).pack(tick, channel, end)
    packer, parts, at = WordPacker(start), [], 0
    for i in range(1, pieces + 1):
        until = end * i // pieces
        stop = int(np.searchsorted(tick, until, "right"))
        parts.append(packer.pack(tick[at:stop], channel[at:stop], until))
        at = stop
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    got, pattern = decode(whole.astype(np.int64))
    if len(tick):
        first = got[0] - (tick[0] + start) % PERIOD
        turns = (tick[0] + start) // PERIOD * PERIOD
        np.testing.assert_array_equal(got - first + turns, np.unique(tick) + start)
        assert sum(int(p).bit_count() for p in pattern) == len(events)


def test_coincidence_counter() -> None:
    a, b = np.array([0, 100, 200]), np.array([5, 95, 106, 300])
    assert coincidences(a, b, 6) == 3
    assert coincidences(a, b, 4) == 0
