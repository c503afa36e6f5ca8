"""Which process owns an instrument: one lock per address, held while it is open, with the holder's
name.

A serial port can be locked; a TCP socket or a vendor's library cannot, and a second program that
opens it would switch off the first one's light. The locks are advisory, between programs of this
project and of one user, and end with the process however it ends. Elsewhere than on POSIX there
are none.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from photonlink.hal import machine
from photonlink.hal.errors import LinkBusy, PhotonlinkError
from photonlink.hal.links.address import Address

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FOLDER_VARIABLE = "PHOTONLINK_RUN_DIR"
_TRIES, _PAUSE_S = 5, 0.01  # a process that only checks holds the lock for less
_MAX_NOTE = 4096


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds an instrument. ``begun``: the process's start, so that a later process of the same
    number is not taken for it. ``control``: its control socket, if it listens there."""

    address: str
    instrument: str
    pid: int
    begun: str
    command: str
    control: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return process_begun(self.pid) == self.begun


def run_folder() -> Path:
    """Folder of locks and control sockets, ours alone (mode 0700). PhotonlinkError if it is not."""
    given, session = os.environ.get(FOLDER_VARIABLE), os.environ.get("XDG_RUNTIME_DIR")
    if given:
        folder = Path(given)
    elif session and Path(session).is_dir():
        folder = Path(session) / "photonlink"
    else:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        folder = Path(tempfile.gettempdir()) / f"photonlink-{user}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    foreign = hasattr(os, "getuid") and found.st_uid != os.getuid()
    if not stat.S_ISDIR(found.st_mode) or foreign or (os.name == "posix" and found.st_mode & 0o022):
        raise PhotonlinkError(
            "this folder is not ours alone", where=str(folder),
            hint=f"Remove it, or name another one in {FOLDER_VARIABLE}",
        )  # fmt: skip
    return folder


def process_begun(pid: int) -> str:
    """When a process started, in the kernel's own count; "" when it does not run or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


_PTS = "/dev/pts/"


def device_key(address: str) -> str:
    """The part that all addresses of one device have in common: without the link's options."""
    found = Address.parse(address)
    if found.scheme == "serial":
        port = os.path.realpath(found.path)
        # the kernel gives a pseudo-terminal's number to the next one: the name that leads there is
        # the device, not the number that it had
        return f"serial:{os.path.abspath(found.path) if port.startswith(_PTS) else port}"
    device = ",".join(found.options[k] for k in ("serial", "index") if k in found.options)
    return f"{found.scheme}:{found.host}:{found.port or ''}:{found.path}:{device}"


def _lock_file(address: str) -> Path:
    name = hashlib.sha256(device_key(address).encode()).hexdigest()[:24]
    return run_folder() / f"{name}.lock"


_benches = itertools.count(1)


class Claims:
    """The instruments of one bench that this process holds; ``release`` gives them back.

    control: the socket where their owner listens, once the bench is guarded.
    """

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self.control = run_folder() / f"{os.getpid()}-{next(_benches)}.sock"

    def claim(self, address: str, instrument: str) -> None:
        """Hold an instrument. LinkBusy names the process that has it."""
        if fcntl is None or not machine.instruments_are_outside():
            return
        path = _lock_file(address)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not _locked(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            owner = _read(path)
            raise LinkBusy(
                f"{owner or 'another process'} has it open", where=address,
                hint="Stop that one first; photonlink safe switches everything off",
            )  # fmt: skip
        note = Owner(
            address, instrument, os.getpid(), process_begun(os.getpid()), _command(),
            str(self.control),
        )  # fmt: skip
        # the lock is held even when a full disk prevents the name
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(note)).encode()[:_MAX_NOTE], 0)
        self.release(address)
        self._held[address] = descriptor

    def release(self, address: str | None = None) -> None:
        """Give back one address, or all."""
        for each in list(self._held) if address is None else [address]:
            descriptor = self._held.pop(each, None)
            if descriptor is not None:
                os.close(descriptor)


def _locked(descriptor: int, kind: int) -> bool:
    for left in range(_TRIES - 1, -1, -1):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError:
            if left:
                time.sleep(_PAUSE_S)
        else:
            return True
    return False


def owner_of(address: str) -> Owner | None:
    """The process of ours that holds this address now, or None."""
    return _owner(_lock_file(address)) if fcntl is not None else None


def owners() -> Iterator[Owner]:
    """Everything that is held now by programs of this project and user."""
    if fcntl is not None:
        for path in sorted(run_folder().glob("*.lock")):
            owner = _owner(path)
            if owner is not None:
                yield owner


def _owner(path: Path) -> Owner | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(path)
    finally:
        os.close(descriptor)
    return None


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_bytes()[:_MAX_NOTE]))
    except (OSError, ValueError, TypeError):
        return None


def _command() -> str:
    text = " ".join(sys.orig_argv)[:300]
    return "".join(c if c.isprintable() else "?" for c in text)
