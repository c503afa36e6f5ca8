"""Storage for the secret bits of finished blocks: a directory of sealed files, or memory.

Names and lengths are public. Bits go from locked memory into a sealed record and back; Python
never holds them. A record decrypts only with the values it was sealed for: kind, link, role, block,
length.
"""

from __future__ import annotations

import abc
import errno
import re
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.files import replace, wipe
from photonlink.pipeline.keys.seals import StoreSeal
from photonlink.pipeline.native.sealing import OVERHEAD_BYTES, TAG_BYTES, SealBroken
from photonlink.pipeline.native.secret import SecretBits

MAGIC = b"PLSEALD2"
MAX_MESSAGE_BYTES = 1 << 23
_NAME = re.compile(r"block-(\d{8,20})\.(key|pad|msg)(\.new)?")


class StoreError(PhotonlinkError):
    """A key or pad file is missing, or cannot be read or written."""


class DamagedRecord(StoreError):
    """A stored record was changed, exchanged or truncated: it is never used, and both ends burn
    it.
    """


class KeyStore(abc.ABC):
    """Key, pads (refill) and prepared messages of blocks, by block number.

    ``seal``, which a put returns, is the tag of the record; the ledger keeps it, and a get that
    is given it takes no other record, not even an authentic one of the same block.
    """

    def put_key(self, block: int, bits: SecretBits) -> str:
        """Store a key; durable when this returns. Raises StoreError."""
        return self._put(block, "key", bits)

    def put_pads(self, block: int, bits: SecretBits) -> str:
        return self._put(block, "pad", bits)

    def get_key(self, block: int, n_bits: int, seal: str = "") -> SecretBits:
        """A copy, which the caller closes. Raises StoreError, DamagedRecord."""
        return self._get(block, "key", n_bits, seal)

    def get_pads(self, block: int, n_bits: int, seal: str = "") -> SecretBits:
        return self._get(block, "pad", n_bits, seal)

    def put_message(self, block: int, message: bytes) -> None:
        """Store a message that is sent again unchanged, with its one-time tag."""
        if not 0 < len(message) <= MAX_MESSAGE_BYTES:
            raise StoreError(f"a message of {len(message)} bytes is not stored")
        with SecretBits.take(bytearray(message)) as bits:
            self._put(block, "msg", bits)

    def get_message(self, block: int) -> bytes | None:
        """The stored message or None. Raises DamagedRecord: then the block burns."""
        n_bytes = self._size(block, "msg")
        if n_bytes is None:
            return None
        if not n_bytes:
            raise DamagedRecord("the file is cut", where=f"message of block {block}")
        with self._get(block, "msg", 8 * n_bytes, "") as bits:
            return bits.disclose()

    def remove(self, block: int) -> None:
        """Wipe all records of a block."""
        for kind in ("key", "pad", "msg"):
            self._remove(block, kind)

    def remove_pads(self, block: int) -> None:
        """Wipe a block's refill, once all of it is spent."""
        self._remove(block, "pad")

    def remove_key(self, block: int) -> None:
        """Wipe the key of a block that was delivered; its pads stay."""
        self._remove(block, "key")

    def remove_message(self, block: int) -> None:
        """Wipe the stored message, once the peer has released the block."""
        self._remove(block, "msg")

    @abc.abstractmethod
    def _put(self, block: int, kind: str, bits: SecretBits) -> str: ...

    @abc.abstractmethod
    def _get(self, block: int, kind: str, n_bits: int, seal: str) -> SecretBits: ...

    @abc.abstractmethod
    def _size(self, block: int, kind: str) -> int | None: ...

    @abc.abstractmethod
    def _remove(self, block: int, kind: str) -> None: ...


