"""CTL200: every command is echoed and answered; currents within the driver's own limit; °C."""

from __future__ import annotations

import pytest

from photonlink.drivers.koheron.ctl200 import Ctl200
from photonlink.hal.errors import IdentityError, InstrumentError, LimitError
from photonlink.hal.testing import expected_dialogue


def said(command: str, reply: str) -> str:
    return f"> {command}\\r\\n\n< {command}\\r\\n{reply}\\r\\n\n"


WAKE = "> \\r\\n\n< \\r\\n\n"
OPENING = (
    WAKE
    + said("model", "CTL200-1")
    + said("serial", "0042")
    + said("version", "V0.13")
    + said("lason 0", "0")
    + said("lason", "0")
)


async def test_opening_switches_off_and_the_dark_command_does_it_too() -> None:
    async with expected_dialogue(Ctl200, OPENING) as laser:
        assert (await laser.open()).serial == "0042"
        command = laser.dark_command()
        assert command is not None
        assert command.data == b"\r\nlason 0\r\n"


async def test_the_driver_s_own_limit_of_the_current() -> None:
    talk = OPENING + said("ilmax", "100.000") * 2 + said("ilaser 80.0", "80.000")
    async with expected_dialogue(Ctl200, talk + said("ilaser", "80.000")) as laser:
        await laser.open()
        with pytest.raises(LimitError, match=r"outside 0…100"):
            await laser.set("current_ma", 120.0)
        await laser.set("current_ma", 80.0)


async def test_a_thermistor_in_degrees() -> None:
    talk = OPENING + said("rtact", "10000.0") + said("rtact", "12500.0")
    async with expected_dialogue(Ctl200, talk) as laser:
        await laser.open()
        assert await laser.temperature_c() == pytest.approx(25.0)
        assert await laser.temperature_c() == pytest.approx(20.0, abs=0.1)


async def test_a_refusal_and_another_instrument() -> None:
    async with expected_dialogue(Ctl200, OPENING + said("tecon 1", "Error: invalid")) as laser:
        await laser.open()
        with pytest.raises(InstrumentError, match="refused"):
            await laser.set_cooling(True)
    async with expected_dialogue(Ctl200, WAKE + said("model", "TDC1")) as laser:
        with pytest.raises(IdentityError, match="TDC1"):
            await laser.open()
