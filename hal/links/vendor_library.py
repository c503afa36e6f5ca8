"""Vendor libraries through cffi's ABI mode: no compiler, no vendor header, no vendor package.

Measured with cffi 2.1: a missing library is OSError, a missing *function* AttributeError at its
first use, so every function is looked up at open; changing LD_LIBRARY_PATH at run time has no
effect, so paths are absolute; the GIL is released during calls; loading the same file twice
shares its globals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

import cffi

from photonlink.hal.errors import (
    InstrumentError,
    LinkClosed,
    LinkError,
    LinkNotFound,
    LinkPermission,
    LinkTimeout,
    StationError,
)
from photonlink.hal.links.address import Address
from photonlink.hal.links.base import Tap
from photonlink.hal.links.library_process import LibraryProcess
from photonlink.hal.links.owner_thread import OwnerThread
from photonlink.hal.links.prototypes import TEXT_BYTES, Call, Prototypes
from photonlink.hal.tags import Provenance

T = TypeVar("T")
PROCESS_S = 20.0
"""How long a process of its own may take to start, on a busy machine."""


class VendorLibrary:
    """``lib:///abs/path/libX.so#serial=…``: one library, one thread, error texts of the library.

    All functions of the table must exist in the library. ``#process=own`` loads it in a process of
    its own, as a table with ``own_process`` always does: arguments and results are then plain
    values, no memory of the caller.
    """

    def __init__(
        self,
        address: Address,
        prototypes: Prototypes,
        *,
        tap: Tap | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        if address.scheme != "lib":
            raise StationError("a vendor library needs lib:///…", where=address.uri)
        self.address = address
        self.ffi: Any = cffi.FFI()
        self.prototypes, self.timeout_s = prototypes, timeout_s
        self.ffi.cdef(prototypes.declarations)
        # Exported by stand-in libraries only, so that a wrong station file cannot change the
        # provenance.
        self.ffi.cdef("int SIM_IsEmulator(void);")
        self._thread = OwnerThread(address.uri)
        self._lib: Any = None
        self._process: LibraryProcess | None = None
        self._apart = prototypes.own_process or address.options.get("process") == "own"
        self.tap = tap
        self.provenance = Provenance.REAL

    @property
    def uri(self) -> str:
        return self.address.uri

    @property
    def is_open(self) -> bool:
        return self._lib is not None

    async def connect(self) -> None:
        """Load the library and look up every function."""
        try:
            limit_s = max(self.timeout_s, PROCESS_S) if self._apart else None
            self._lib = await self.run(self._load, limit_s)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._end_process))
            self._thread.stop()
            raise

    def _load(self) -> Any:
        path = self.address.path
        if not os.path.exists(path):
            raise LinkNotFound(
                "no such library",
                where=self.uri,
                hint="Install the vendor's library, or correct the path in the station file",
            )
        if not os.access(path, os.R_OK):
            raise LinkPermission("the library cannot be read", where=self.uri)
        if self._apart:
            lib: Any = LibraryProcess(path, self.prototypes, self.uri)
            self._process = lib
            lib.load()
            missing, stand_in = lib.missing, lib.stand_in
        else:
            try:
                lib = self.ffi.dlopen(path)
            except OSError as error:
                text = f"the library cannot be loaded: {error}"
                raise LinkNotFound(text, where=self.uri) from error
            missing = [f.name for f in self.prototypes.functions if not _has(lib, f.name)]
            stand_in = _has(lib, "SIM_IsEmulator") and lib.SIM_IsEmulator()
        if missing:
            raise LinkError(
                f"the library lacks {', '.join(missing)}",
                where=self.uri,
                hint="Is it the right library, in a version that this driver knows?",
            )
        self.provenance = Provenance.EMULATED if stand_in else Provenance.REAL
        return lib

    async def close(self) -> None:
        """Forget the library. It stays mapped: unloading a library that has threads of its own
        crashes. A process of its own ends.
        """
        self._lib = None
        if self._process is not None:
            await asyncio.to_thread(self._end_process)
        self._thread.stop()

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def post(self, work: Callable[[], object]) -> None:
        """Queue work for the library's thread without waiting: for ``emergency_off``."""
        self._thread.post(work)

    async def run(self, function: Callable[[], T], timeout_s: float | None = None) -> T:
        """Run Python code in the library's thread (several calls in one go)."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        try:
            return await self._thread.run(function, limit)
        except LinkTimeout as error:
            raise LinkTimeout(error.what, where=self.uri, hint="The library may hang") from None

    def attempt(self, name: str, *args: Any) -> tuple[int, tuple[Any, ...]]:
        """Call a function *in the library's thread*: any status is returned, with the outputs."""
        result, values = self._call(name, args)
        return int(result), values

    def status(self, name: str, *args: Any) -> int:
        """Call a function *in the library's thread* and hand its status back whatever it is."""
        return int(self._call(name, args)[0])

    def invoke(self, name: str, *args: Any) -> Any:
        """Call a function *in the library's thread*. A status that means failure: InstrumentError;
        one that means that the device is gone: LinkClosed.

        Hands back the value or the tuple of values that the function writes; without any, what it
        returns.
        """
        result, values = self._call(name, args)
        function = self.prototypes.named(name)
        if not function.value:
            fails = function.fails or self.prototypes.fails
            if fails(int(result)):
                text = f"{name}: {self.error_text(int(result))}"
                if int(result) in self.prototypes.gone:
                    raise LinkClosed(text, where=self.uri, seen=str(result))
                raise InstrumentError(text, where=self.uri, seen=str(result))
        return result if not values else values[0] if len(values) == 1 else values

    def _call(self, name: str, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        if self._lib is None:
            raise LinkClosed("the library is not open", where=self.uri)
        if self._apart:
            result, values = self._lib.call(name, args)
        else:
            call = Call(self.ffi, self.prototypes.named(name), args)
            result = getattr(self._lib, name)(*call.arguments)
            values = call.values()
        if self.tap is not None:
            self.tap(">", f"{name} -> {result}\n".encode())
        return result, values

    def error_text(self, code: int) -> str:
        """The library's text for a status."""
        name = self.prototypes.error_text
        if self._apart:  # put in words there, where its memory is
            words = ""
            if name and self._lib is not None:
                with contextlib.suppress(TypeError):
                    returned, values = self._lib.call(name, (code,))
                    words = str(values[0] if values else returned).strip()
            return f"{words} ({code})" if words else f"error {code}"
        if name and self._lib is not None and self.prototypes.named(name).value:
            words = self.ffi.string(getattr(self._lib, name)(code)).decode("latin-1").strip()
            return f"{words} ({code})"
        if name and self._lib is not None:
            text = self.ffi.new("char[]", TEXT_BYTES)
            args = (code, text) if self.prototypes.code_first else (text, code)
            getattr(self._lib, name)(*args)
            words = self.ffi.string(text).decode("latin-1").strip()
            if words:
                return f"{words} ({code})"
        return f"error {code}"

    async def call(self, name: str, *args: Any, timeout_s: float | None = None) -> Any:
        """``invoke``, from the event loop."""
        return await self.run(lambda: self.invoke(name, *args), timeout_s)


def _has(lib: Any, name: str) -> bool:
    try:
        getattr(lib, name)
    except AttributeError:
        return False
    return True
