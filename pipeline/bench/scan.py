"""Lists plugged-in devices, the fitting drivers, and the processes that hold them. Passive unless a
probe is requested.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from photonlink.hal.discovery import PluggedIn, fits, plugged_in
from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.facets import Identity
from photonlink.hal.hotplug import plug_events
from photonlink.hal.opening import look_at
from photonlink.hal.ownership import Owner, owner_of, owners
from photonlink.hal.registry import registry
from photonlink.pipeline.bench.target import direct_entry

PROBE_S = 3.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One device. drivers: ids whose registration fits it. owner: the process that holds it.

    sent: what a probe sent to it. identity, refusal: what the probe found.
    """

    device: PluggedIn
    drivers: tuple[str, ...]
    owner: Owner | None = None
    sent: tuple[bytes, ...] = ()
    identity: Identity | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """devices: what the kernel knows. held: instruments held by this project's programs, on any
    link.
    """

    devices: tuple[Seen, ...]
    held: tuple[Owner, ...] = field(default_factory=tuple)


def scan(root: Path = Path("/")) -> Scan:
    """Read what the kernel knows; nothing is opened. root: of another tree than this machine's."""
    drivers = registry().drivers
    seen = []
    for device in plugged_in(root / "sys", root / "dev"):
        fitting = tuple(d.id for d in drivers.values() if fits(device, d))
        owner = owner_of(device.address) if device.address else None
        seen.append(Seen(device, fitting, owner))
    return Scan(tuple(seen), tuple(owners()))


async def probe(found: Scan, about_to: Callable[[Seen, str], None]) -> Scan:
    """Send each serial device the identification query of each driver that fits.

    about_to: called before anything is sent to a device. A device that is held, or that fits no
    driver, is left alone. What was sent is in the result.
    """
    return Scan(tuple([await _probe(seen, about_to) for seen in found.devices]), found.held)


async def _probe(seen: Seen, about_to: Callable[[Seen, str], None]) -> Seen:
    if seen.owner is not None or not seen.device.address:
        return seen
    refusals, sent = [], []

    def tap(_: str, direction: str, data: bytes) -> None:
        if direction == ">":
            sent.append(data)

    for driver in seen.drivers:
        about_to(seen, driver)
        entry = direct_entry(driver, seen.device.address)
        try:
            async with asyncio.timeout(PROBE_S), look_at(driver, entry, tap=tap) as (_, known):
                return Seen(seen.device, (driver,), None, tuple(sent), known.identity)
        except (PhotonlinkError, TimeoutError) as error:
            refusals.append(str(error) or "no answer in time")
    return Seen(seen.device, seen.drivers, None, tuple(sent), None, "; ".join(refusals))


def as_json(found: Scan) -> Mapping[str, object]:
    """For programs."""
    return {
        "devices": [
            {
                "address": s.device.address,
                "usb_id": s.device.usb_id,
                "manufacturer": s.device.manufacturer,
                "product": s.device.product,
                "serial": s.device.serial,
                "drivers": list(s.drivers),
                "held_by": s.owner.pid if s.owner else None,
                "sent": [data.hex() for data in s.sent],
                "identity": _identity(s.identity),
                "refusal": s.refusal,
            }
            for s in found.devices
        ],
        "held": [{"address": o.address, "instrument": o.instrument, "pid": o.pid}
                 for o in found.held],
    }  # fmt: skip


def _identity(identity: Identity | None) -> dict[str, str] | None:
    if identity is None:
        return None
    return {"vendor": identity.vendor, "model": identity.model, "serial": identity.serial}


def lines(found: Scan) -> Iterable[str]:
    """For people: one device a line, what fits it, who holds it."""
    if not found.devices:
        yield "nothing is plugged in by USB"
    for s in found.devices:
        d = s.device
        yield f"{d.address or 'usb ' + d.usb_id}  {d.manufacturer} {d.product} {d.serial}".rstrip()
        if s.identity is not None:
            i = s.identity
            yield f"    is {i.vendor} {i.model}, serial number {i.serial}: {s.drivers[0]}"
        elif s.drivers:
            yield f"    fits {', '.join(s.drivers)}" + (f"; {s.refusal}" if s.refusal else "")
        else:
            yield "    no driver names this device"
        if s.owner is not None:
            yield f"    open in {s.owner}"
    for owner in found.held:
        yield f"{owner.address}  {owner.instrument}, open in {owner}"


async def follow(say: Callable[[str], None]) -> None:
    """Until cancelled: report each device that is plugged in or out, with the next step for a new
    one.
    """
    drivers = registry().drivers
    async with contextlib.aclosing(plug_events()) as events:
        async for event in events:
            device = event.device
            name = f"{device.manufacturer} {device.product} {device.serial}".strip()
            where = device.address or f"usb {device.usb_id}"
            fitting = [d.id for d in drivers.values() if fits(device, d)]
            if not event.came:
                say(f"gone: {where}  {name}")
            elif fitting:
                say(f"came: {where}  {name}: fits {', '.join(fitting)}")
                say("    to use it: photonlink station from-scan FILE, or its address in yours")
            else:
                say(f"came: {where}  {name}: no driver names this device")
