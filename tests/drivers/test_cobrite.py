"""CoBrite: every command has an answer and names the laser; the driver waits while it is busy."""

from __future__ import annotations

import pytest

from photonlink.drivers.idphotonics.cobrite import Cobrite
from photonlink.hal.errors import IdentityError, InstrumentError
from photonlink.hal.testing import expected_dialogue

OPENING = """
> *IDN?;
< ID Photonics,CoBrite-DX4,0042,3.1;
> TYP? 1,2,3;
< GC;
> STAT 1,2,3,0;
< OK;
> BUSY? 1,2,3;
< 0;
> STAT? 1,2,3;
< 0;
"""
TUNE = """
> WAV 1,2,3,1550.12;
< OK;
> BUSY? 1,2,3;
< 1;
> BUSY? 1,2,3;
< 0;
> WAV? 1,2,3;
< 1550.1200;
> MON? 1,2,3;
< 30.5,28.1,125.0,-80.0;
"""


async def test_one_laser_of_a_chassis() -> None:
    async with expected_dialogue(Cobrite, OPENING + TUNE, laser="1,2,3") as laser:
        identity = await laser.open()
        assert (identity.model, identity.serial) == ("CoBrite-DX4", "0042")
        await laser.set("wavelength_nm", 1550.12)
        assert await laser.get("tec_current_a") == -0.08
        command = laser.dark_command()
        assert command is not None
        assert command.data == b";STAT 1,2,3,0;"


async def test_a_refusal_is_an_error_and_the_next_question_has_its_answer() -> None:
    talk = "> POW 1,1,1,19.0;\n< ERR 100, POW: out of range;\n> POW? 1,1,1;\n< 10.00;\n"
    async with expected_dialogue(Cobrite, talk) as laser:
        await laser.connect()
        with pytest.raises(InstrumentError, match="refused"):
            await laser.set("power_dbm", 19.0)
        assert await laser.get("power_dbm") == 10.0


async def test_another_instrument() -> None:
    async with expected_dialogue(Cobrite, "> *IDN?;\n< ACME,One,1,1;\n") as laser:
        with pytest.raises(IdentityError, match="ACME"):
            await laser.open()
