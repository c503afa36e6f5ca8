"""Common part of both serial links: configuring the port, and one mapping of its many errors."""

from __future__ import annotations

import errno

import serial

from photonlink.hal.errors import (
    LinkBusy,
    LinkClosed,
    LinkError,
    LinkNotFound,
    LinkPermission,
)
from photonlink.hal.links.address import Address

DEFAULT_BAUD = 115_200
WRITE_TIMEOUT_S = 1.0
"""Never without: a full buffer of a stopped device would block the write for ever."""


def open_port(address: Address) -> serial.Serial:
    """Open a port 8N1, raw, exclusively. Nobody else who asks for exclusive use gets it too.

    Modem lines are left alone: a pty has none, and USB-CDC devices rarely listen to them.
    """
    address.only("baud")
    port = serial.Serial()
    port.port = address.path
    port.baudrate = address.number("baud", DEFAULT_BAUD)
    port.timeout = 0
    port.write_timeout = WRITE_TIMEOUT_S
    port.exclusive = True
    try:
        port.open()
    except Exception as error:
        raise serial_error(error, address, opening=True) from error
    return port


def serial_error(error: Exception, address: Address, *, opening: bool = False) -> LinkError:
    """One named error for the exceptions of pyserial, termios and the operating system.

    pyserial raises SerialException (an OSError, often without errno), the bare OSError of the
    system, or ``termios.error``, which is neither.
    """
    code = getattr(error, "errno", None)
    if code is None and error.args and isinstance(error.args[0], int):
        code = error.args[0]
    text = str(error)
    where = address.uri
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ELOOP) and opening:
        return LinkNotFound(
            "no such port", where=where, hint="Is the device plugged in and switched on?"
        )
    if code in (errno.EACCES, errno.EPERM):
        return LinkPermission(
            "access to the port is refused",
            where=where,
            hint="Install udev/70-photonlink.rules or join the group 'dialout', then re-plug",
        )
    if code in (errno.EBUSY, errno.EWOULDBLOCK, errno.EAGAIN) or "exclusively lock" in text:
        return LinkBusy("another process holds the port", where=where, hint="Close it there first")
    if opening and (code in (errno.EINVAL, errno.ENOTTY) or "configure port" in text):
        return LinkError("the port refuses its settings: is it a serial port?", where=where)
    if opening:
        return LinkNotFound(f"the port cannot be opened: {text}", where=where)
    return LinkClosed(f"the port went away: {text}", where=where)
