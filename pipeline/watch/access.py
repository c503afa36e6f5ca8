"""Access control for viewing and acknowledging. Outside loopback a login is needed.

The password file has one ``name:argon2-hash`` a line (``photonlink watch --add-user NAME FILE``).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.regular_file import FileError, read_text, require_regular

SESSION_S = 12 * 3600.0
MAX_SESSIONS = 1_000
MAX_FAILURES_PER_MINUTE = 10
COOKIE = "photonlink_watch"


class AccessError(PhotonlinkError):
    """``watch`` may not listen there, or the password file cannot be used."""


def split_listen(listen: str) -> tuple[str, int]:
    """``HOST:PORT`` → both. AccessError for anything else."""
    host, colon, port = listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65_535 or not host:
        raise AccessError(f"--listen {listen!r} is no HOST:PORT", hint="e.g. 127.0.0.1:8080")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass
class Access:
    """Sessions and the users they belong to. ``users`` empty: loopback, no login."""

    users: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, tuple[str, float]] = field(default_factory=dict)
    failures: list[float] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path | None) -> Access:
        """From a password file; AccessError says which line is wrong."""
        if path is None:
            return cls()
        try:
            mode = require_regular(path).st_mode & 0o077
            lines = read_text(path, at_most=1 << 20).splitlines()
        except FileError as error:
            raise AccessError(f"password file {error}") from None
        if mode:
            raise AccessError(
                f"password file {path} can be read by others (mode {mode:o})",
                hint=f"chmod 600 {path}",
            )
        users = {}
        for n, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, colon, digest = line.strip().partition(":")
            if not colon or not digest.startswith("$argon2"):
                raise AccessError(f"password file {path}, line {n}: not NAME:ARGON2-HASH")
            users[name] = digest
        if not users:
            raise AccessError(f"password file {path} names nobody")
        return cls(users)

    def login(self, name: str, password: str) -> str | None:
        """A new session's token, or None. At most ten failures a minute are processed."""
        import argon2

        now = time.monotonic()
        self.failures = [t for t in self.failures if now - t < 60.0]
        if len(self.failures) >= MAX_FAILURES_PER_MINUTE:
            return None
        try:
            # an unknown name costs as much time as a known one
            digest = self.users.get(name) or next(iter(self.users.values()))
            argon2.PasswordHasher().verify(digest, password)
            known = name in self.users
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            known = False
        if not known:
            self.failures.append(now)
            return None
        token = secrets.token_urlsafe(32)
        self.sessions = {k: v for k, v in self.sessions.items() if v[1] > now}
        while len(self.sessions) >= MAX_SESSIONS:
            self.sessions.pop(next(iter(self.sessions)))
        self.sessions[token] = (name, now + SESSION_S)
        return token

    def who(self, token: str) -> str | None:
        """The user of a session; on loopback without users: ``operator``."""
        if not self.users:
            return "operator"
        now = time.monotonic()
        for known, (name, until) in self.sessions.items():
            if until > now and hmac.compare_digest(known, token):
                return name
        return None


def hash_password(password: str) -> str:
    """The hash of a password, as the password file holds it."""
    import argon2

    return argon2.PasswordHasher().hash(password)
