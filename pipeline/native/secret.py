"""Secret bits in locked C memory. Python holds a handle, never the bits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.regular_file import FileError, require_regular
from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import (
    Handle,
    NativeArgumentError,
    NativeDataError,
    NativeMemoryError,
    NativeStateError,
    Uncopied,
    borrow,
    check,
)
from photonlink.pipeline.native.sizes import DIGEST_BYTES

if TYPE_CHECKING:
    from photonlink.pipeline._core import CData

_BYTES = ffi.typeof("uint8_t[]")
_MEMORY_HINT = (
    "Raise the limit of locked memory (ulimit -l, LimitMEMLOCK= in systemd, memlock in "
    "limits.conf), or set PHOTONLINK_SECRET_MEMORY=unlocked to let secrets reach the swap"
)


class SecretFileError(PhotonlinkError):
    """A file of secret bits ended early or could not be written; no part of it is kept."""


def secret_memory_locked() -> bool:
    """False when PHOTONLINK_SECRET_MEMORY=unlocked was in the environment at the first use."""
    return bool(lib.pl_secret_memory_locked())


def _allocate(n_bits: int) -> Handle:
    slot = ffi.new("pl_secret **")
    try:
        check(lib.pl_secret_new(slot, n_bits))
    except NativeMemoryError as error:
        error.hint = _MEMORY_HINT
        raise
    return Handle(slot[0], lib.pl_secret_free, max(0, n_bits) // 8)


class SecretBits(Uncopied):
    """A fixed number of bits in memory that is locked, not dumped, not inherited by a fork and
    wiped on release. Bit 0 is the most significant bit of the first byte.

    No comparison, iteration, pickling, copying or printing; the bits leave only through
    ``disclose`` (they become public), ``export`` (key delivery) and ``write_file``.
    Errors: NativeStateError after ``close``, NativeArgumentError for lengths and indices,
    NativeMemoryError at the lock limit (there is no silent fallback).
    """

    __slots__ = ("_handle", "_n_bits")

    def __init__(self, n_bits: int) -> None:
        """``n_bits`` zeros. Each object takes whole pages: join many small ones with concat."""
        self._handle = _allocate(n_bits)
        self._n_bits = n_bits

    @classmethod
    def random(cls, n_bits: int) -> SecretBits:
        """Fresh bits from the operating system (getrandom, inside C)."""
        new = cls(n_bits)
        new._handle.call(lib.pl_secret_randomize)
        return new

    @classmethod
    def take(cls, data: bytearray, n_bits: int | None = None) -> SecretBits:
        """Copies the leading ``n_bits`` (default: all) of ``data``, and wipes ``data``."""
        new = cls(8 * len(data) if n_bits is None else n_bits)
        source = ffi.from_buffer(_BYTES, data, require_writable=True)
        new._handle.call(lib.pl_secret_import, source, len(data))
        return new

    @classmethod
    def concat(cls, parts: Sequence[SecretBits]) -> SecretBits:
        """One buffer with the bits of ``parts`` in order; the parts stay as they are."""
        new, at = cls(sum(len(part) for part in parts)), 0
        for part in parts:
            new._copy(at, part, 0, len(part))
            at += len(part)
        return new

    @classmethod
    def read_file(cls, path: str | os.PathLike[str], offset_bytes: int, n_bits: int) -> SecretBits:
        """``n_bits`` of the file from ``offset_bytes`` on; Python never sees them.

        Raises OSError when it cannot be opened, SecretFileError when it ends early or is no file.
        """
        try:
            require_regular(Path(path))
        except FileError as error:
            raise SecretFileError(error.what, where=error.where) from None
        new = cls(n_bits)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            new._handle.call(lib.pl_secret_read_fd, fd, offset_bytes)
        except NativeDataError:
            new.close()
            raise SecretFileError(
                f"the file ends before bit {n_bits} from byte {offset_bytes}", where=str(path)
            ) from None
        finally:
            os.close(fd)
        return new

    def write_file(self, target: str | os.PathLike[str] | int, *, append: bool = False) -> None:
        """All bits as whole bytes (the last padded with zeros) to a descriptor or a path.

        A path is created with mode 0600, replaced unless ``append``, and synced to the disk.
        Raises OSError when it cannot be opened, SecretFileError when writing fails.
        """
        if isinstance(target, int):
            self._write(target, f"file descriptor {target}")
            return
        mode = os.O_APPEND if append else os.O_TRUNC
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | mode
        fd = os.open(target, flags, 0o600)
        try:
            os.fchmod(fd, 0o600)
            self._write(fd, str(target))
            os.fsync(fd)
        finally:
            os.close(fd)

    def _write(self, fd: int, where: str) -> None:
        self._require_open()
        try:
            self._handle.call(lib.pl_secret_write_fd, fd)
        except NativeStateError:
            raise SecretFileError(
                "writing secret bits failed", where=where, hint="Is the disk full?"
            ) from None

    # ---- the bits themselves ----

    def slice(self, start: int, stop: int) -> SecretBits:
        """A copy of bits ``start`` to ``stop - 1``."""
        if not 0 <= start <= stop <= self._n_bits:
            raise NativeArgumentError(lib.PL_E_RANGE)
        new = SecretBits(stop - start)
        new._copy(0, self, start, stop - start)
        return new

    def select(self, indices: npt.NDArray[np.int64] | npt.NDArray[np.uint32]) -> SecretBits:
        """Bit i of the result is bit ``indices[i]``; the indices are public. Shape (n,)."""
        if indices.dtype not in (np.int64, np.uint32):
            raise TypeError(f"need int64 or uint32 indices, got {indices.dtype}")
        wide = np.ascontiguousarray(indices, dtype=np.int64)
        new = SecretBits(wide.size)
        with _both(new, self) as (to, source):
            check(lib.pl_secret_select(to, source, borrow(wide, np.int64), wide.size))
        return new

    def xor_in(self, other: SecretBits) -> None:
        """Bitwise XOR of an equally long buffer into this one."""
        with _both(self, other) as (to, source):
            check(lib.pl_secret_xor(to, source))

    def equals(self, other: SecretBits) -> bool:
        """Same length and bits; the time does not depend on the bits."""
        with _both(self, other) as (left, right):
            return bool(check(lib.pl_secret_equal(left, right)))

    def ones(self) -> int:
        """How many bits are set: discloses about log2(n) bits of information if published."""
        return self._handle.call(lib.pl_secret_ones)

    def wipe_range(self, start: int, stop: int) -> None:
        """Bits ``start`` to ``stop - 1`` become zero (spent pads)."""
        self._handle.call(lib.pl_secret_wipe, start, stop)

    def hmac_sha256(self, nonce: bytes) -> bytes:
        """HMAC-SHA256 (RFC 2104) keyed with these bits (whole bytes), 32 bytes.

        The message is the length in bits (8 bytes, big endian) and then ``nonce``, so that
        buffers that differ only in trailing zeros get different values.
        """
        out = bytearray(DIGEST_BYTES)
        target = ffi.from_buffer(_BYTES, out, require_writable=True)
        self._handle.call(lib.pl_hmac_sha256, nonce, len(nonce), target)
        return bytes(out)

    def disclose(self) -> bytes:
        """The bits, which from now on are public (test basis, test vectors)."""
        return bytes(self._bytes())

    def export(self) -> bytearray:
        """The bits for key delivery, and nothing else; the caller wipes the bytearray."""
        return self._bytes()

    def close(self) -> None:
        """Wipes and releases the memory; the length remains readable. May be called twice."""
        self._handle.close()

    @property
    def handle(self) -> CData:
        """The ``pl_secret *`` for other native modules, which keep this object alive and open."""
        return self._handle.pointer

    # ---- inside ----

    def _bytes(self) -> bytearray:
        out = bytearray((self._n_bits + 7) // 8)
        target = ffi.from_buffer(_BYTES, out, require_writable=True)
        self._handle.call(lib.pl_secret_export, target, len(out))
        return out

    def _copy(self, at: int, source: SecretBits, start: int, count: int) -> None:
        with _both(self, source) as (to, origin):
            check(lib.pl_secret_copy(to, at, origin, start, count))

    def _require_open(self) -> None:
        _ = self._handle.pointer

    def __len__(self) -> int:
        return self._n_bits

    def __enter__(self) -> SecretBits:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SecretBits of {self._n_bits} bits>"

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("secrets are compared with equals(), in constant time")

    __hash__ = None  # type: ignore[assignment]


@contextmanager
def _both(first: SecretBits, second: SecretBits) -> Iterator[tuple[CData, CData]]:
    """Both pointers, with both locks held (in a fixed order), so that neither handle can be
    closed.
    """
    with held(first._handle, second._handle):
        yield first._handle.pointer, second._handle.pointer


@contextmanager
def held(*handles: Handle) -> Iterator[None]:
    """Holds the locks of all handles during a call that takes several of them."""
    locks: list[Any] = [handle._lock for handle in {id(h): h for h in handles}.values()]
    locks.sort(key=id)
    release: list[Callable[[], None]] = []
    try:
        for lock in locks:
            lock.acquire()
            release.append(lock.release)
        yield
    finally:
        for undo in reversed(release):
            undo()
