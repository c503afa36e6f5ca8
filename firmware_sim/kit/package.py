"""Instruments behind a vendor's Python package: a stand-in module is the cable.

A model declares the package's surface and implements some of it::

    MODULE = "TimeTagger"
    SURFACE = surface("TimeTagger")  # wires/vendor_package/TimeTagger.toml: every public name

    @command("createTimeTagger")
    def _create(self, serial: str = "") -> New:
        return New("TimeTagger", self)
    @command("TimeTagger.setTriggerLevel")
    def _level(self, target: Any, channel: int, volts: float) -> None: ...

Every declared name exists in the module; one without a method raises :attr:`UNBUILT`.
"""

from __future__ import annotations

import inspect
import json
import struct
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from photonlink.firmware_sim.kit.device import EmulatedDevice
from photonlink.firmware_sim.kit.faults import STREAM
from photonlink.firmware_sim.kit.registers import Refusal
from photonlink.firmware_sim.wires.local import LocalWire
from photonlink.firmware_sim.wires.session import Serve, Session, Wire
from photonlink.firmware_sim.wires.vendor_package import stand_in

U32 = struct.Struct("<I")
REQUEST_MAX = 1 << 24
OBJECTS_MAX = 10_000


class PackageError(Exception):
    """An exception of the package. kind: the exception's class, a builtin's name."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class New:
    """A result that is an object of the package: its class, the model's own object, and the
    attributes for the client.
    """

    class_name: str
    target: Any
    values: Mapping[str, int | float | str | bool] = field(default_factory=dict)


@dataclass(slots=True)
class _Objects:
    """The objects of one client."""

    made: dict[int, Any] = field(default_factory=dict)
    count: int = 0


class PackageWire(LocalWire):
    """The stand-in module."""

    scheme = "package"

    def __init__(self, serve: Serve, folder: Path, module: str, surface: dict[str, Any]) -> None:
        source = Path(stand_in.__file__).read_text(encoding="utf-8")
        end = f"\n\nfill(globals(), {surface!r}, Path(__file__).with_suffix('.sock'))\n"
        super().__init__(serve, folder / f"{module}.py", (source + end).encode(), f"{module}.sock")


def surface(module: str) -> dict[str, Any]:
    """The public names of a vendor's package, from ``wires/vendor_package/<module>.toml``."""
    path = Path(stand_in.__file__).with_name(f"{module}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


class PackageDevice(EmulatedDevice):
    """Declare MODULE and SURFACE; implement with ``@command`` and ANSWERS."""

    MODULE: ClassVar[str]
    SURFACE: ClassVar[Mapping[str, Any]]
    """``functions``: names; ``classes``: name → methods; ``constants`` and ``enums``: name → value,
    name → members."""
    ANSWERS: ClassVar[Mapping[str, Any]] = {}
    """Functions and methods that only say something: a value, or what is made of the object."""
    UNBUILT: ClassVar[tuple[str, str]] = ("NotImplementedError", "not available on this unit")
    WIRES = ("package",)
    NO_FAULTS = STREAM

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        address = self.config.address.partition("://")[2]
        folder = Path(address) if address else run_dir / self.name
        return {"command": PackageWire(self.serve, folder, self.MODULE, dict(self.SURFACE))}

    def left(self, objects: list[Any]) -> None:
        """A client has left; called with the objects that it had created."""

    async def serve(self, session: Session) -> None:
        """One program that has imported the module."""
        data, objects = b"", _Objects()
        try:
            while True:
                while len(data) < 4 or len(data) < 4 + U32.unpack_from(data)[0]:
                    more = await session.read()
                    if more is None or len(data) > REQUEST_MAX:
                        return
                    data += more
                size = 4 + U32.unpack_from(data)[0]
                request, data = data[4:size], data[size:]
                await self.send_reply(session, await self._call(request, objects), request)
        finally:
            self.left(list(objects.made.values()))

    async def _call(self, request: bytes, objects: _Objects) -> bytes:
        arrays: list[np.ndarray[Any, Any]] = []
        try:
            result = self._run(json.loads(request), objects)
            if inspect.isawaitable(result):
                result = await result
            head: dict[str, Any] = {"ok": _encode(result, arrays, objects)}
        except PackageError as error:
            head = {"raise": [error.kind, str(error)]}
        except Refusal as refusal:
            head = {"raise": ["ValueError", str(refusal)]}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            head = {"raise": ["TypeError", f"bad call: {error}"]}  # arguments that do not fit
        except Exception as error:  # noqa: BLE001 - never raises for input
            self.broken(error)
            head = {"raise": ["RuntimeError", "internal error"]}
        head["arrays"] = [[a.dtype.str, list(a.shape), a.nbytes] for a in arrays]
        text = json.dumps(head).encode()
        return U32.pack(len(text)) + text + b"".join(a.tobytes() for a in arrays)

    def _run(self, request: dict[str, Any], objects: _Objects) -> Any:
        name, number = str(request["call"]), request.get("object", 0)
        method: Callable[..., Any] | None = self.method(name)
        if method is None and name in self.ANSWERS:
            method = self._answer(self.ANSWERS[name])
        if method is None:
            raise PackageError(*self.UNBUILT)
        for gone in request.get("gone", ()):  # the client has released them
            objects.made.pop(gone, None)
        args = [_decode(a, objects) for a in request.get("args", [])]
        kwargs = {k: _decode(v, objects) for k, v in request.get("kwargs", {}).items()}
        if number:
            args.insert(0, objects.made[number])
        return method(*args, **kwargs)

    @staticmethod
    def _answer(answer: Any) -> Callable[..., Any]:
        return lambda *target: answer(*target) if callable(answer) else answer


def _decode(value: Any, objects: _Objects) -> Any:
    if isinstance(value, dict) and "object" in value:
        return objects.made[value["object"]]
    if isinstance(value, list):
        return [_decode(v, objects) for v in value]
    return value


def _encode(value: Any, arrays: list[np.ndarray[Any, Any]], objects: _Objects) -> Any:
    if isinstance(value, New):
        if len(objects.made) >= OBJECTS_MAX:
            raise PackageError("RuntimeError", "too many objects")
        objects.count += 1
        objects.made[objects.count] = value.target
        named = {"object": objects.count, "class": value.class_name}
        return {**named, "values": dict(value.values)}
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value))
        return {"array": len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {"tuple": [_encode(v, arrays, objects) for v in value]}
    if isinstance(value, list):
        return [_encode(v, arrays, objects) for v in value]
    return value
