"""CLD1015 and ITC4000: opening, the driver's own limit, interlocks, VISA's dark command."""

from __future__ import annotations

import pytest

from photonlink.drivers.thorlabs.cld1015 import Cld1015
from photonlink.drivers.thorlabs.itc4000 import Itc4000
from photonlink.hal.errors import IdentityError, InstrumentError, LimitError
from photonlink.hal.testing import expected_dialogue


def told(command: str, back: str, value: str) -> str:
    return f'> {command}\\n\n> SYST:ERR?\\n\n< 0,"No error"\\n\n> {back}\\n\n< {value}\\n\n'


OFF = told("OUTP1:STAT 0", "OUTP1:STAT?", "0")
CLD = "> *IDN?\\n\n< THORLABS,CLD1015,M00123456,1.4.0/1.6.0\\n\n" + OFF
ITC = "> *IDN?\\n\n< THORLABS,ITC4020,E12345678,1.4.0/2.0.3/1.6.0\\n\n" + OFF


async def test_the_current_keeps_within_the_limit_of_the_driver() -> None:
    limit = "> SOUR1:CURR:LIM:AMPL?\\n\n< 1.00000E-01\\n\n"
    talk = CLD + limit * 2 + told("SOUR1:CURR:LEV:AMPL 0.08", "SOUR1:CURR:LEV:AMPL?", "8.0E-02")
    async with expected_dialogue(Cld1015, talk) as laser:
        assert (await laser.open()).serial == "M00123456"
        with pytest.raises(LimitError, match=r"outside 0…0\.1"):
            await laser.set("current_a", 0.2)
        await laser.set("current_a", 0.08)


async def test_a_locked_key_forbids_light() -> None:
    async with expected_dialogue(Itc4000, ITC + "> OUTP1:PROT:KEYL:TRIP?\\n\n< 1\\n\n") as laser:
        assert (await laser.open()).firmware == "1.4.0/2.0.3/1.6.0"
        with pytest.raises(InstrumentError, match="key switch"):
            await laser.set_emission(True)


async def test_another_model() -> None:
    async with expected_dialogue(Itc4000, CLD.split(OFF)[0]) as laser:
        with pytest.raises(IdentityError, match="CLD1015"):
            await laser.open()


def test_over_visa_the_guard_runs_the_driver() -> None:
    address = "visa:USB0::0x1313::0x804F::M1::INSTR"
    laser = Cld1015("l", address, Cld1015.Settings(current_a=0.05))
    command = laser.dark_command()
    assert command is not None
    assert command.data == b""
    assert command.program[:2] == ("photonlink.drivers.thorlabs.cld1015:Cld1015", address)
