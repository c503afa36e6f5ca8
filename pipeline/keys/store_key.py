"""The key that a node's store is sealed with: from a file, a systemd credential or a passphrase.

It lies outside the store, so that a copy of the store alone reveals nothing.
"""

from __future__ import annotations

import hmac
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.regular_file import FileError, require_regular
from photonlink.pipeline.keys.files import replace
from photonlink.pipeline.native.sealing import KEY_BITS, SALT_BYTES, SealingKey
from photonlink.pipeline.native.secret import SecretBits, SecretFileError

CREDENTIAL = "photonlink-store-key"
PASSPHRASE_FD = "PHOTONLINK_PASSPHRASE_FD"  # noqa: S105 - the name of a variable
_MAGIC, _CHECK_BYTES = b"PLSTKEY2", 16
_FILE_BYTES = len(_MAGIC) + KEY_BITS // 8 + _CHECK_BYTES
_SALT = struct.Struct(">8s16sIII16s")  # magic, salt, KiB, passes, 0, check of the key
_SALT_MAGIC = b"PLSALT02"
_MAX_PASSPHRASE = 1024


class StoreKeyError(PhotonlinkError):
    """The store's key is absent, damaged, wrong, or open to others."""


@dataclass(frozen=True, slots=True)
class KeySource:
    """Source of the key: exactly one field is set, or none for systemd's credential."""

    file: Path | None = None
    passphrase: bool = False


def create_key_file(path: Path) -> None:
    """A fresh key in a new file (0600). Raises StoreKeyError."""
    key = SealingKey.fresh()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, _MAGIC)
            key.write_file(descriptor)
            os.write(descriptor, _check(key))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except FileExistsError:
        raise StoreKeyError(
            "there is a file already", where=str(path), hint="A key is never overwritten."
        ) from None
    finally:
        key.close()


def open_store_key(source: KeySource, folder: Path) -> SealingKey:
    """The key of the store in ``folder``. Raises StoreKeyError."""
    if source.passphrase:
        return _from_passphrase(folder / "salt")
    if source.file is not None:
        return _from_file(source.file)
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (Path(credentials) / CREDENTIAL).exists():
        return _from_file(Path(credentials) / CREDENTIAL)
    raise StoreKeyError(
        "the store has no key",
        where=str(folder),
        hint="Make one with 'photonlink key new-store-key FILE' and name it in the station file: "
        '[node] store_key = "FILE"; or set store_passphrase = true; or give systemd\'s '
        f"LoadCredentialEncrypted={CREDENTIAL}.",
    )


def _check(key: SealingKey) -> bytes:
    return key.digest(b"photonlink store key")[:_CHECK_BYTES]


def _from_file(path: Path) -> SealingKey:
    """Read the key directly into locked memory."""
    try:
        about = require_regular(path)
        if os.name == "posix" and stat.S_IMODE(about.st_mode) & 0o077:
            raise StoreKeyError(
                f"the store's key has mode {stat.S_IMODE(about.st_mode):04o}: others can read it",
                where=str(path),
                hint=f"chmod 600 {path}",
            )
        with SecretBits.read_file(path, 0, 8 * len(_MAGIC)) as magic:
            head = magic.disclose()
        if head != _MAGIC or about.st_size != _FILE_BYTES:
            raise StoreKeyError("this is no key of a store, or a damaged one", where=str(path))
        key = SealingKey(SecretBits.read_file(path, len(_MAGIC), KEY_BITS))
        with SecretBits.read_file(path, _FILE_BYTES - _CHECK_BYTES, 8 * _CHECK_BYTES) as check:
            wanted = check.disclose()
    except (OSError, SecretFileError, FileError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.what
        raise StoreKeyError(f"cannot be read ({reason})", where=str(path)) from error
    if not hmac.compare_digest(_check(key), wanted):
        key.close()
        raise StoreKeyError("the store's key is damaged", where=str(path))
    return key


def _from_passphrase(salt_file: Path) -> SealingKey:
    """Argon2id of the typed passphrase; salt and cost are in the store and not secret."""
    try:
        data = salt_file.read_bytes() if salt_file.exists() else b""
        with read_passphrase() as words:
            if not data:
                return _new_salt(salt_file, words)
            if len(data) != _SALT.size or not data.startswith(_SALT_MAGIC):
                raise StoreKeyError("the salt of the passphrase is damaged", where=str(salt_file))
            _, salt, kibibytes, passes, zero, wanted = _SALT.unpack(data)
            if zero or not (8 <= kibibytes <= 1 << 21 and 1 <= passes <= 64):
                raise StoreKeyError("the salt of the passphrase is damaged", where=str(salt_file))
            key = SealingKey.from_passphrase(words, salt, kibibytes=kibibytes, passes=passes)
    except OSError as error:
        raise StoreKeyError(
            f"cannot be read or written ({error.strerror})", where=str(salt_file)
        ) from error
    if not hmac.compare_digest(_check(key), wanted):
        key.close()
        raise StoreKeyError(
            "another passphrase, or its salt is damaged",
            where=str(salt_file),
            hint="Type it again.",
        )
    return key


def _new_salt(salt_file: Path, words: SecretBits) -> SealingKey:
    salt, kibibytes, passes = os.urandom(SALT_BYTES), 1 << 16, 3
    key = SealingKey.from_passphrase(words, salt, kibibytes=kibibytes, passes=passes)
    replace(salt_file, _SALT.pack(_SALT_MAGIC, salt, kibibytes, passes, 0, _check(key)))
    return key


def read_passphrase() -> SecretBits:
    """One line from the terminal, or from the descriptor that PHOTONLINK_PASSPHRASE_FD names.

    It is read into one buffer, which is wiped. Raises StoreKeyError.
    """
    given = os.environ.get(PASSPHRASE_FD, "")
    line = bytearray(_MAX_PASSPHRASE)
    try:
        n = _read_line(int(given), line) if given.isdigit() else _ask(line)
    except OSError as error:
        raise StoreKeyError(
            f"no passphrase can be read ({error.strerror})",
            hint=f"Run it in a terminal, or name an open descriptor in {PASSPHRASE_FD}.",
        ) from error
    if n == 0:
        raise StoreKeyError("the passphrase is empty")
    return SecretBits.take(line, 8 * n)


def _read_line(descriptor: int, line: bytearray) -> int:
    """The length of the line, without its end."""
    view, n = memoryview(line), 0
    while n < len(line):
        got = os.readv(descriptor, [view[n : n + 1]])
        if got == 0 or line[n] in b"\r\n":
            break
        n += 1
    view.release()
    return n


def _ask(line: bytearray) -> int:
    import termios

    terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    try:
        before = termios.tcgetattr(terminal)
        silent = termios.tcgetattr(terminal)
        silent[3] &= ~termios.ECHO
        os.write(terminal, b"Passphrase of the store: ")
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        try:
            return _read_line(terminal, line)
        finally:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
            os.write(terminal, b"\n")
    finally:
        os.close(terminal)
