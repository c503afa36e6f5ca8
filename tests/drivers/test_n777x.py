"""N777x: metres on the wire, dBm, and the lock."""

from __future__ import annotations

import pytest

from photonlink.drivers.keysight.n777x import N777x
from photonlink.hal.errors import InstrumentError
from photonlink.hal.testing import expected_dialogue


def told(command: str, back: str = "", value: str = "") -> str:
    read = f"> {back}\\n\n< {value}\\n\n" if back else ""
    return f'> {command}\\n\n> SYST:ERR?\\n\n< 0,"No error"\\n\n{read}'


OPENING = (
    "> *IDN?\\n\n< Keysight Technologies,N7776C,MY1,1.0\\n\n"
    + told("SOUR0:POW:UNIT 0")
    + told("SOUR0:POW:STAT 0", "SOUR0:POW:STAT?", "0")
)


async def test_nanometres_are_metres_on_the_wire() -> None:
    talk = OPENING + told("SOUR0:WAV 1.55e-06", "SOUR0:WAV?", "+1.55000000E-006")
    async with expected_dialogue(N777x, talk) as laser:
        await laser.open()
        await laser.set("wavelength_nm", 1550.0)


async def test_a_locked_laser_gives_no_light_until_it_is_unlocked() -> None:
    talk = (
        OPENING
        + "> :LOCK?\\n\n< 1\\n\n"
        + told(":LOCK 0,4711", ":LOCK?", "0")
        + "> :LOCK?\\n\n< 0\\n\n"
        + told("SOUR0:POW:STAT 1", "SOUR0:POW:STAT?", "1")
    )
    async with expected_dialogue(N777x, talk, lock_code="4711") as laser:
        await laser.open()
        with pytest.raises(InstrumentError, match="locked"):
            await laser.set_emission(True)
        await laser.set("locked", False)
        await laser.set_emission(True)
