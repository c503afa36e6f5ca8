"""Authenticated encryption of records on disk, from and to locked memory.

XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) by libsodium, BLAKE2b (RFC 7693) and Argon2id
(RFC 9106) by Monocypher; what is used of both is built with the core. A sealed record is nonce,
ciphertext and tag; its context is authenticated with it and not stored, so it decrypts only in its
own place.
"""

from __future__ import annotations

import os

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline._core import ffi, lib
from photonlink.pipeline.native.base import (
    Handle,
    NativeArgumentError,
    NativeDataError,
    Uncopied,
    check,
)
from photonlink.pipeline.native.secret import SecretBits, held

KEY_BITS = lib.PL_SEAL_KEY_BITS
OVERHEAD_BYTES = lib.PL_SEAL_OVERHEAD
TAG_BYTES = lib.PL_SEAL_TAG
SALT_BYTES: int = lib.PL_SALT_BYTES
KEYED_DIGEST_BYTES: int = lib.PL_KEYED_DIGEST_BYTES
_BYTES = ffi.typeof("uint8_t[]")


class SealBroken(PhotonlinkError, ValueError):
    """A record was changed, or sealed with another key or for another place."""


class SealingKey(Uncopied):
    """A key of 256 bits in locked memory. ``purpose`` keys derived from one are independent."""

    __slots__ = ("_key",)

    def __init__(self, key: SecretBits) -> None:
        """Takes ``key`` over. Raises NativeArgumentError unless it has 256 bits."""
        if len(key) != KEY_BITS:
            raise NativeArgumentError(lib.PL_E_ARGUMENT)
        self._key = key

    @classmethod
    def fresh(cls) -> SealingKey:
        return cls(SecretBits.random(KEY_BITS))

    @classmethod
    def from_passphrase(
        cls, passphrase: SecretBits, salt: bytes, *, kibibytes: int = 1 << 16, passes: int = 3
    ) -> SealingKey:
        """Argon2id with one lane; 64 MiB and three passes take about 0.2 s. salt: 16 bytes."""
        if len(salt) != SALT_BYTES:
            raise NativeArgumentError(lib.PL_E_ARGUMENT)
        key = SecretBits(KEY_BITS)
        with held(key._handle, passphrase._handle):
            status = lib.pl_stretch_passphrase(
                key.handle, passphrase.handle, salt, kibibytes, passes
            )
        check(status)
        return cls(key)

    def derive(self, purpose: bytes) -> SealingKey:
        """The key for one purpose."""
        key = SecretBits(KEY_BITS)
        with held(key._handle, self._key._handle):
            status = lib.pl_derive_key(key.handle, self._key.handle, purpose, len(purpose))
        check(status)
        return SealingKey(key)

    def digest(self, data: bytes) -> bytes:
        """Keyed BLAKE2b, 32 bytes, over public data."""
        out = bytearray(KEYED_DIGEST_BYTES)
        target = ffi.from_buffer(_BYTES, out, require_writable=True)
        self._key._handle.call(lib.pl_keyed_digest, data, len(data), target)
        return bytes(out)

    def seal(self, context: bytes, bits: SecretBits) -> bytes:
        """A record, OVERHEAD_BYTES longer than the bits."""
        out = bytearray((len(bits) + 7) // 8 + OVERHEAD_BYTES)
        target = ffi.from_buffer(_BYTES, out, require_writable=True)
        with held(self._key._handle, bits._handle):
            status = lib.pl_seal(
                self._key.handle, context, len(context), bits.handle, target, len(out)
            )
        check(status)
        return bytes(out)

    def seal_to(self, descriptor: int, context: bytes, bits: SecretBits) -> bytes:
        """Write the record to a file at its present position; returns its tag. Raises OSError."""
        tag = bytearray(TAG_BYTES)
        target = ffi.from_buffer(_BYTES, tag, require_writable=True)
        with held(self._key._handle, bits._handle):
            status = lib.pl_seal_fd(
                self._key.handle, context, len(context), bits.handle, descriptor, target
            )
            reason = ffi.errno
        if status == lib.PL_E_STATE and reason:
            raise OSError(reason, os.strerror(reason))
        check(status)
        return bytes(tag)

    def unseal(self, context: bytes, record: bytes, n_bits: int) -> SecretBits:
        """The bits of a record. Raises SealBroken."""
        bits = SecretBits(n_bits)
        with held(self._key._handle, bits._handle):
            status = lib.pl_unseal(
                self._key.handle, context, len(context), record, len(record), bits.handle
            )
        if status == lib.PL_E_DATA:
            bits.close()
            raise SealBroken("the seal is broken: this was changed, or belongs elsewhere")
        check(status)
        return bits

    def seal_public(self, context: bytes, data: bytes) -> bytes:
        """The same for bytes that are no secret."""
        out = bytearray(len(data) + OVERHEAD_BYTES)
        target = ffi.from_buffer(_BYTES, out, require_writable=True)
        self._key._handle.call(
            lib.pl_seal_public, context, len(context), data, len(data), target, len(out)
        )
        return bytes(out)

    def unseal_public(self, context: bytes, record: bytes) -> bytes:
        """Raises SealBroken."""
        out = bytearray(max(0, len(record) - OVERHEAD_BYTES))
        target = ffi.from_buffer(_BYTES, out, require_writable=True)
        try:
            self._key._handle.call(
                lib.pl_unseal_public, context, len(context), record, len(record), target, len(out)
            )
        except NativeDataError:
            raise SealBroken("the seal is broken: this was changed, or belongs elsewhere") from None
        return bytes(out)

    def write_file(self, descriptor: int) -> None:
        """The key itself, 32 bytes, into a key file."""
        self._key.write_file(descriptor)

    def close(self) -> None:
        self._key.close()

    @property
    def _handle(self) -> Handle:
        return self._key._handle

    def __repr__(self) -> str:
        return "<SealingKey>"


def protect_process() -> None:
    """Forbid core files and debuggers of the same user from now on. Raises NativeStateError."""
    check(lib.pl_protect_process())
