"""Stand-in for a vendor's Python package: only the cable; the instrument is in the emulator
program.

The emulator writes a copy of this file, with the package's names at its end, into its run folder
(``kit/package.py``); nothing but the standard library and numpy is imported. Requests and replies:
u32 length and JSON, in replies followed by the bytes of each array. A call without an answer raises
after ``TIMEOUT_S`` and the cable is closed, so that a late answer is never used.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import weakref
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

SIM_IS_EMULATOR = True
TIMEOUT_S = 10.0
_U32 = struct.Struct("<I")


class _Cable:
    """One connection to the emulator program, made at the first call."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._socket: socket.socket | None = None
        self.gone: list[int] = []

    def call(self, name: str, target: int, args: Any, kwargs: Any, classes: Any) -> Any:
        """Call ``name`` (of object ``target``; 0: a function); its result or exception."""
        gone, self.gone = self.gone, []
        request = {"call": name, "object": target, "args": args, "kwargs": kwargs, "gone": gone}
        text = json.dumps(request, default=_plain).encode()
        with self._lock:
            try:
                head, arrays = self._exchange(text)
            except OSError as error:
                self.close()
                raise RuntimeError(f"the instrument does not answer: {error}") from None
        if "raise" in head:
            kind, words = head["raise"]
            raise _BUILTIN.get(kind, RuntimeError)(words)
        return _value(head["ok"], arrays, classes)

    def _exchange(self, text: bytes) -> tuple[Any, list[Any]]:
        if self._socket is None:
            # through the folder's descriptor: a socket's own path may hold 107 bytes only
            folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
            try:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(TIMEOUT_S)
                self._socket.connect(f"/proc/self/fd/{folder}/{self._path.name}")
                # held from outside: a module is let go in any order, its socket first perhaps
                weakref.finalize(self, self._socket.close)
            finally:
                os.close(folder)
        self._socket.sendall(_U32.pack(len(text)) + text)
        head = json.loads(self._read(_U32.unpack(self._read(4))[0]))
        arrays = [
            np.frombuffer(self._read(size), dtype).reshape(shape)
            for dtype, shape, size in head.get("arrays", [])
        ]
        return head, arrays

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = self._socket.recv(size - len(data)) if self._socket else b""
            if not more:
                raise ConnectionError("the cable was pulled")
            data += more
        return bytes(data)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


_BUILTIN = {e.__name__: e for e in (ValueError, TypeError, NotImplementedError, OSError)}


def _plain(value: Any) -> Any:
    """Values that JSON cannot hold as plain ones. TypeError for unsupported types."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "_sim_object"):
        return {"object": value._sim_object}
    raise TypeError(f"cannot hand {type(value).__name__} to the instrument")


def _value(value: Any, arrays: list[Any], classes: dict[str, Any]) -> Any:
    if isinstance(value, dict) and "array" in value:
        return arrays[value["array"]]
    if isinstance(value, dict) and "object" in value:
        found = object.__new__(classes[value["class"]])
        vars(found).update(value.get("values", {}), _sim_object=value["object"])
        return found
    if isinstance(value, dict) and "tuple" in value:
        return tuple(_value(v, arrays, classes) for v in value["tuple"])
    if isinstance(value, list):
        return [_value(v, arrays, classes) for v in value]
    return value


def _function(cable: _Cable, name: str, classes: dict[str, Any]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return cable.call(name, 0, args, kwargs, classes)

    call.__name__ = call.__qualname__ = name
    return call


def _class(cable: _Cable, name: str, methods: list[str], classes: dict[str, Any]) -> type[Any]:
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        made = cable.call(name, 0, args, kwargs, classes)
        vars(self).update(vars(made))
        made._sim_object = 0  # the name of one object, not of two

    def method(word: str) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return cable.call(f"{name}.{word}", self._sim_object, args, kwargs, classes)

        call.__name__ = word
        return call

    def forget(self: Any) -> None:
        cable.gone.append(getattr(self, "_sim_object", 0))  # sent with the next call

    members = {"__init__": construct, "__del__": forget}
    return type(name, (), {**members, **{m: method(m) for m in methods}})


def fill(module: dict[str, Any], surface: dict[str, Any], path: Path) -> None:
    """Put the package's functions, classes, enumerations and constants into ``module``."""
    cable = _Cable(path)
    classes: dict[str, Any] = {}
    for name, methods in surface["classes"].items():
        classes[name] = _class(cable, name, methods, classes)
    module.update(surface.get("constants", {}))
    module.update({n: IntEnum(n, members) for n, members in surface.get("enums", {}).items()})
    module.update(classes)
    module.update({name: _function(cable, name, classes) for name in surface["functions"]})
