"""Vendor libraries: search, completeness, one thread, the library's error texts, deadlines."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from vendor_c import PROTOTYPES, build

from photonlink.hal.errors import (
    InstrumentError,
    LinkClosed,
    LinkError,
    LinkNotFound,
    LinkTimeout,
)
from photonlink.hal.links.address import Address
from photonlink.hal.links.owner_thread import OwnerThread
from photonlink.hal.links.prototypes import Function, Prototypes
from photonlink.hal.links.vendor_library import VendorLibrary
from photonlink.hal.tags import Provenance


def open_at(path: Path | str, prototypes: Prototypes = PROTOTYPES) -> VendorLibrary:
    return VendorLibrary(Address.parse(f"lib://{path}"), prototypes)


async def test_outputs_strings_arrays_and_status_rules_are_declared(tmp_path: Path) -> None:
    library = open_at(build(tmp_path))
    await library.connect()
    assert await library.call("X_Fill", "seven..", 3) == (7.5, [0, 1, 4, 0])
    assert await library.call("X_Text", -7) == "no device"
    assert await library.call("X_Version") == -42, "a value, no status"
    with pytest.raises(InstrumentError, match=r"X_Busy: \? \(7\)"):
        await library.call("X_Busy")
    assert await library.run(lambda: library.attempt("X_Text", 0)) == (0, ("?",))
    await library.close()


@pytest.mark.parametrize("text", ["int", "out text[n] name", "out", "int a b[3]"])
def test_an_unreadable_argument_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="unreadable argument"):
        _ = Function("X", text).prototype


async def test_calls_errors_and_provenance(tmp_path: Path) -> None:
    library = open_at(build(tmp_path))
    with pytest.raises(LinkClosed):
        await library.call("X_Add", 1, 2)
    await library.connect()
    assert await library.call("X_Add", 1, 2) == 3
    assert library.provenance is Provenance.REAL
    with pytest.raises(InstrumentError, match="X_Add: no device") as caught:
        await library.call("X_Add", -3, -4)
    assert caught.value.seen == "-7"
    await library.close()
    assert not library.is_open


async def test_a_stand_in_cannot_pass_for_real(tmp_path: Path) -> None:
    library = open_at(build(tmp_path, "int SIM_IsEmulator(void) { return 1; }"))
    await library.connect()
    assert library.provenance is Provenance.EMULATED
    await library.close()


async def test_missing_library_wrong_file_missing_function(tmp_path: Path) -> None:
    with pytest.raises(LinkNotFound, match="no such library"):
        await open_at(tmp_path / "libnone.so").connect()
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(LinkNotFound, match="cannot be loaded"):
        await open_at(tmp_path / "text.so").connect()
    newer = (Function("X_New", "int a"), Function("X_Newer"))
    more = Prototypes((*PROTOTYPES.functions, *newer))
    library = open_at(build(tmp_path), more)
    with pytest.raises(LinkError, match="lacks X_New, X_Newer"):
        await library.connect()
    await library.close()


async def test_a_hanging_call_ends_at_its_deadline_and_the_loop_goes_on(tmp_path: Path) -> None:
    library = open_at(build(tmp_path))
    await library.connect()
    turns = 0

    async def ticks() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    ticking = asyncio.create_task(ticks())
    with pytest.raises(LinkTimeout, match=r"0\.1 s"):
        await library.call("X_Sleep", 400, timeout_s=0.1)
    assert turns > 3
    with pytest.raises(LinkTimeout):  # waits for the hanging call until its own deadline
        await library.call("X_Add", 1, 1, timeout_s=0.05)
    assert await library.call("X_Add", 1, 1, timeout_s=5.0) == 2
    ticking.cancel()
    await library.close()


async def test_one_thread_for_all_calls_and_abandoned_calls_are_not_made() -> None:
    owner, threads, made = OwnerThread("test"), set(), []

    def note(number: int) -> int:
        threads.add(threading.get_ident())
        made.append(number)
        return number

    assert await asyncio.gather(*(owner.run(lambda n=n: note(n), 5.0) for n in range(50))) == list(
        range(50)
    )
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    made.clear()
    slow = asyncio.create_task(owner.run(lambda: time.sleep(0.15), 5.0))
    await asyncio.sleep(0.02)
    assert owner.busy
    with pytest.raises(LinkTimeout):
        await owner.run(lambda: note(1), 0.02)
    await slow
    assert await owner.run(lambda: note(2), 5.0) == 2
    assert made == [2]
    owner.stop()


async def test_a_thread_that_hangs_is_never_joined_by_a_second_one() -> None:
    owner, inside, most = OwnerThread("test"), 0, 0

    def work(seconds: float) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(seconds)
        inside -= 1

    with pytest.raises(LinkTimeout):
        await owner.run(lambda: work(0.3), 0.02)
    owner.stop()  # closed and opened again while the old call still hangs
    with pytest.raises(LinkTimeout):
        await owner.run(lambda: work(0.0), 0.02)
    await owner.run(lambda: work(0.0), 5.0)
    assert most == 1
    owner.stop()


async def test_what_a_call_raises_reaches_its_caller() -> None:
    owner: Any = OwnerThread("test")

    def fail(error: BaseException) -> None:
        raise error

    for error, expected in (
        (ZeroDivisionError("x"), ZeroDivisionError),
        (SystemExit(), LinkClosed),
    ):
        with pytest.raises(expected):
            await owner.run(lambda error=error: fail(error), 5.0)
    assert await owner.run(lambda: 1, 5.0) == 1, "the thread lives on"
    with pytest.raises(TimeoutError) as own:
        await owner.run(lambda: fail(TimeoutError("the call's own")), 5.0)
    assert str(own.value) == "the call's own"
    owner.stop()
