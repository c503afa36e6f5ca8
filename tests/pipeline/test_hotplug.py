"""Devices plugged in at run time are reported and offered, not used; discovery on the network."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from photonlink.hal.discovery import PluggedIn, plugged_in
from photonlink.hal.hotplug import PlugEvent, plug_events
from photonlink.hal.opening import Bench
from photonlink.hal.registry import registry
from photonlink.hal.station import InstrumentEntry, Match
from photonlink.pipeline.bench.network import Question, ask_network, questions
from photonlink.pipeline.node.plugged import offer

MOCKED = Path(__file__).parents[1] / "hal" / "mocked_plugs.py"
TDC1 = PluggedIn("serial:///dev/ttyACM7", "04b4:00a0", "S-Fifteen Instruments", "TDC1", "0042")


@pytest.mark.skipif(
    shutil.which("umockdev-wrapper") is None, reason="umockdev is not installed (apt: umockdev)"
)
def test_a_mocked_device_is_seen_to_come_and_go() -> None:
    done = subprocess.run(
        ["umockdev-wrapper", sys.executable, str(MOCKED)],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kernel events: True" in done.stdout
    assert re.search(r"came: True .*serial='TDC1-0042'", done.stdout)
    assert "fits sfifteen.irspd1, sfifteen.tdc1" in done.stdout
    assert re.search(r"came: False .*serial='TDC1-0042'", done.stdout)


def tree(root: Path) -> tuple[Path, Path]:
    """The sysfs tree of a USB device on a machine without udev."""
    usb = root / "sys/bus/usb/devices/1-1"
    usb.mkdir(parents=True)
    for name, text in (
        ("idVendor", "0e0d"), ("idProduct", "0013"), ("bDeviceClass", "ff"), ("serial", "1045678"),
        ("product", "MultiHarp"), ("manufacturer", "PicoQuant"),
    ):  # fmt: skip
        (usb / name).write_text(text + "\n")
    (root / "dev").mkdir()
    return root / "sys", root / "dev"


async def test_without_kernel_events_it_is_looked_again_and_again(tmp_path: Path) -> None:
    sysfs, dev = tree(tmp_path)
    away = tmp_path / "away"
    (sysfs / "bus/usb/devices/1-1").rename(away)
    async with contextlib.aclosing(plug_events(sysfs, dev, poll_s=0.02)) as events:
        import asyncio

        coming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        away.rename(sysfs / "bus/usb/devices/1-1")
        event = await asyncio.wait_for(coming, 20)
        assert event == PlugEvent(plugged_in(sysfs, dev)[0], True)


def bench_with(chosen: str | None, *, serial: str | None = None) -> Bench:
    entry = InstrumentEntry(
        driver="sfifteen.tdc1", backend="auto", address=TDC1.address,
        emulator="serial:///tmp/x", match=Match(serial=serial),
    )  # fmt: skip
    bench = Bench({}, {}, {"tagger": entry})
    if chosen is not None:
        found: Any = type("R", (), {"chosen": chosen, "address": TDC1.address})()
        bench.resolutions["tagger"] = found
    return bench


@pytest.mark.parametrize(
    ("bench", "came", "said"),
    [
        (bench_with("emulator"), True, "Nothing is swapped while the node runs"),
        (bench_with(None), True, "may be tagger, which is missing and is looked for"),
        (bench_with("real"), True, "it is tagger, which is taken back"),
        (bench_with("emulator", serial="7"), True, "it fits sfifteen"),
        (bench_with("emulator"), False, "was unplugged"),
    ],
)
def test_what_comes_is_offered_in_words(bench: Bench, came: bool, said: str) -> None:
    before = dict(bench.resolutions)
    assert said in offer(bench, PlugEvent(TDC1, came))
    assert bench.resolutions == before


def test_what_no_driver_fits_is_not_announced() -> None:
    mouse = PluggedIn("", "046d:c077", "Logitech", "Mouse", "")
    assert offer(bench_with(None), PlugEvent(mouse, True)) == ""


@contextlib.contextmanager
def responder(*replies: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Answers each datagram on loopback with these replies."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)

        def answer() -> None:
            with contextlib.suppress(OSError):
                data, peer = sock.recvfrom(1024)
                heard.append(data)
                for reply in replies:
                    sock.sendto(reply, peer)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield sock.getsockname()[1], heard
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"", sock.getsockname())
            thread.join()


REPLIES = {
    "toptica.dlc_pro": b'("012345" "DLC pro" "2.0.3" "00:11" "" "lab" 0 "127.0.0.1" 1998 1999)',
    "swabian.pulse_streamer": b'PS-DISCOVERY-REPLY{"serial": "00:26:32:f0", "name": "ps"}',
}


@pytest.mark.parametrize("driver", sorted(REPLIES))
async def test_an_instrument_on_the_network_names_itself(driver: str) -> None:
    question = next(q for q in questions() if q.driver == driver)
    with responder(b"noise", b"\xff" * 5000, REPLIES[driver], REPLIES[driver]) as (port, heard):
        asked = Question(driver, port, question.data, question.reply, question.address)
        found = await ask_network([asked], "127.0.0.1", 0.5)
    assert heard == [question.data]
    assert [a.driver for a in found] == [driver]
    assert found[0].serial in ("012345", "00:26:32:f0")
    assert found[0].address.startswith(("tcp://127.0.0.1:1998", "http://127.0.0.1"))


def test_every_question_of_the_registry_is_readable() -> None:
    assert {q.driver for q in questions()} == set(REPLIES)
    for question in questions():
        assert "serial" in re.compile(question.reply).groupindex
        assert "{host}" in question.address
        assert question.driver in registry().drivers
