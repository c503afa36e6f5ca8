"""Hints for errors on the way to an instrument: the missing udev rule, the process that holds it,
the library's path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from photonlink.hal.errors import (
    IdentityError,
    LinkBusy,
    LinkNotFound,
    LinkPermission,
    PhotonlinkError,
)
from photonlink.hal.links.address import Address
from photonlink.hal.registry import registration

_RULES = "udev/70-photonlink.rules"


def holders(path: str, proc: Path = Path("/proc")) -> list[tuple[int, str]]:
    """(process, command) of every process that has a file open, as far as /proc is readable."""
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    return [(pid, command) for pid, command in _processes(proc) if _has(proc / str(pid), wanted)]


def _processes(proc: Path) -> Iterator[tuple[int, str]]:
    for folder in proc.iterdir() if proc.is_dir() else ():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            yield int(folder.name), b" ".join(words).decode(errors="replace").strip()


def _has(process: Path, wanted: os.stat_result) -> bool:
    try:
        for entry in (process / "fd").iterdir():
            try:
                found = entry.stat()
            except OSError:
                continue
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
            if found.st_rdev and found.st_rdev == wanted.st_rdev:
                return True
    except OSError:
        pass  # another user's process
    return False


def udev_rule(driver: str, rules: Iterable[Path]) -> str:
    """The line of the rules that gives access to a driver's device; "" when there is none."""
    entry = registration(driver)
    for usb in entry.usb if entry is not None else ():
        numbers = usb.removeprefix("name:").split(" ")[0]
        for path in rules:
            for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
                if all(part in line for part in re.split(r"[:*]", numbers) if part):
                    return line.rstrip("\\ ,")
    return ""


def hint_for(error: PhotonlinkError, driver: str, address: str) -> str:
    """A hint beyond the error's own text; "" when there is none."""
    place = Address.parse(address) if address else None
    if isinstance(error, LinkBusy) and place is not None and place.scheme == "serial":
        found = holders(place.path)
        words = [f"process {pid} ({command})" for pid, command in found]
        return f"{' and '.join(words)} holds it" if words else ""
    if isinstance(error, LinkPermission):
        installed = Path("/etc/udev/rules.d") / Path(_RULES).name
        if not installed.is_file():
            return f"The rules are not installed: sudo sh udev/install.sh, then re-plug ({_RULES})"
        rule = udev_rule(driver, [installed])
        if not rule:
            return f"No rule of {installed} names this device: add it to its group by one of yours"
        return (
            f"The rule is {rule}; join its group: sudo usermod -aG photonlink $USER, log in again"
        )
    if isinstance(error, LinkNotFound) and place is not None and place.scheme == "lib":
        return _library(Path(place.path))
    if isinstance(error, IdentityError):
        entry = registration(driver)
        return f"The driver {driver} is for: {entry.title}" if entry is not None else ""
    return ""


def _library(path: Path) -> str:
    """Where a library of that name was found, and which places were searched."""
    folders = [path.parent, Path("/usr/lib"), Path("/usr/local/lib"), Path("/opt")]
    found = [
        str(hit)
        for folder in folders
        if folder.is_dir()
        for hit in (folder / path.name, *folder.glob(f"*/{path.name}"))
        if hit.is_file() and hit != path
    ]
    looked = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    if found:
        return f"A {path.name} lies at {found[0]}: write lib://{found[0]}"
    return f"No {path.name} in {looked}, nor one folder below"


def hints_of(error: PhotonlinkError) -> list[str]:
    """What can be added to an error that names the addresses it tried; [] for any other."""
    causes: tuple[tuple[str, str, PhotonlinkError], ...] = getattr(error, "causes", ())
    found = (hint_for(cause, driver, address) for driver, address, cause in causes)
    return list(dict.fromkeys(hint for hint in found if hint))
