"""The pre-shared key: a file made once, copied to both nodes, never written again.

Layout: 8 bytes magic, 16 bytes public random id, 4 bytes length of the secret (big endian), then
the secret: 32 bytes for proofs, a hash key of 16 bytes per direction, and the pad pools
(handshake alice, handshake bob, block alice, block bob). What of it is spent stands in the
ledger, not here.
"""

from __future__ import annotations

import hmac
import os
import stat
import struct
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.native import sizes
from photonlink.pipeline.native.secret import SecretBits, SecretFileError

MAGIC = b"PLPSK\x00\x00\x01"
_HEAD = struct.Struct(">8s16sI")
_PROOF_BYTES, _MAC_BYTES = sizes.DIGEST_BYTES, sizes.POINT_BYTES
_FIXED_BYTES = _PROOF_BYTES + 2 * _MAC_BYTES
_DIRECTIONS = ("alice", "bob")
MIN_BYTES = 1024
MAX_BYTES = 1 << 24
DEFAULT_BYTES = 1 << 16
PAD_BYTES: int = sizes.PAD_BYTES


class PskError(PhotonlinkError, ValueError):
    """The pre-shared key file is absent, damaged, readable by others or in the way."""


class PreSharedKey:
    """Keys and pads of one pair of nodes; ``key_id`` is public."""

    def __init__(self, key_id: str, secret: SecretBits) -> None:
        n_bytes = len(secret) // 8
        if not MIN_BYTES <= n_bytes <= MAX_BYTES:
            raise PskError(f"a pre-shared key has {MIN_BYTES} to {MAX_BYTES} bytes, not {n_bytes}")
        self.key_id = key_id
        self._secret = secret
        pads = (n_bytes - _FIXED_BYTES) // PAD_BYTES  # in all four pools
        self._handshake_bytes = PAD_BYTES * (pads // 8)  # an eighth per direction
        self._block_bytes = PAD_BYTES * ((pads - 2 * (pads // 8)) // 2)
        self._proof_key = secret.slice(0, 8 * _PROOF_BYTES)

    @classmethod
    def generate(cls, n_bytes: int = DEFAULT_BYTES) -> PreSharedKey:
        """A fresh one from the operating system's randomness, in memory only."""
        return cls(os.urandom(16).hex(), SecretBits.random(8 * n_bytes))

    def copy(self) -> PreSharedKey:
        """The peer's copy, for two sessions in one process."""
        return PreSharedKey(self.key_id, self._secret.slice(0, len(self._secret)))

    def prove(self, transcript: bytes) -> bytes:
        """HMAC-SHA256 over public bytes: 32 bytes. Computational; spends nothing."""
        return self._proof_key.hmac_sha256(transcript)

    def check(self, mac: bytes, transcript: bytes) -> bool:
        return hmac.compare_digest(mac, self.prove(transcript))

    def mac_key(self, direction: str) -> SecretBits:
        """128 bits: the hash key of the direction in which ``direction`` sends."""
        start = _PROOF_BYTES + _MAC_BYTES * _DIRECTIONS.index(direction)
        return self._secret.slice(8 * start, 8 * (start + _MAC_BYTES))

    def pool_bytes(self, handshake: bool) -> int:
        """Pad bytes per direction in the pool for handshakes, or for blocks."""
        return self._handshake_bytes if handshake else self._block_bytes

    def pad(self, direction: str, handshake: bool, position: int, n_bytes: int) -> SecretBits:
        """``n_bytes`` of one pool from byte ``position`` on."""
        size = self.pool_bytes(handshake)
        if not 0 <= position <= size - n_bytes:
            raise IndexError(f"{n_bytes} bytes at {position} in a pool of {size}")
        start = _FIXED_BYTES + position + size * _DIRECTIONS.index(direction)
        if not handshake:
            start += 2 * self._handshake_bytes
        return self._secret.slice(8 * start, 8 * (start + n_bytes))

    def write(self, path: Path) -> None:
        """A new file, mode 0600; an existing one is never overwritten."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            raise PskError(
                "there is a file already",
                where=str(path),
                hint="A pre-shared key is never overwritten: choose another name.",
            ) from None
        try:
            os.write(descriptor, _HEAD.pack(MAGIC, bytes.fromhex(self.key_id), self._n_bytes))
            self._secret.write_file(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @property
    def _n_bytes(self) -> int:
        return len(self._secret) // 8

    def close(self) -> None:
        self._proof_key.close()
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
    """Read a file of ``create_psk``. Raises PskError; refuses one that others may read."""
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
    except OSError as error:
        raise PskError(
            f"cannot be read ({error.strerror})",
            where=str(path),
            hint="Make one with 'photonlink psk new' and copy it to both nodes.",
        ) from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise PskError(
            f"the pre-shared key has mode {stat.S_IMODE(mode):04o}: others can read it",
            where=str(path),
            hint=f"chmod 600 {path}",
        )
    if len(head) != _HEAD.size or not head.startswith(MAGIC):
        raise PskError("this is not a pre-shared key of photonlink", where=str(path))
    _, key_id, n_bytes = _HEAD.unpack(head)
    if path.stat().st_size != _HEAD.size + n_bytes or not MIN_BYTES <= n_bytes <= MAX_BYTES:
        raise PskError("the file is cut short or too long", where=str(path))
    try:
        secret = SecretBits.read_file(path, _HEAD.size, 8 * n_bytes)
    except (SecretFileError, OSError) as error:
        raise PskError("cannot be read", where=str(path)) from error
    return PreSharedKey(key_id.hex(), secret)
