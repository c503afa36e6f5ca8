"""Santec TSL: the conversation of opening, units of both command sets, shutter and diode."""

from __future__ import annotations

import pytest

from photonlink.drivers.santec.tsl550 import Tsl550
from photonlink.drivers.santec.tsl570 import Tsl570
from photonlink.hal.errors import InstrumentError, LimitError
from photonlink.hal.testing import expected_dialogue


def told(command: str, back: str = "", value: str = "") -> str:
    """Conversation of a set, the error queue, and the read-back."""
    read = f"> {back}\\r\n< {value}\\r\n" if back else ""
    return f'> {command}\\r\n> :SYST:ERR?\\r\n< 0,"No error"\\r\n{read}'


def opening(model: str, code: str) -> str:
    return (
        f"> *IDN?\\r\n< SANTEC,{model},21020001,0001.000.0001\\r\n"
        + (f"> :SYST:COMM:COD?\\r\n< {code}\\r\n" if code else "")
        + told(":POW:UNIT 0")
        + told(":POW:STAT 0", ":POW:STAT?", "0")
        + told(":POW:SHUT 1", ":POW:SHUT?", "1")
    )


async def test_metres_of_the_scpi_command_set_become_nanometres() -> None:
    talk = opening("TSL-570", "1") + told(":WAV 1.550123e-06", ":WAV?", "1.550123000E-06")
    async with expected_dialogue(Tsl570, talk) as laser:
        assert (await laser.open()).serial == "21020001"
        await laser.set("wavelength_nm", 1550.123)
        with pytest.raises(LimitError):
            await laser.set("wavelength_nm", 1700.0)


async def test_the_tsl550_is_not_asked_for_a_command_set() -> None:
    talk = opening("TSL-550", "") + told(":WAV 1550.123", ":WAV?", "1550.1230")
    async with expected_dialogue(Tsl550, talk) as laser:
        await laser.open()
        await laser.set("wavelength_nm", 1550.123)


async def test_light_needs_a_closed_interlock_the_diode_and_the_shutter() -> None:
    talk = (
        opening("TSL-570", "0")
        + "> :SYST:ALER?\\r\n< No07.,Interlock\\r\n"
        + "> :SYST:ALER?\\r\n< No alerts.\\r\n" * 2
        + told(":POW:STAT 1", ":POW:STAT?", "1")
        + told(":POW:SHUT 0", ":POW:SHUT?", "0")
        + "> :POW:STAT?\\r\n< 1\\r\n> :POW:SHUT?\\r\n< 0\\r\n"
    )
    async with expected_dialogue(Tsl570, talk) as laser:
        await laser.open()
        with pytest.raises(InstrumentError, match="interlock"):
            await laser.set_emission(True)
        await laser.set_emission(True)
        assert await laser.emission()


async def test_the_dark_command_ends_diode_and_shutter() -> None:
    async with expected_dialogue(Tsl570, "") as laser:
        command = laser.dark_command()
        assert command is not None
        assert command.data == b"\r:POW:STAT 0\r\r:POW:SHUT 1\r"
