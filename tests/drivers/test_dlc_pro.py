"""DLC pro: bytes on the wire, refusals, limits, read-back. The far end is a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from wire_peers import TcpPeer, pty_peer, tcp_peer

from photonlink.drivers.toptica import decof
from photonlink.drivers.toptica.dlc_pro import DlcPro
from photonlink.hal.errors import (
    InstrumentError,
    LimitError,
    LinkClosed,
    LinkDesync,
    ReadbackMismatch,
    StationError,
)
from photonlink.hal.testing import expected_dialogue


class Controller:
    """Answers as the vendor's SDK expects it; ``values`` overrides single parameters."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {
            "system-type": '"DLC pro"',
            "serial-number": '"DLC PRO_012345"',
            "fw-ver": '"2.0.3"',
            "laser1:emission": "#f",
            "laser1:dl:cc:enabled": "#f",
            "laser1:dl:cc:current-set": "50.0",
            "laser1:dl:cc:current-clip": "150.0",
            "laser1:dl:cc:status-txt": '"Off"',
            "interlock-open": "#f",
            "frontkey-locked": "#f",
        }
        self.set_status = "0"
        self.follow = True
        self.heard: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\r\nWelcome to DLC PRO_012345\r\nDeCoF Command Line\r\n> ")
        while line := await reader.readline():
            self.heard.append(line.decode())
            writer.write((self._answer(line.decode().strip()) + "\n> ").encode())

    def _answer(self, line: str) -> str:
        if line.startswith("(param-ref '"):
            return self.values.get(line[12:-1], "Error: -14 unknown parameter")
        name, _, value = line[13:-1].partition(" ")
        if self.set_status == "0":
            self.values[name] = value
            if name.endswith("enabled") and self.follow:
                self.values["laser1:emission"] = value
        return self.set_status


@asynccontextmanager
async def laser(**settings: Any) -> AsyncIterator[tuple[DlcPro, Controller, TcpPeer]]:
    controller = Controller()
    settings.setdefault("reply_timeout_s", 0.5)
    async with tcp_peer(controller) as peer:
        driver = DlcPro("pump", peer.uri, DlcPro.Settings(**settings))
        try:
            yield driver, controller, peer
        finally:
            await driver.close()


async def test_the_conversation_of_opening_byte_for_byte() -> None:
    async with laser() as (driver, controller, _):
        identity = await driver.open()
        assert (identity.model, identity.serial) == ("DLC pro", "DLC PRO_012345")
        assert controller.heard == [
            "(param-ref 'system-type)\n",
            "(param-ref 'serial-number)\n",
            "(param-ref 'fw-ver)\n",
            "(param-set! 'laser1:dl:cc:enabled #f)\n",
            "(param-ref 'laser1:dl:cc:enabled)\n",
            "(param-ref 'laser1:emission)\n",
        ]


async def test_configure_sets_a_float_with_its_dot_and_reads_it_back() -> None:
    async with laser(current_ma=100) as (driver, controller, _):
        await driver.open()
        controller.heard.clear()
        await driver.configure()
        assert "(param-set! 'laser1:dl:cc:current-set 100.0)\n" in controller.heard
        assert controller.heard[-1] == "(param-ref 'laser1:dl:cc:current-set)\n"


async def test_limits_of_instrument_head_and_station() -> None:
    controller = Controller()
    async with tcp_peer(controller) as peer:
        limits = {"current_set_ma": (0.0, 120.0)}
        driver = DlcPro("pump", peer.uri, DlcPro.Settings(), limits=limits)
        await driver.open()
        controller.heard.clear()
        for wrong in (120.5, -0.1, float("inf")):
            with pytest.raises(LimitError):
                await driver.set("current_set_ma", wrong)
        controller.values["laser1:dl:cc:current-clip"] = "90.0"
        with pytest.raises(LimitError, match=r"0…90"):
            await driver.set("current_set_ma", 100.0)
        assert not [line for line in controller.heard if "param-set" in line]
        await driver.set("current_set_ma", 90.0)
        await driver.close()


async def test_refusals_are_named_and_the_line_stays_clean() -> None:
    async with laser() as (driver, controller, peer):
        await driver.open()
        controller.set_status = "-3"
        with pytest.raises(InstrumentError, match=r"current_set_ma = 60\.0 was refused"):
            await driver.set("current_set_ma", 60.0)
        controller.set_status = "0"
        values = await driver.snapshot()
        assert "unknown parameter" in str(values["health_error"])
        assert values["current_clip_ma"] == 150.0
        assert peer.connections == 1


