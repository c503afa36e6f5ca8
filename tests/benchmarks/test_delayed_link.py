"""The link of the benchmarks: the delay is kept, no byte is lost, and its end is noticed."""

from __future__ import annotations

import importlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    return importlib.import_module("benchmarks.delayed_link")


def pair(module: Any, delay_s: float | None) -> tuple[Any, Any]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        mine = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    return module.DelayedLink(mine, delay_s), module.DelayedLink(theirs, delay_s)


@pytest.mark.parametrize("delay_s", [None, 0.0, 0.002])
def test_every_byte_arrives_in_order(module: Any, delay_s: float | None) -> None:
    left, right = pair(module, delay_s)
    wanted = bytes(range(251)) * 20_000  # more than the socket holds
    got, sent = bytearray(), 0
    deadline = time.monotonic() + 20
    while len(got) < len(wanted) and time.monotonic() < deadline:
        room = left.room()
        part = wanted[sent : sent + min(70_001, max(0, len(room) - (1 << 20)))]
        room[: len(part)] = part
        left.commit(len(part))
        sent += len(part)
        left.pump(False)
        right.pump(False)
        data = right.data()[: 50_000 + len(got) % 7]
        got += data
        right.use(len(data))
    assert got == wanted
    left.close()
    with pytest.raises(module.LinkClosed):
        right.pump(True)
    right.close()


def test_nothing_is_seen_before_its_time(module: Any) -> None:
    left, right = pair(module, 0.05)
    left.room()[:3] = b"key"
    begin = time.monotonic()
    left.commit(3)
    while not len(right.data()):
        right.pump(True)
        assert not len(right.data()) or time.monotonic() - begin >= 0.05
    assert bytes(right.data()) == b"key"
    left.close()
    right.close()
