"""How a program reaches its MQTT broker: address, account, TLS, and refusals in plain words."""

from __future__ import annotations

import logging
import os
import random
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiomqtt

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.regular_file import FileError, reason, require_regular
from photonlink.pipeline.status.password import read_password


class BrokerAddressError(PhotonlinkError):
    """The broker's address, or a file that belongs to it, cannot be used."""


class SaidByClient(logging.Handler):
    """The last error that the MQTT library logged: an alert of TLS 1.3 comes after the handshake,
    and the library logs it but then only reports a timeout.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker is and as whom to connect. Files are read when it is used.

    ca: of the broker's certificate; none: those of the system. certificate and key: our own.
    """

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        password_file: Path | None = None,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> BrokerAddress:
        """``mqtt[s]://[user@]host[:port]``. BrokerAddressError names what is wrong."""
        try:
            parts = urlsplit(url if "://" in url else f"mqtt://{url}")
            port = parts.port
        except ValueError as error:
            raise BrokerAddressError(f"broker {url!r}: {error}") from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise BrokerAddressError(
                f"broker {url!r} is no mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"
            )
        if parts.password:
            raise BrokerAddressError(
                "the broker's URL holds a password", hint="Use a password file: URLs end up in logs"
            )
        tls = parts.scheme == "mqtts"
        user = unquote(parts.username) if parts.username else None
        address = cls(parts.hostname, port or default_port(tls=tls), tls, user, password_file,
                      ca, certificate, key)  # fmt: skip
        address.check()
        return address

    def check(self) -> None:
        """Read every file once, so that faults are found before anything runs."""
        if not self.tls and (self.ca or self.certificate or self.key):
            raise BrokerAddressError(
                "certificates are given, and the connection is not encrypted",
                where=self.where,
                hint="mqtts://, or tls = true in [mqtt]",
            )
        self.password()
        self.context()

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"

    def password(self) -> str | None:
        return None if self.password_file is None else read_password(self.password_file)

    def context(self) -> ssl.SSLContext | None:
        """TLS 1.2 or later, the broker's name and certificate checked."""
        if not self.tls:
            return None
        require_tls_files(f"TLS files for {self.host}", self.ca, self.certificate, self.key)
        if self.key is not None:
            refuse_readable_by_others(self.key, "the key of our certificate")
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate is not None:
                # a key with a passphrase would prompt on the terminal
                context.load_cert_chain(
                    str(self.certificate), str(self.key) if self.key else None, password=_none
                )
        except (OSError, ssl.SSLError) as error:
            named = ", ".join(str(p) for p in (self.ca, self.certificate, self.key) if p)
            raise BrokerAddressError(
                f"TLS files for {self.host} ({named}): {tls_reason(error)}"
            ) from None
        return context

    def why(self, error: BaseException, before: str = "") -> str:
        """Why there is no connection, with the account where it is refused."""
        said = plain(error, before)
        if said != REFUSED:
            return said
        return f"the broker refuses user {self.username!r}: check username and password_file"

    def client(self, identifier: str, said: SaidByClient, *, keepalive_s: int, timeout_s: float,
               will: aiomqtt.Will | None = None, most_in: int | None = None,
               most_out: int | None = None) -> aiomqtt.Client:  # fmt: skip
        """An MQTT 5 client of aiomqtt, not yet connected."""
        log = logging.Logger("photonlink.mqtt", logging.WARNING)
        log.addHandler(said)
        said.last = ""
        return aiomqtt.Client(
            self.host,
            self.port,
            logger=log,
            identifier=identifier,
            username=self.username,
            password=self.password(),
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_context=self.context(),
            will=will,
            timeout=timeout_s,
            keepalive=keepalive_s,
            max_queued_incoming_messages=most_in,
            max_queued_outgoing_messages=most_out,
        )


def default_port(*, tls: bool) -> int:
    return 8883 if tls else 1883


def _none() -> str:
    return ""


def refuse_readable_by_others(path: Path, what: str) -> None:
    """BrokerAddressError when the file is missing or open to others."""
    try:
        mode = require_regular(path).st_mode
    except FileError as error:
        raise BrokerAddressError(f"{what}: {error.what}", where=str(path)) from None
    if os.name == "posix" and mode & 0o077:
        raise BrokerAddressError(
            f"others can read {what}", where=str(path), hint=f"chmod 600 {path}"
        )


def tls_reason(error: OSError) -> str:
    """Why OpenSSL refused files, in plain words."""
    return "no PEM files that fit together" if isinstance(error, ssl.SSLError) else reason(error)


def require_tls_files(what: str, *files: Path | None) -> None:
    """BrokerAddressError for one that is no file; OpenSSL's own message names none."""
    for file in files:
        try:
            if file is not None:
                require_regular(file)
        except FileError as error:
            raise BrokerAddressError(f"{what}: {error}") from None


REFUSED = "the broker refuses this user: name, password or certificate"
_SIGNS = (
    ("certificate has expired", "the broker's certificate has expired"),
    ("certificate is not yet valid", "the broker's certificate is not valid yet: check our clock"),
    ("hostname mismatch", "the broker's certificate is of another host"),
    ("ip address mismatch", "the broker's certificate is of another host"),
    ("certificate verify failed", "the broker's certificate is not of the CA that we trust"),
    ("certificate required", "the broker wants a certificate of us"),
    ("certificate expired", "our certificate has expired"),
    ("unknown ca", "the broker does not know the CA of our certificate"),
    ("wrong version number", "the broker does not speak TLS on this port"),
    ("unsupported protocol version", "the broker speaks MQTT 3.1.1 only; MQTT 5 is needed"),
    ("not authorized", REFUSED),
    ("bad user name", REFUSED),
    ("client identifier not valid", "the broker refuses the client's name"),
    ("connection refused", "nothing listens at the broker's address"),
    ("connect call failed", "nothing listens at the broker's address"),
    ("name or service not known", "the broker's host name is not known here"),
    ("temporary failure in name resolution", "the broker's host name cannot be looked up now"),
    ("timed out", "the broker does not answer"),
    ("keep alive timeout", "the broker did not answer any more"),
)


def plain(error: BaseException, before: str = "") -> str:
    """Why there is no broker, in one sentence. before: the library's last log entry."""
    said = str(error) or type(error).__name__
    lowered = f"{before} {said} {error.__cause__ or ''}".replace("_", " ").lower()
    found = next((sentence for sign, sentence in _SIGNS if sign in lowered), None)
    return found or said[:200]


def jittered(pause_s: float) -> float:
    """A random half to all of a pause, so that many programs do not reconnect at the same
    instant.
    """
    return pause_s * random.uniform(0.5, 1.0)  # noqa: S311
