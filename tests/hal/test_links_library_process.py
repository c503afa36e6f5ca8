"""A vendor's library in a separate process: the same answers; repeated opening; killing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from vendor_c import PROTOTYPES, build

from photonlink.hal.errors import (
    InstrumentError,
    LinkClosed,
    LinkError,
    LinkNotFound,
    LinkTimeout,
    StationError,
)
from photonlink.hal.links.address import Address
from photonlink.hal.links.prototypes import Function, Prototypes
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.tags import Provenance

ONCE = """
#include <stdio.h>
#include <stdlib.h>
static int opened;
int X_Open(int device) { if (opened++) abort(); puts("hello"); return device; }
int X_Abort(void) { abort(); }
char *X_Name(int code) { return code == 3 ? "three" : ""; }
int SIM_IsEmulator(void) { return 1; }
"""
TABLE = Prototypes(
    (
        *PROTOTYPES.functions,
        Function("X_Open", "int device"),
        Function("X_Abort"),
        Function("X_Name", "int code", returns="char *", value=True),
    ),
    error_text="X_Text",
)


def apart(path: Path, table: Prototypes = TABLE) -> VendorLibrary:
    return VendorLibrary(Address.parse(f"lib://{path}#process=own"), table)


async def test_it_answers_as_the_library_does_and_opens_again(tmp_path: Path) -> None:
    """The library's prints are not answers; opening it twice in one process would abort."""
    library = apart(build(tmp_path, ONCE))
    for device in (4, 5):
        await library.connect()
        assert library.provenance is Provenance.EMULATED
        assert await library.call("X_Open", device) == device
        assert await library.call("X_Fill", "seven..", 3) == (7.5, [0, 1, 4, 0])
        assert await library.call("X_Name", 3) == "three"
        assert await library.run(lambda: library.attempt("X_Text", -7)) == (0, ("no device",))
        with pytest.raises(InstrumentError, match=r"no device \(-7\)"):
            await library.call("X_Add", -3, -4)
        with pytest.raises(TypeError):
            await library.call("X_Add", "one", 2)
        assert await library.call("X_Add", 1, 2) == 3
        await library.close()
        assert not library.is_open


async def test_a_library_that_takes_its_process_down_is_a_lost_instrument(tmp_path: Path) -> None:
    library = apart(build(tmp_path, ONCE))
    await library.connect()
    with pytest.raises(LinkClosed, match="ended its process"):
        await library.call("X_Abort")
    with pytest.raises(LinkClosed):
        await library.call("X_Add", 1, 2)
    await library.close()
    await library.connect()
    assert await library.call("X_Add", 1, 2) == 3
    await library.close()


async def test_a_call_that_hangs_ends_with_its_process(tmp_path: Path) -> None:
    library = apart(build(tmp_path, ONCE))
    await library.connect()
    assert library._process is not None
    child = library._process._process
    with pytest.raises(LinkTimeout):
        await library.call("X_Sleep", 3_600_000, timeout_s=0.1)
    os.kill(child.pid, signal.SIGSTOP)  # nor can it react to the end of its input
    await library.close()
    assert child.returncode is not None
    await library.connect()
    assert await library.call("X_Add", 1, 2) == 3
    await library.close()


async def test_what_keeps_it_closed_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(LinkNotFound, match="cannot be loaded"):
        await apart(tmp_path / "text.so").connect()
    library = apart(build(tmp_path, ONCE), Prototypes((*TABLE.functions, Function("X_New"))))
    with pytest.raises(LinkError, match="lacks X_New"):
        await library.connect()
    assert library._process is None
    await library.close()


def test_only_libraries_know_the_option() -> None:
    assert Address.parse("lib:///opt/x.so#process=own").only("serial")
    with pytest.raises(StationError, match="process"):
        Address.parse("tcp://host:1#process=own").only()


async def test_the_child_ends_with_its_parent_s_end_of_the_pipe(tmp_path: Path) -> None:
    library = apart(build(tmp_path, ONCE))
    await library.connect()
    assert library._process is not None
    child = library._process._process
    assert child.stdin is not None
    child.stdin.close()
    await asyncio.to_thread(child.wait, 60)
    assert child.returncode == 0
    await library.close()
