"""Vendor libraries through cffi's ABI mode: no compiler, no vendor header, no vendor package.

Measured with cffi 2.1: a missing library is OSError, a missing *function* AttributeError at its
first use, so every function is looked up at open; changing LD_LIBRARY_PATH at run time has no
effect, so paths are absolute; the GIL is released during calls; loading the same file twice
shares its globals.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

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
from photonlink.hal.links.owner_thread import OwnerThread
from photonlink.hal.tags import Provenance

ErrorText = Callable[["VendorLibrary", int], str]


class VendorLibrary:
    """``lib:///abs/path/libX.so#serial=…``: one library, one thread, errors in its own words.

    declarations: C prototypes of the functions used; all of them must exist in the library.
    error_text:   called in the library's thread with a negative status.
    """

    def __init__(
        self,
        address: Address,
        declarations: str,
        error_text: ErrorText,
        *,
        tap: Tap | None = None,
    ) -> None:
        if address.scheme != "lib":
            raise StationError("a vendor library needs lib:///…", where=address.uri)
        self.address = address
        self.ffi: Any = cffi.FFI()
        self.ffi.cdef(declarations)
        self._functions = _function_names(declarations)
        # Exported by stand-in libraries only: provenance cannot lie by a wrong station file.
        self.ffi.cdef("int SIM_IsEmulator(void);")
        self._error_text = error_text
        self._thread = OwnerThread(address.uri)
        self._lib: Any = None
        self.tap = tap
        self.provenance = Provenance.REAL

    @property
    def uri(self) -> str:
        return self.address.uri

    @property
    def is_open(self) -> bool:
        return self._lib is not None

    async def open(self, timeout_s: float) -> None:
        """Load the library and look up every function."""
        self._lib = await self.run(self._load, timeout_s)

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
        try:
            lib = self.ffi.dlopen(path)
        except OSError as error:
            raise LinkNotFound(f"the library cannot be loaded: {error}", where=self.uri) from error
        missing = [name for name in self._functions if not _has(lib, name)]
        if missing:
            raise LinkError(
                f"the library lacks {', '.join(missing)}",
                where=self.uri,
                hint="Is it the right library, in a version that this driver knows?",
            )
        stand_in = _has(lib, "SIM_IsEmulator") and lib.SIM_IsEmulator()
        self.provenance = Provenance.EMULATED if stand_in else Provenance.REAL
        return lib

    async def close(self) -> None:
        """Forget the library. It stays mapped: unloading one with threads of its own crashes."""
        self._lib = None
        self._thread.stop()

    async def run(self, function: Callable[[], Any], timeout_s: float) -> Any:
        """Run Python code in the library's thread (several calls in one go)."""
        try:
            return await self._thread.run(function, timeout_s)
        except LinkTimeout as error:
            raise LinkTimeout(error.what, where=self.uri, hint="The library may hang") from None

    def invoke(self, name: str, *args: Any) -> int:
        """Call a function *in the library's thread*. Negative status: InstrumentError."""
        if self._lib is None:
            raise LinkClosed("the library is not open", where=self.uri)
        status = int(getattr(self._lib, name)(*args))
        if self.tap is not None:
            self.tap(">", f"{name} -> {status}\n".encode())
        if status < 0:
            text = self._error_text(self, status)
            raise InstrumentError(f"{name}: {text}", where=self.uri, seen=str(status))
        return status

    def status(self, name: str, *args: Any) -> int:
        """Like ``invoke``, but hands the status back whatever it is."""
        if self._lib is None:
            raise LinkClosed("the library is not open", where=self.uri)
        return int(getattr(self._lib, name)(*args))

    async def call(self, name: str, *args: Any, timeout_s: float = 5.0) -> int:
        """One call, from the event loop."""
        return int(await self.run(lambda: self.invoke(name, *args), timeout_s))


def _has(lib: Any, name: str) -> bool:
    try:
        getattr(lib, name)
    except AttributeError:
        return False
    return True


def _function_names(declarations: str) -> list[str]:
    """The names before the parentheses: ``int MH_OpenDevice(int, char *);`` → MH_OpenDevice."""
    heads = (line.partition("(")[0].split() for line in declarations.split(";"))
    return [head[-1].lstrip("*") for head in heads if len(head) > 1]
