"""Instruments behind a vendor's C library: a stand-in library is the cable, the emulated device is
here.

The table of prototypes (``wires/vendor_library/NAME.toml``) lists the functions, their arguments,
and the modes in which they are allowed. A model implements some of them with
``@command("MH_StartMeas")``: ``(self, *in-arguments) -> None, one result, or a tuple of them`` (the
value that the function returns, if it returns one, then the out-arguments); ``CallError(code)``
ends a call with an error number. A function without a method answers with
:attr:`LibraryDevice.UNBUILT`.
"""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.faults import STREAM
from photonlink.firmware_sim.wires.local import LocalWire
from photonlink.firmware_sim.wires.session import Session, Wire
from photonlink.firmware_sim.wires.vendor_library import prototypes

FOLDER = Path(prototypes.__file__).parent
HEAD = struct.Struct("<II")
REPLY = struct.Struct("<iI")


class CallError(Exception):
    """A call that ends with an error number."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class LibraryWire(LocalWire):
    """A copy of the stand-in library."""

    scheme = "lib"

    def __init__(self, serve: Any, folder: Path, library: prototypes.Library) -> None:
        source = FOLDER / library.built_name
        if not source.exists():
            raise FileNotFoundError(f"{source} is missing: build the project first")
        path = folder / library.file_name
        super().__init__(serve, path, source.read_bytes(), library.socket_name, 0o755)


class LibraryDevice(EmulatedDevice):
    """One instrument that one program at a time may open."""

    TABLE: ClassVar[str]
    """Name of the table of prototypes."""
    UNBUILT: ClassVar[int] = -1
    """Error number of a function that exists and does nothing here."""
    WIRES = ("lib",)
    NO_FAULTS = (*STREAM, "drift")

    def setup(self) -> None:
        self.library = prototypes.load(FOLDER / f"{self.TABLE}.toml")
        self.by_number = {f.number: f for f in self.library.functions.values()}
        self.owner: Session | None = None

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        address = self.config.address.partition("://")[2]
        folder = Path(address) if address else run_dir / self.name
        return {"command": LibraryWire(self.serve, folder, self.library)}

    # ---- for a model ---------------------------------------------------------------------------

    def check(self, function: prototypes.PrototypeFunction, arguments: list[Any]) -> None:
        """Raise CallError when the call is not allowed at present (mode, not initialised, …)."""

    def opened(self) -> None:
        """A program has opened the device."""

    def closed(self) -> None:
        """The program that had it open has closed it, or is gone."""

    async def pace(self, function: prototypes.PrototypeFunction) -> None:
        """How long the real library takes for this call."""

    # ---- engine --------------------------------------------------------------------------------

    async def serve(self, session: Session) -> None:
        """One program's library."""
        data = b""
        try:
            while True:
                while len(data) < 8 or len(data) < 8 + HEAD.unpack_from(data)[1]:
                    more = await session.read()
                    if more is None or len(data) > 1 << 20:
                        return
                    data += more
                number, size = HEAD.unpack_from(data)
                request, data = data[: 8 + size], data[8 + size :]
                reply = await self._call(number, request[8:], session)
                await self.send_reply(session, reply, request)
        finally:
            if self.owner is session:
                self.owner = None
                self.closed()

    async def _call(self, number: int, payload: bytes, session: Session) -> bytes:
        codes, function = self.library.codes, self.by_number.get(number)
        if function is None:
            return REPLY.pack(codes["argument"], 0)
        try:
            arguments = unpack(function, payload)
            self._own(function, session)
            await self.pace(function)
            self.check(function, arguments)
            method = self.method(function.name)
            if method is None:
                raise CallError(self.UNBUILT)
            result = method(*arguments)
            if asyncio.iscoroutine(result):
                result = await result
            return pack(function, result, arguments)
        except CallError as error:
            return REPLY.pack(error.code, 0)
        except Exception as error:  # noqa: BLE001 - never raises for input
            self.broken(error)
            return REPLY.pack(codes["failed"], 0)

    def _own(self, function: prototypes.PrototypeFunction, session: Session) -> None:
        if function.name == self.library.connect:
            if self.owner is not None and self.owner is not session:
                raise CallError(self.library.codes["busy"])
            self.owner = session
            self.opened()
        elif function.name == self.library.disconnect:
            self.owner = None
            self.closed()


def unpack(function: prototypes.PrototypeFunction, payload: bytes) -> list[Any]:
    """In-arguments (without the device index's meaning) as Python values."""
    values: list[Any] = []
    at = 0
    for argument in function.arguments:
        if argument.direction == "out":
            continue
        letter, size = prototypes.TYPES[argument.type][1:]
        if argument.array or argument.type in ("text", "path"):
            (length,) = struct.unpack_from("<I", payload, at)
            raw = payload[at + 4 : at + 4 + length]
            at += 4 + length
            text = argument.type in ("text", "path", "byte")
            values.append(raw if text else list(struct.unpack(f"<{length // size}{letter}", raw)))
        else:
            values.append(struct.unpack_from(f"<{letter}", payload, at)[0])
            at += size
    return values


def pack(function: prototypes.PrototypeFunction, result: Any, given: list[Any]) -> bytes:
    """The reply of a successful call: its results, each cut to the caller's memory.

    given: the call's in-arguments, which may hold the size of that memory.
    """
    outs = function.results
    results = result if isinstance(result, tuple) else (result,)
    if not outs:
        return REPLY.pack(0, 0)
    names = [a.name for a in function.arguments if a.direction != "out"]
    counts = dict(zip(names, given, strict=True))
    parts = []
    for argument, value in zip(outs, results, strict=True):
        letter, size = prototypes.TYPES[argument.type][1:]
        room = argument.room
        if argument.count:
            room = max(int(counts[argument.count]), 0) * size
        if isinstance(value, str):
            value = value.encode("utf-8", "replace")[: max(room - 1, 0)]
        if isinstance(value, np.ndarray):
            value = value.tobytes()
        if isinstance(value, list | tuple):
            value = struct.pack(f"<{len(value)}{letter}", *value)
        if not isinstance(value, bytes):
            value = struct.pack(f"<{letter}", value)
        value = value[:room]
        parts += [struct.pack("<I", len(value)), value]
    payload = b"".join(parts)
    return REPLY.pack(0, len(payload)) + payload
