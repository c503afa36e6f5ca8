"""The pre-shared key: carried once to both nodes in a file, then sealed in each node's store.

Layout of the carrier: 8 bytes magic, 16 bytes public random id, 4 bytes length of the secret (big
endian), the secret, 32 bytes check (HMAC-SHA256 of the head under the secret, which detects a
changed bit). The secret: 32 bytes for HMAC keys (early refusal), a hash key of 16 bytes per
direction, and the pad pools (handshake alice, handshake bob, block alice, block bob). The ledger
records which pads are spent; spent pads are zero in the sealed copy and in memory.
"""

from __future__ import annotations

import hmac
import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.regular_file import FileError, require_regular
from photonlink.pipeline.keys.files import replace
from photonlink.pipeline.keys.seals import StoreSeal
from photonlink.pipeline.native import sizes
from photonlink.pipeline.native.sealing import OVERHEAD_BYTES, SealBroken, SealingKey
from photonlink.pipeline.native.secret import SecretBits, SecretFileError

MAGIC = b"PLPSK\x00\x00\x02"
MAGIC_1 = b"PLPSK\x00\x00\x01"  # bytes without the check
SEALED_MAGIC = b"PLPSKS\x00\x02"
_HEAD = struct.Struct(">8s16sI")
_SEALED_HEAD = struct.Struct(">8s16sIIIII")  # and the spent bytes of each pool
_CHECK_BYTES = sizes.DIGEST_BYTES
_PROOF_BYTES, _MAC_BYTES = sizes.DIGEST_BYTES, sizes.POINT_BYTES
_FIXED_BYTES = _PROOF_BYTES + 2 * _MAC_BYTES
_DIRECTIONS = ("alice", "bob")
POOLS = ("alice/handshake", "bob/handshake", "alice/block", "bob/block")  # in the secret's order
MIN_BYTES = 1024
MAX_BYTES = 1 << 24
DEFAULT_BYTES = 1 << 16
PAD_BYTES: int = sizes.PAD_BYTES


class PskError(PhotonlinkError, ValueError):
    """The pre-shared key file is absent, damaged or readable by others, or exists already."""


