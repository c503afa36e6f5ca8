"""ITLA and PPCL: frames, strings, error messages, an echo that must not count as reply."""

from __future__ import annotations

import pytest

from photonlink.drivers.oif.itla import ItlaModule
from photonlink.drivers.purephotonics.ppcl import Ppcl
from photonlink.hal.codecs.frames import bip4
from photonlink.hal.errors import IdentityError, InstrumentError
from photonlink.hal.testing import expected_dialogue


def frame(first: int, register: int, data: int) -> str:
    """A frame in the notation of a conversation."""
    body = bytes([first, register, data >> 8 & 0xFF, data & 0xFF])
    return "".join(f"\\x{b:02x}" for b in bytes([bip4(body) << 4 | body[0], *body[1:]]))


def talk(register: int, reply: int = 0, *, data: int = 0, write: bool = False, status: int = 0):  # type: ignore[no-untyped-def]
    return f"> {frame(int(write), register, data)}\n< {frame(4 | status, register, reply)}\n"


def string(register: int, text: str) -> str:
    raw = text.encode() + b"\0"
    pairs = [raw[i : i + 2].ljust(2, b"\0") for i in range(0, len(raw), 2)]
    return talk(register, len(raw), status=2) + "".join(
        talk(0x0B, int.from_bytes(pair, "big")) for pair in pairs
    )


def opening(kind: str = "CW ITLA") -> str:
    said = talk(0x00, 0x10) + string(0x01, kind)
    if "ITLA" in kind:
        said += string(2, "ACME") + string(3, "TL1") + string(4, "S1") + string(6, "1.0")
        said += talk(0x32, write=True) + talk(0x32)
    return said


async def test_opening_reads_strings_and_clears_sena() -> None:
    async with expected_dialogue(ItlaModule, opening()) as laser:
        identity = await laser.open()
        assert (identity.vendor, identity.model, identity.serial) == ("ACME", "TL1", "S1")
        command = laser.dark_command()
        assert command is not None
        assert command.data == bytes.fromhex("01320000") * 3


async def test_frequency_power_and_pending_operations() -> None:
    said = (
        opening()
        + talk(0x35, 193, data=193, write=True)
        + talk(0x36, 4145, data=4145, write=True)
        + talk(0x30, 1, data=1, write=True)
        + talk(0x40, 193) + talk(0x41, 4145)
        + talk(0x31, 0xFF38, data=0xFF38, write=True)
        + talk(0x31, 0xFF38)
        + talk(0x20) + talk(0x20)
        + talk(0x32, 8, data=8, write=True, status=3)
        + talk(0x00, 0x0110) + talk(0x00, 0x0010)
        + talk(0x32, 8)
    )  # fmt: skip
    async with expected_dialogue(ItlaModule, said) as laser:
        await laser.open()
        await laser.set("frequency_thz", 193.4145)
        await laser.set("power_dbm", -2.0)
        await laser.set_emission(True)


async def test_a_refusal_is_told_in_the_agreement_s_words() -> None:
    said = opening() + talk(0x62, 0, data=7000, write=True, status=1) + talk(0x00, 0x13)
    async with expected_dialogue(ItlaModule, said) as laser:
        await laser.open()
        with pytest.raises(InstrumentError, match="out of range"):
            await laser.set("fine_tuning_mhz", 7000)


async def test_an_echo_is_no_reply() -> None:
    said = opening() + f"> {frame(0, 0x43, 0)}\n< {frame(0, 0x43, 0)}{frame(4, 0x43, 2512)}\n"
    async with expected_dialogue(ItlaModule, said) as laser:
        await laser.open()
        assert await laser.temperature_c() == 25.12


async def test_another_module() -> None:
    async with expected_dialogue(ItlaModule, opening("EDFA")) as laser:
        with pytest.raises(IdentityError, match="EDFA"):
            await laser.open()


async def test_the_disable_line_forbids_light() -> None:
    async with expected_dialogue(ItlaModule, opening() + talk(0x20, 1 << 12)) as laser:
        await laser.open()
        with pytest.raises(InstrumentError, match="disable line"):
            await laser.set_emission(True)


async def test_noise_mode_of_a_ppcl() -> None:
    said = opening() + talk(0x90, 2, data=2, write=True) + talk(0x90, 2)
    async with expected_dialogue(Ppcl, said) as laser:
        await laser.open()
        await laser.set("noise_mode", 2)


def test_the_baud_rate_is_the_agreement_s_unless_the_address_says_another() -> None:
    for address, baud in (("serial:///dev/x", 9600), ("serial:///dev/x?baud=115200", 115200)):
        laser = ItlaModule("l", address, ItlaModule.Settings())
        assert laser.codec.link.address.number("baud", 0) == baud