class MemoryStore(KeyStore):
    """For replay, simulations and tests."""

    def __init__(self) -> None:
        self._bits: dict[tuple[int, str], SecretBits] = {}

    def copy(self) -> MemoryStore:
        """A copy, as from a backup of a disk."""
        other = MemoryStore()
        other._bits = {key: bits.slice(0, len(bits)) for key, bits in self._bits.items()}
        return other

    def _put(self, block: int, kind: str, bits: SecretBits) -> str:
        self._bits[block, kind] = bits.slice(0, len(bits))
        return ""

    def _get(self, block: int, kind: str, n_bits: int, seal: str) -> SecretBits:
        bits = self._bits.get((block, kind))
        if bits is None or len(bits) != n_bits:
            raise StoreError("no such bits", where=f"{kind} of block {block}")
        return bits.slice(0, n_bits)

    def _size(self, block: int, kind: str) -> int | None:
        bits = self._bits.get((block, kind))
        return None if bits is None else len(bits) // 8

    def _remove(self, block: int, kind: str) -> None:
        bits = self._bits.pop((block, kind), None)
        if bits is not None:
            bits.close()


class DigestStore(MemoryStore):
    """For replay, which compares keys without having them: pads are kept until they are spent; of a
    key block only an HMAC is kept, under a nonce that both sides were given.
    """

    def __init__(self, nonce: bytes) -> None:
        super().__init__()
        self._nonce = nonce
        self.digests: dict[int, bytes] = {}

    def put_key(self, block: int, bits: SecretBits) -> str:
        self.digests[block] = bits.hmac_sha256(self._nonce)
        return ""

    def remove(self, block: int) -> None:
        self.digests.pop(block, None)
        super().remove(block)


class DirectoryStore(KeyStore):
    """One sealed file per block and purpose, mode 0600, in a directory of mode 0700."""

    def __init__(self, directory: Path, seal: StoreSeal) -> None:
        self._directory, self._seal = directory, seal
        self._unwiped: set[Path] = set()  # could not be removed: tried again at the next write
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _failed("made", directory, error) from error

    def _path(self, block: int, kind: str) -> Path:
        return self._directory / f"block-{block:08d}.{kind}"

    def files(self) -> list[tuple[Path, int, str]]:
        """Path, block and kind of every file; the kind is empty for files that are not the
        store's.
        """
        found = []
        try:
            for path in sorted(self._directory.iterdir()):
                match = _NAME.fullmatch(path.name)
                kind = match[2] if match and not match[3] else ""
                found.append((path, int(match[1]) if match else 0, kind))
        except OSError as error:
            raise _failed("listed", self._directory, error) from error
        return found

    def wipe_file(self, path: Path) -> None:
        try:
            wipe(path)
        except OSError as error:
            self._unwiped.add(path)
            raise _failed("wiped", path, error) from error
        self._unwiped.discard(path)

    def _put(self, block: int, kind: str, bits: SecretBits) -> str:
        path = self._path(block, kind)
        for left in sorted(self._unwiped - {path}):
            self.wipe_file(left)
        tag = b""

        def sealed(descriptor: int) -> None:
            nonlocal tag
            tag = self._seal.seal_to(kind, descriptor, bits, block=block, length=len(bits))

        try:
            replace(path, MAGIC, then=sealed)
        except OSError as error:
            raise _failed("written", path, error) from error
        return tag.hex()

    def _get(self, block: int, kind: str, n_bits: int, seal: str) -> SecretBits:
        path = self._path(block, kind)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise DamagedRecord("the file is gone", where=str(path)) from error
        except OSError as error:
            raise _failed("read", path, error) from error
        record = data[len(MAGIC) :]
        if seal and record[-TAG_BYTES:].hex() != seal:
            raise DamagedRecord(
                "this is not the record that the ledger knows: damaged, cut, or exchanged",
                where=str(path),
            )
        try:
            if not data.startswith(MAGIC):
                raise SealBroken("this is no sealed record of photonlink")
            return self._seal.unseal(kind, record, n_bits, block=block, length=n_bits)
        except SealBroken as error:
            raise DamagedRecord(error.what, where=str(path)) from error

    def _size(self, block: int, kind: str) -> int | None:
        try:
            size = self._path(block, kind).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed("read", self._path(block, kind), error) from error
        return max(0, size - OVERHEAD_BYTES - len(MAGIC))

    def _remove(self, block: int, kind: str) -> None:
        self.wipe_file(self._path(block, kind))


def _failed(verb: str, path: Path, error: OSError) -> StoreError:
    full = "Is the disk full? " if error.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT) else ""
    return StoreError(
        f"cannot be {verb} ({error.strerror})",
        where=str(path),
        hint=f"{full}It goes on by itself when the disk does.",
    )