class PreSharedKey:
    """Keys and pads of one pair of nodes; ``key_id`` is public."""

    def __init__(self, key_id: str, secret: SecretBits) -> None:
        n_bytes = len(secret) // 8
        if not MIN_BYTES <= n_bytes <= MAX_BYTES:
            raise PskError(f"a pre-shared key has {MIN_BYTES} to {MAX_BYTES} bytes, not {n_bytes}")
        self.key_id = key_id
        self._secret = secret
        self._erased: dict[str, int] = {}
        pads = (n_bytes - _FIXED_BYTES) // PAD_BYTES  # in all four pools
        self._handshake_bytes = PAD_BYTES * (pads // 8)  # an eighth per direction
        self._block_bytes = PAD_BYTES * ((pads - 2 * (pads // 8)) // 2)
        self._proof_key = secret.slice(0, 8 * _PROOF_BYTES)
        self._mask_key = self.purpose_key("mask of tags")

    @classmethod
    def generate(cls, n_bytes: int = DEFAULT_BYTES) -> PreSharedKey:
        """A fresh key from the operating system's randomness, in memory only."""
        return cls(os.urandom(16).hex(), SecretBits.random(8 * n_bytes))

    def copy(self) -> PreSharedKey:
        """The peer's copy, for two sessions in one process."""
        other = PreSharedKey(self.key_id, self._secret.slice(0, len(self._secret)))
        other._erased = dict(self._erased)
        return other

    def prove(self, transcript: bytes) -> bytes:
        """HMAC-SHA256 over public bytes: 32 bytes. Computational; spends nothing."""
        return self._proof_key.hmac_sha256(transcript)

    def check(self, mac: bytes, transcript: bytes) -> bool:
        return hmac.compare_digest(mac, self.prove(transcript))

    def tag_mask(self, transcript: bytes) -> bytes:
        """16 bytes that mask a one-time tag in addition to its pad; this key has no other use."""
        return self._mask_key.digest(transcript)[:PAD_BYTES]

    def mac_key(self, direction: str) -> SecretBits:
        """128 bits: the hash key of the direction in which ``direction`` sends."""
        start = _PROOF_BYTES + _MAC_BYTES * _DIRECTIONS.index(direction)
        return self._secret.slice(8 * start, 8 * (start + _MAC_BYTES))

    def pool_bytes(self, handshake: bool) -> int:
        """Pad bytes per direction in the pool for handshakes, or for blocks."""
        return self._handshake_bytes if handshake else self._block_bytes

    def pad(self, direction: str, handshake: bool, position: int, n_bytes: int) -> SecretBits:
        """``n_bytes`` of one pool from byte ``position`` on: zeros below ``erased``."""
        start, size = self._pool(f"{direction}/{'handshake' if handshake else 'block'}")
        if not 0 <= position <= size - n_bytes:
            raise IndexError(f"{n_bytes} bytes at {position} in a pool of {size}")
        start += position
        return self._secret.slice(8 * start, 8 * (start + n_bytes))

    def purpose_key(self, purpose: str) -> SealingKey:
        """A computational key for one purpose (mask, HMACs), the same at both ends."""
        with self._secret.slice(0, 8 * _PROOF_BYTES) as bits:
            root = SealingKey(bits.slice(0, len(bits)))
        try:
            return root.derive(f"photonlink psk {purpose}".encode())
        finally:
            root.close()

    def erased(self, direction: str) -> int:
        """Erased bytes at the start of the block pool."""
        return self._erased.get(f"{direction}/block", 0)

    def burn(self, spent: Mapping[str, int]) -> None:
        """Zero the spent pads, given as bytes from the start of each pool ("alice/block":
        bytes).
        """
        for pool, end in spent.items():
            if pool in POOLS:
                start, size = self._pool(pool)
                self._secret.wipe_range(8 * start, 8 * (start + min(end, size)))
                self._erased[pool] = max(end, self._erased.get(pool, 0))

    def _pool(self, name: str) -> tuple[int, int]:
        """Offset of a pool in the secret, and its size, in bytes."""
        direction, _, kind = name.partition("/")
        handshake = kind == "handshake"
        size = self.pool_bytes(handshake)
        start = _FIXED_BYTES + size * _DIRECTIONS.index(direction)
        return (start if handshake else start + 2 * self._handshake_bytes), size

    def write(self, path: Path) -> None:
        """A new carrier, mode 0600; an existing one is never overwritten."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            raise PskError(
                "there is a file already",
                where=str(path),
                hint="A pre-shared key is never overwritten: choose another name.",
            ) from None
        head = _HEAD.pack(MAGIC, bytes.fromhex(self.key_id), self._n_bytes)
        try:
            os.write(descriptor, head)
            self._secret.write_file(descriptor)
            os.write(descriptor, self._secret.hmac_sha256(head))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_sealed(self, path: Path, seal: StoreSeal, spent: Mapping[str, int]) -> None:
        """The node's own copy, with zeros where pads are spent; an older one is wiped."""
        self.burn(spent)
        ends = [min(spent.get(pool, 0), self._pool(pool)[1]) for pool in POOLS]
        head = _SEALED_HEAD.pack(SEALED_MAGIC, bytes.fromhex(self.key_id), self._n_bytes, *ends)
        try:
            replace(path, head + seal.seal("psk", self._secret, head=head.hex()), wipe_old=True)
        except OSError as error:
            raise PskError(f"cannot be written ({error.strerror})", where=str(path)) from error

    @property
    def _n_bytes(self) -> int:
        return len(self._secret) // 8

    def close(self) -> None:
        self._proof_key.close()
        self._mask_key.close()
        self._secret.close()

    def __repr__(self) -> str:
        return f"PreSharedKey({self.key_id}, {self._n_bytes} bytes)"


def create_psk(path: Path, n_bytes: int = DEFAULT_BYTES) -> str:
    """Write a fresh pre-shared key to a new file (0600). Returns its public id."""
    psk = PreSharedKey.generate(n_bytes)
    try:
        psk.write(path)
        return psk.key_id
    finally:
        psk.close()


def load_psk(path: Path) -> PreSharedKey:
    """Read a carrier. Raises PskError; refuses one that others may read, and a damaged one."""
    try:
        about = require_regular(path)
        with SecretBits.read_file(path, 0, 8 * min(_HEAD.size, about.st_size)) as public:
            head = public.disclose()
    except (OSError, SecretFileError, FileError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.what
        raise PskError(
            f"cannot be read ({reason})",
            where=str(path),
            hint="Make one with 'photonlink psk new' and copy it to both nodes.",
        ) from error
    if os.name == "posix" and stat.S_IMODE(about.st_mode) & 0o077:
        raise PskError(
            f"the pre-shared key has mode {stat.S_IMODE(about.st_mode):04o}: others can read it",
            where=str(path),
            hint=f"chmod 600 {path}",
        )
    if head.startswith(MAGIC_1):
        raise PskError(
            "this pre-shared key is of version 1, without a check",
            where=str(path),
            hint="Make a new one ('photonlink psk new'); 'photonlink key migrate' keeps the key.",
        )
    if len(head) != _HEAD.size or not head.startswith(MAGIC):
        raise PskError("this is not a pre-shared key of photonlink", where=str(path))
    _, key_id, n_bytes = _HEAD.unpack(head)
    if (
        about.st_size != _HEAD.size + n_bytes + _CHECK_BYTES
        or not MIN_BYTES <= n_bytes <= MAX_BYTES
    ):
        raise PskError("the file is cut short or too long", where=str(path))
    try:
        secret = SecretBits.read_file(path, _HEAD.size, 8 * n_bytes)
        with SecretBits.read_file(path, _HEAD.size + n_bytes, 8 * _CHECK_BYTES) as public:
            wanted = public.disclose()
    except (SecretFileError, OSError) as error:
        raise PskError("cannot be read", where=str(path)) from error
    if not hmac.compare_digest(wanted, secret.hmac_sha256(head)):
        secret.close()
        raise PskError(
            "the pre-shared key is damaged", where=str(path), hint="Copy it from the other node."
        )
    return PreSharedKey(key_id.hex(), secret)


def load_sealed_psk(path: Path, seal: StoreSeal) -> tuple[PreSharedKey, dict[str, int]]:
    """The node's own copy, and the spent bytes of each pool. Raises PskError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PskError(f"cannot be read ({error.strerror})", where=str(path)) from error
    head, record = data[: _SEALED_HEAD.size], data[_SEALED_HEAD.size :]
    try:
        if len(head) < _SEALED_HEAD.size or not head.startswith(SEALED_MAGIC):
            raise SealBroken("this is no sealed pre-shared key")
        _, key_id, n_bytes, *ends = _SEALED_HEAD.unpack(head)
        if not MIN_BYTES <= n_bytes <= MAX_BYTES or len(record) != n_bytes + OVERHEAD_BYTES:
            raise SealBroken("the file is cut short or too long")
        secret = seal.unseal("psk", record, 8 * n_bytes, head=head.hex())
    except SealBroken as error:
        raise PskError(
            f"the stored pre-shared key is damaged ({error.what})",
            where=str(path),
            hint="Nothing of it is used. Exchange a new one: 'photonlink psk replace'.",
        ) from error
    psk, spent = PreSharedKey(key_id.hex(), secret), dict(zip(POOLS, ends, strict=True))
    psk.burn(spent)
    return psk, spent