async def test_nonsense_is_refused_not_believed() -> None:
    async with laser() as (driver, controller, _):
        await driver.open()
        for reply, error in (
            ("nan", InstrumentError),
            ("9.9E37", InstrumentError),
            ("1,5", LinkDesync),
            ('"text"', InstrumentError),
            ("#t", InstrumentError),
            ("(1.0 2.0)", InstrumentError),
            ("(1.0", LinkDesync),
            ("", LinkDesync),
        ):
            controller.values["laser1:dl:cc:current-clip"] = reply
            with pytest.raises(error):
                await driver.set("current_set_ma", 10.0)
        controller.values["laser1:dl:cc:current-clip"] = "150.0"
        await driver.set("current_set_ma", 10.0)


async def test_a_set_that_does_not_take_is_found_out() -> None:
    async with laser() as (driver, controller, _):
        await driver.open()
        controller.set_status = "1"  # accepted, but nothing happens
        with pytest.raises(ReadbackMismatch, match="reads back 50"):
            await driver.set("current_set_ma", 60.0)


async def test_light_that_does_not_come_is_taken_back() -> None:
    async with laser(settle_s=0.2) as (driver, controller, _):
        await driver.open()
        controller.follow = False
        with pytest.raises(ReadbackMismatch, match=r"emission should become True.*button"):
            await driver.set_emission(True)
        assert controller.values["laser1:dl:cc:enabled"] == "#f"


async def test_light_that_does_not_go_is_said_loudly() -> None:
    async with laser(settle_s=0.2) as (driver, controller, _):
        await driver.open()
        await driver.set_emission(True)
        assert await driver.emission()
        controller.follow = False
        steps = await driver.safe_state()
        assert [(step.ok, step.action) for step in steps] == [
            (True, "pump: current off"),
            (False, "pump: emission off"),
        ]
        assert "key switch" in steps[1].readback
        controller.follow = True


@pytest.mark.parametrize("what", ["interlock-open", "frontkey-locked"])
async def test_no_light_against_interlock_or_key(what: str) -> None:
    async with laser() as (driver, controller, _):
        await driver.open()
        controller.values[what] = "#t"
        controller.heard.clear()
        with pytest.raises(InstrumentError):
            await driver.set_emission(True)
        assert not [line for line in controller.heard if "#t" in line]


async def test_cancelled_while_switching_on_means_off() -> None:
    async with laser() as (driver, controller, _):
        await driver.open()
        controller.follow = False
        task = asyncio.create_task(driver.set_emission(True))
        await asyncio.sleep(0.1)
        assert controller.values["laser1:dl:cc:enabled"] == "#t"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(50):
            await asyncio.sleep(0.02)
            if controller.values["laser1:dl:cc:enabled"] == "#f":
                break
        assert controller.values["laser1:dl:cc:enabled"] == "#f"


async def test_killed_in_the_middle_is_closed() -> None:
    async with laser() as (driver, _, peer):
        await driver.open()
        await peer.stop()
        await asyncio.sleep(0.05)
        with pytest.raises(LinkClosed):
            await driver.emission()
        steps = await driver.safe_state()
        assert not any(step.ok for step in steps)


def test_an_option_the_driver_does_not_know() -> None:
    with pytest.raises(StationError, match="'moniter'"):
        DlcPro("pump", "tcp://h:1998?moniter=1999", DlcPro.Settings())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#t", True),
        ("#f", False),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e-06", 1e-6),
        ('"a (b) \\"c\\""', 'a (b) "c"'),
        ('(1 2.0 "x" (#t))', [1, 2.0, "x", [True]]),
        ("&aGVsbG8=", b"hello"),
        ("()", []),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert decof.parse(text) == value


@pytest.mark.parametrize("text", ["", "(", ")", "(1", "1 2", '"open', "#x", "&*", "1,5", "\\"])
def test_unreadable_values(text: str) -> None:
    with pytest.raises(LinkDesync):
        decof.parse(text)


def test_errors_in_either_case() -> None:
    for text in ("Error: -14 unknown", "error: -14 unknown"):
        assert decof.parse(text) == decof.DecofRefusal("-14", "unknown")


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "#t"), (5, "5"), (5.0, "5.0"), (1e-7, "1e-07"), ('a"b', '"a\\"b"')],
)
def test_rendering(value: Any, text: str) -> None:
    assert decof.render(value) == text
    assert decof.parse(text) == value


