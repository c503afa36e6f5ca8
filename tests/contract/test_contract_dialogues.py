"""Conversations in ``dialogues/<driver id>.txt``, played against the emulators.

Lines with ``>`` are what the driver sends, so that driver and emulator are tested against the same
text and no third implementation is needed. The format is that of ``hal.testing``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contract_cases import CASES

from photonlink.hal.links import Address
from photonlink.hal.registry import load_driver
from photonlink.hal.testing import dialogue, play

TALK = {
    path.stem: path.read_text(encoding="utf-8")
    for path in (Path(__file__).parent / "dialogues").glob("*.txt")
}


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].id in TALK])
async def test_the_emulator_speaks_the_driver_s_dialect(program: Any, name: str) -> None:
    own: Any = load_driver(CASES[name].id)  # options of the address that no link takes
    address = Address.parse(program.addresses[name]).without(*own.OPTIONS).uri
    assert await play(TALK[CASES[name].id], address) == []


async def test_a_dialogue_that_differs_is_noticed(program: Any) -> None:
    wrong = TALK["sfifteen.irspd1"].replace("SPD", "TDC1")
    assert await play(wrong, program.addresses["alice-h"], timeout_s=0.3) != []


def test_every_instrument_on_a_stream_has_a_dialogue() -> None:
    asked = {e.id for e in CASES.values() if {"tcp", "serial"} & set(e.transports)}
    assert asked == set(TALK)
    assert all(any(said.sent for said in dialogue(text)) for text in TALK.values())
