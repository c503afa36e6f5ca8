"""Lists plugged-in devices passively: reads the kernel's data and opens no device.

Linux only (sysfs); elsewhere the list is empty. pyserial's ``list_ports`` is not used: it shows no
USB numbers for some ports and cannot be pointed at another tree for tests.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from photonlink.hal.registry import Registration

_ATTRIBUTES = ("product", "manufacturer", "serial")


@dataclass(frozen=True, slots=True)
class PluggedIn:
    """One device. ``address`` is what to write into a station file, "" when only the vendor's
    library can reach it. ``usb_id`` is ``vvvv:pppp`` or ""."""

    address: str
    usb_id: str
    manufacturer: str
    product: str
    serial: str


def plugged_in(sysfs: Path = Path("/sys"), dev: Path = Path("/dev")) -> list[PluggedIn]:
    """Serial ports on USB first, then the other USB devices (hubs left out)."""
    ports = list(_serial_ports(sysfs, dev))
    seen = {(port.usb_id, port.serial) for port in ports}
    others = [d for d in _usb_devices(sysfs) if (d.usb_id, d.serial) not in seen]
    return sorted(ports, key=lambda d: d.address) + sorted(others, key=lambda d: d.usb_id)


def _serial_ports(sysfs: Path, dev: Path) -> Iterator[PluggedIn]:
    names = _stable_names(dev)
    for entry in sorted((sysfs / "class" / "tty").glob("*")):
        device = entry / "device"
        if not device.exists():
            continue  # a console or a pty
        usb = _usb_parent(device.resolve())
        if usb is None:
            continue  # a port of the mainboard: present whether anything is plugged in or not
        path = names.get(entry.name, str(dev / entry.name))
        yield _describe(usb, f"serial://{path}")


def _stable_names(dev: Path) -> dict[str, str]:
    """Kernel name (``ttyACM0``) → a name that survives re-plugging."""
    names: dict[str, str] = {}
    for folder in (dev / "serial" / "by-id", dev / "photonlink"):
        for link in sorted(folder.glob("*")):
            if link.is_symlink():
                names[link.resolve().name] = str(link)
    return names


def _usb_devices(sysfs: Path) -> Iterator[PluggedIn]:
    for entry in sorted((sysfs / "bus" / "usb" / "devices").glob("*")):
        if (entry / "idVendor").is_file() and _read(entry / "bDeviceClass") != "09":
            yield _describe(entry, "")


def _usb_parent(path: Path) -> Path | None:
    for folder in (path, *path.parents):
        if (folder / "idVendor").is_file():
            return folder
    return None


def _describe(usb: Path, address: str) -> PluggedIn:
    return PluggedIn(
        address=address,
        usb_id=f"{_read(usb / 'idVendor')}:{_read(usb / 'idProduct')}",
        manufacturer=_read(usb / "manufacturer"),
        product=_read(usb / "product"),
        serial=_read(usb / "serial"),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def fits(device: PluggedIn, entry: Registration) -> bool:
    """Whether a registration's ``usb`` describes this device."""
    return any(_fits(device, usb) for usb in entry.usb)


def _fits(device: PluggedIn, usb: str) -> bool:
    if usb.startswith("name:"):
        name = f"{device.manufacturer}_{device.product}_{device.serial}".replace(" ", "_")
        return fnmatch.fnmatchcase(name, usb.removeprefix("name:"))
    numbers, *more = usb.split(" ")
    wanted = [part.partition("=") for part in more]
    return numbers == device.usb_id and all(
        key in _ATTRIBUTES and fnmatch.fnmatchcase(str(getattr(device, key)), value)
        for key, _, value in wanted
    )