BANNER = r"""
< \r\nWelcome to DLC PRO_012345\r\nDeCoF Command Line\r\n>\s
"""
OPENING = r"""
> (param-ref 'system-type)\n
< "DLCpro"\n>\s
> (param-ref 'serial-number)\n
< 21643\n>\s
> (param-ref 'fw-ver)\n
< "2.0.3"\n>\s
> (param-set! 'laser1:dl:cc:enabled #f)\n
< 0\n>\s
> (param-ref 'laser1:dl:cc:enabled)\n
< #f\n>\s
> (param-ref 'laser1:emission)\n
< #f\n>\s
"""


async def test_opening_as_a_dialogue() -> None:
    async with expected_dialogue(DlcPro, BANNER + OPENING, reply_timeout_s=0.5) as driver:
        identity = await driver.open()
        assert (identity.model, identity.serial) == ("DLCpro", "21643"), "a serial may be a number"


@pytest.mark.row("DLC pro: echoed replies with CR LF")
@pytest.mark.proves("toptica-dlc-pro", by="printed lines of a unit (2020)")
async def test_echoed_replies_with_cr_lf_are_read() -> None:
    """As recorded from a real controller: commands are echoed, lines end in CR LF."""
    talk = (
        BANNER
        + r"""
    > (param-ref 'laser1:dl:cc:current-set)\n
    < (param-ref 'laser1:dl:cc:current-set)\r\n69.85\r\n>\s
    > (param-set! 'laser1:dl:tc:temp-set 21.0)\n
    < (param-set! 'laser1:dl:tc:temp-set 21.0)\r\n0\r\n>\s
    > (param-ref 'laser1:dl:tc:temp-set)\n
    < (param-ref 'laser1:dl:tc:temp-set)\r\n21.0\r\n>\s
    """
    )
    async with expected_dialogue(DlcPro, talk, reply_timeout_s=0.5) as driver:
        await driver.connect()
        assert await driver.get("current_set_ma") == 69.85
        await driver.set("temperature_set_c", 21.0)


@pytest.mark.row("DLC pro: extra lines before a set's status")
async def test_extra_lines_before_a_set_s_status_are_passed_over() -> None:
    talk = (
        BANNER
        + r"""
    > (param-set! 'laser1:dl:tc:temp-set 21.0)\n
    < note: the loop is open\n0\n>\s
    > (param-ref 'laser1:dl:tc:temp-set)\n
    < 21.0\n>\s
    > (param-set! 'laser1:dl:tc:temp-set 22.0)\n
    < note: the loop is open\n-3\n>\s
    """
    )
    async with expected_dialogue(DlcPro, talk, reply_timeout_s=0.5) as driver:
        await driver.connect()
        await driver.set("temperature_set_c", 21.0)
        with pytest.raises(InstrumentError, match="refused"):
            await driver.set("temperature_set_c", 22.0)


@pytest.mark.row("DLC pro: param-disp, serial number, system type, unavailable parameters")
async def test_an_unavailable_parameter_is_left_out() -> None:
    talk = (
        BANNER
        + r"""
    > (param-ref 'laser1:dl:cc:pd)\n
    < Error: -20 unavailable on your system\n>\s
    """
    )
    async with expected_dialogue(DlcPro, talk, reply_timeout_s=0.5) as driver:
        await driver.connect()
        with pytest.raises(InstrumentError, match="unavailable on your system") as caught:
            await driver.get("monitor_diode_ma")
        assert caught.value.seen == "-20"


@pytest.mark.row("DLC pro over serial: welcome message, plain prompt")
@pytest.mark.parametrize("greeting", ["> ", "\r\nWelcome\r\nDeCoF Command Line\r\n> ", "\n> \n> "])
async def test_a_welcome_or_a_plain_prompt_over_the_usb_line(tmp_path: Path, greeting: str) -> None:
    def answer(question: bytes) -> bytes:
        if question.startswith(b"\x12"):
            return greeting.encode()
        return b"50.0\n> "

    with pty_peer(tmp_path / "dlc", answer, ends=b"\x03\n") as peer:
        driver = DlcPro("pump", peer.uri, DlcPro.Settings(reply_timeout_s=0.5))
        await driver.connect()
        assert await driver.get("current_set_ma") == 50.0
        await driver.release()


async def test_an_interlock_that_opens_is_a_condition() -> None:
    async with laser() as (driver, controller, _):
        await driver.open()
        await driver.set_emission(True)
        assert driver.conditions(await driver.snapshot()) == ()
        controller.values |= {"interlock-open": "#t", "laser1:emission": "#f"}
        found = {c.code: c.text for c in driver.conditions(await driver.snapshot())}
        assert found.keys() == {"interlock_open", "emission_ended"}
        assert "ask for light again" in found["interlock_open"]
