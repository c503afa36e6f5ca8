"""A program as a link: its output, its end, no process left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from photonlink.hal.errors import (
    LinkClosed,
    LinkDesync,
    LinkNotFound,
    LinkPermission,
    LinkTimeout,
    StationError,
)
from photonlink.hal.links import Address, make_link
from photonlink.hal.links.program import ProgramLink

PROGRAM = """#!{python} -IS
import os, sys, time
print(os.getpid(), file=open({pid!r}, "w"))
match sys.argv[1]:
    case "say": print(*sys.argv[2:])
    case "hang": time.sleep(60)
    case "stubborn":
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("here", flush=True)
        time.sleep(60)
    case "fail":
        print("half a reply")
        sys.exit("506 Cannot talk to daemon")
    case "flood":
        while True: os.write(1, b"x" * 65536)
"""


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "pid"


@pytest.fixture
async def link(tmp_path: Path, pid_file: Path) -> Any:
    path = tmp_path / "program"
    path.write_text(PROGRAM.format(python=sys.executable, pid=str(pid_file)))
    path.chmod(0o755)
    made = make_link(f"program://{path}")
    await made.open(1.0)
    yield made
    await made.close()


def gone(pid_file: Path) -> bool:
    """Whether the program has ended; also True when it ended before it wrote its PID."""
    try:
        os.kill(int(pid_file.read_text() or 2**22), 0)
    except (ProcessLookupError, FileNotFoundError):
        return True
    return False


async def ask(link: ProgramLink, *arguments: str, timeout_s: float = 10.0) -> bytes:
    async with link.transaction(lambda: asyncio.sleep(0)):
        await link.send("\0".join(arguments).encode(), timeout_s)
        return await link.receive(timeout_s)


async def test_arguments_arrive_whole_and_the_reply_is_what_was_printed(link: Any) -> None:
    assert (
        await ask(link, "say", "GET TIME_STATUS_NP", "ü;$HOME")
        == "GET TIME_STATUS_NP ü;$HOME\n".encode()
    )
    assert await ask(link, "say", "again") == b"again\n"


async def test_a_program_that_does_not_end_is_ended(link: Any, pid_file: Path) -> None:
    with pytest.raises(LinkTimeout, match="no end of the program"):
        await ask(link, "hang", timeout_s=0.5)
    assert gone(pid_file)
    assert await ask(link, "say", "well") == b"well\n"


async def test_one_that_fails_is_a_closed_link_and_says_why(link: Any) -> None:
    with pytest.raises(LinkClosed, match="506 Cannot talk to daemon"):
        await ask(link, "fail")
    assert not link.is_open
    await link.open(1.0)
    assert await ask(link, "say", "back") == b"back\n"


async def test_one_that_prints_without_end_is_stopped(link: Any, pid_file: Path) -> None:
    with pytest.raises(LinkDesync, match="without end"):
        await ask(link, "flood")
    assert gone(pid_file)


async def test_a_cancelled_question_leaves_no_program(link: Any, pid_file: Path) -> None:
    asking = asyncio.create_task(ask(link, "hang"))
    await asyncio.sleep(0.3)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert gone(pid_file)


async def test_a_stream_is_held_back_and_ends_when_it_is_stopped(link: Any, pid_file: Path) -> None:
    stream = await link.start(["flood"])
    assert len(await stream.read_exactly(1 << 20, 10.0)) == 1 << 20
    await asyncio.sleep(0.2)
    assert stream.pending <= stream.HIGH_WATER + (1 << 18), "a slow reader holds the program back"
    await link.halt()
    assert gone(pid_file)
    with pytest.raises(LinkClosed, match="closed"):
        await stream.read_exactly(1 << 30, 1.0)


async def test_a_program_that_does_not_obey_is_killed(link: Any, pid_file: Path) -> None:
    stream = await link.start(["stubborn"])
    assert await stream.read_exactly(5, 10.0) == b"here\n"
    await link.close()
    assert gone(pid_file)


async def test_the_end_of_a_stream_has_the_program_s_last_words(link: Any) -> None:
    stream = await link.start(["fail"])
    assert await stream.read_until(b"\n", 10.0) == b"half a reply\n"
    with pytest.raises(LinkClosed, match="status 1: 506 Cannot talk"):
        await stream.read_exactly(1, 10.0)


async def test_what_is_no_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinkNotFound, match="no such program"):
        await make_link(f"program://{tmp_path}/absent").open(1.0)
    (tmp_path / "text").write_text("no program")
    with pytest.raises(LinkPermission):
        await make_link(f"program://{tmp_path}/text").open(1.0)
    with pytest.raises(LinkPermission):
        await make_link(f"program://{tmp_path}").open(1.0)
    with pytest.raises(StationError, match="absolute path"):
        Address.parse("program://chronyc")
