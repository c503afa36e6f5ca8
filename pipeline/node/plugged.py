"""Devices that are plugged in while a node runs: announced and offered, never swapped in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from photonlink.hal import machine
from photonlink.hal.discovery import fits
from photonlink.hal.hotplug import PlugEvent, plug_events
from photonlink.hal.opening import Bench
from photonlink.hal.registry import registry


async def announce(bench: Bench, notice: Callable[[str], None]) -> None:
    """Until cancelled, report each device with a fitting driver that is plugged in or out."""
    if not machine.instruments_are_outside():
        await asyncio.Event().wait()
    async with contextlib.aclosing(plug_events()) as events:
        async for event in events:
            text = offer(bench, event)
            if text:
                notice(text)


def offer(bench: Bench, event: PlugEvent) -> str:
    """The sentence about a device; "" when no driver fits it."""
    device = event.device
    drivers = [d.id for d in registry().drivers.values() if fits(device, d)]
    if not drivers:
        return ""
    name = " ".join(part for part in (device.product, device.serial) if part) or device.usb_id
    if not event.came:
        return f"{name} was unplugged"
    said = f"{name} was plugged in{f' at {device.address}' if device.address else ''}"
    for own, entry in bench.entries.items():
        wanted = entry.match.serial
        if entry.driver not in drivers or (wanted and device.serial and wanted != device.serial):
            continue
        found = bench.resolutions.get(own)
        if found is None:
            return f"{said}: it may be {own}, which is missing and is looked for"
        if found.chosen == "emulator":
            return (
                f"{said}: it may be {own}, which runs on its emulator. Nothing is swapped while "
                "the node runs: start it again to take the device"
            )
        if found.address == device.address:
            return f"{said}: it is {own}, which is taken back by its serial number"
    return f"{said}: it fits {', '.join(drivers)}. To use it: photonlink station from-scan"
