"""Reports devices that are plugged in or out: changes of :func:`hal.discovery.plugged_in`.

The kernel's events (pyudev, Linux) only trigger a new listing; without them the list is read every
second. No device is opened, and a new device does not join the bench by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photonlink.hal.discovery import PluggedIn, plugged_in

POLL_S = 1.0
SETTLE_S = 0.3  # between an event and its links in /dev
SUBSYSTEMS = ("tty", "usb")


@dataclass(frozen=True, slots=True)
class PlugEvent:
    """A device that was plugged in (``came``) or out."""

    device: PluggedIn
    came: bool


async def plug_events(
    sysfs: Path = Path("/sys"), dev: Path = Path("/dev"), *, poll_s: float = POLL_S
) -> AsyncGenerator[PlugEvent, None]:
    """Changes from now on, until the consumer closes the generator."""
    known = set(await asyncio.to_thread(plugged_in, sysfs, dev))
    woken = asyncio.Event()
    with _kernel_events(woken) as heard:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10 * poll_s if heard else poll_s):
                    await woken.wait()
                    await asyncio.sleep(min(SETTLE_S, poll_s))
            woken.clear()
            now = set(await asyncio.to_thread(plugged_in, sysfs, dev))
            for device in sorted(known - now, key=str):
                yield PlugEvent(device, False)
            for device in sorted(now - known, key=str):
                yield PlugEvent(device, True)
            known = now


@contextlib.contextmanager
def _kernel_events(woken: asyncio.Event) -> Iterator[bool]:
    """Sets ``woken`` with each event of the kernel; False where there are no events."""
    monitor = _monitor()
    if monitor is None:
        yield False
        return
    loop = asyncio.get_running_loop()

    def heard() -> None:
        while monitor.poll(timeout=0) is not None:
            woken.set()

    try:
        loop.add_reader(monitor.fileno(), heard)
    except (NotImplementedError, OSError):
        yield False
        return
    try:
        yield True
    finally:
        loop.remove_reader(monitor.fileno())


def _monitor() -> Any:
    """A running monitor of udev's events; None without pyudev, libudev or the kernel's socket."""
    try:
        import pyudev

        monitor: Any = pyudev.Monitor.from_netlink(pyudev.Context())
        for subsystem in SUBSYSTEMS:
            monitor.filter_by(subsystem)
        monitor.start()
    except Exception:  # noqa: BLE001 - whatever is missing, looking every second does it too
        return None
    return monitor
