"""The one place where Python meets the C core: handles, errors, buffers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline._core import ffi, lib

if TYPE_CHECKING:
    from photonlink.pipeline._core import CData


class NativeError(PhotonlinkError):
    """An error of the C core; ``status`` is its pl_status."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(ffi.string(lib.pl_strerror(status)).decode())


class NativeArgumentError(NativeError, ValueError): ...


class NativeMemoryError(NativeError, MemoryError): ...


class NativeStateError(NativeError): ...


class NativeDataError(NativeError, ValueError): ...


class NativeLimitError(NativeError): ...


_ERRORS: dict[int, type[NativeError]] = {
    lib.PL_E_ARGUMENT: NativeArgumentError,
    lib.PL_E_MEMORY: NativeMemoryError,
    lib.PL_E_STATE: NativeStateError,
    lib.PL_E_RANGE: NativeArgumentError,
    lib.PL_E_DATA: NativeDataError,
    lib.PL_E_CAPACITY: NativeArgumentError,
    lib.PL_E_LIMIT: NativeLimitError,
}

_ARRAYS = {
    np.dtype(np.uint8): ffi.typeof("uint8_t[]"),
    np.dtype(np.int8): ffi.typeof("int8_t[]"),
    np.dtype(np.uint32): ffi.typeof("uint32_t[]"),
    np.dtype(np.uint64): ffi.typeof("uint64_t[]"),
    np.dtype(np.int64): ffi.typeof("int64_t[]"),
    np.dtype(np.float64): ffi.typeof("double[]"),
}


def check(result: int) -> int:
    """Pass a count or 0 through; turn a negative pl_status into its exception."""
    if result < 0:
        raise _ERRORS.get(result, NativeError)(result)
    return result


def borrow(array: npt.NDArray[Any], dtype: npt.DTypeLike, *, writable: bool = False) -> CData:
    """A C pointer to a contiguous array of exactly this dtype, without a copy.

    cffi checks contiguity and, for ``writable``, the flag; dtype is checked here because
    cffi would take float64[3] for 24 bytes.
    """
    wanted = np.dtype(dtype)
    if array.dtype != wanted:
        raise TypeError(f"need {wanted}, got {array.dtype}")
    return ffi.from_buffer(_ARRAYS[wanted], array, require_writable=writable)


class Uncopied:
    """Base of objects that own C memory: they refuse pickling and copying, since two copies would
    share one C object.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} owns C memory: it is neither pickled nor copied")


class Handle(Uncopied):
    """Owns one C object: freed once, never used after close, one call at a time.

    cffi releases the GIL around every call, so two threads could be inside the same C object;
    and ffi.release() leaves the pointer dangling. The lock and the NULL make both safe.
    """

    def __init__(self, pointer: CData, free: Callable[[CData], Any], size: int = 0) -> None:
        self._lock = threading.Lock()
        self._pointer: CData = ffi.gc(pointer, free, size)
        self._open = True  # a flag, since comparing with ffi.NULL costs more than a C call

    def call(self, function: Callable[..., int], *args: Any) -> int:
        """``function(pointer, *args)``, checked. Raises NativeStateError after close."""
        with self._lock:
            if not self._open:
                raise NativeStateError(lib.PL_E_STATE)
            result = function(self._pointer, *args)
        return result if result >= 0 else check(result)

    @property
    def pointer(self) -> CData:
        """For calls that take two handles; the caller keeps both alive."""
        if not self._open:
            raise NativeStateError(lib.PL_E_STATE)
        return self._pointer

    def close(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                pointer, self._pointer = self._pointer, ffi.NULL
                ffi.release(pointer)
