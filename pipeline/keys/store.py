"""Where secret bits of finished blocks rest: a directory of files, or memory.

Names and lengths are public. Bits go from C to the file and back; Python never holds them.
"""

from __future__ import annotations

import abc
import os
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.native.secret import SecretBits, SecretFileError


class StoreError(PhotonlinkError):
    """A key or pad file is missing, too short, or cannot be written."""


class KeyStore(abc.ABC):
    """Key and pads (refill) of blocks, by block number."""

    def put_key(self, block: int, bits: SecretBits) -> None:
        """Durable when this returns."""
        self._put(f"block-{block:08d}.key", bits)

    def put_pads(self, block: int, bits: SecretBits) -> None:
        self._put(f"block-{block:08d}.pad", bits)

    def get_key(self, block: int, n_bits: int) -> SecretBits:
        """A copy for the caller to close. Raises StoreError."""
        return self._get(f"block-{block:08d}.key", n_bits)

    def get_pads(self, block: int, n_bits: int) -> SecretBits:
        return self._get(f"block-{block:08d}.pad", n_bits)

    def remove(self, block: int) -> None:
        """Wipe what is stored of a block, if anything."""
        self._remove(f"block-{block:08d}.key")
        self.remove_pads(block)

    def remove_pads(self, block: int) -> None:
        """Wipe a block's refill, once all of it is spent."""
        self._remove(f"block-{block:08d}.pad")

    def remove_key(self, block: int) -> None:
        """Wipe the key of a block that was delivered; its pads stay."""
        self._remove(f"block-{block:08d}.key")

    @abc.abstractmethod
    def _put(self, name: str, bits: SecretBits) -> None: ...

    @abc.abstractmethod
    def _get(self, name: str, n_bits: int) -> SecretBits: ...

    @abc.abstractmethod
    def _remove(self, name: str) -> None: ...


class MemoryStore(KeyStore):
    """For replay, simulations and tests."""

    def __init__(self) -> None:
        self._bits: dict[str, SecretBits] = {}

    def _put(self, name: str, bits: SecretBits) -> None:
        self._bits[name] = bits.slice(0, len(bits))

    def _get(self, name: str, n_bits: int) -> SecretBits:
        bits = self._bits.get(name)
        if bits is None or len(bits) != n_bits:
            raise StoreError("no such bits", where=name)
        return bits.slice(0, n_bits)

    def _remove(self, name: str) -> None:
        bits = self._bits.pop(name, None)
        if bits is not None:
            bits.close()


class DigestStore(MemoryStore):
    """For replay, which needs to know that two keys are equal and never the keys: pads are kept
    until they are spent, of a key block only an HMAC under a nonce both sides were given."""

    def __init__(self, nonce: bytes) -> None:
        super().__init__()
        self._nonce = nonce
        self.digests: dict[int, bytes] = {}

    def put_key(self, block: int, bits: SecretBits) -> None:
        self.digests[block] = bits.hmac_sha256(self._nonce)

    def remove(self, block: int) -> None:
        self.digests.pop(block, None)
        super().remove(block)


class DirectoryStore(KeyStore):
    """One file per block and purpose, mode 0600, in a directory of mode 0700."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _put(self, name: str, bits: SecretBits) -> None:
        path = self._directory / name
        try:
            bits.write_file(path)
            _sync(self._directory)
        except SecretFileError as error:
            raise StoreError("cannot be written", where=str(path), hint=error.hint) from error
        except OSError as error:
            raise StoreError(f"cannot be written ({error})", where=str(path)) from error

    def _get(self, name: str, n_bits: int) -> SecretBits:
        path = self._directory / name
        try:
            return SecretBits.read_file(path, 0, n_bits)
        except (OSError, SecretFileError) as error:
            raise StoreError(f"cannot be read ({error})", where=str(path)) from error

    def _remove(self, name: str) -> None:
        """Overwrites, then deletes. On flash and journalling disks old copies may survive."""
        path = self._directory / name
        try:
            with path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"cannot be removed ({error})", where=str(path)) from error


def _sync(directory: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
