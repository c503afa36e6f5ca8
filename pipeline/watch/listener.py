"""Listens to a broker for ``photonlink watch``: never publishes, comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiomqtt

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.regular_file import FileError, reason, require_regular
from photonlink.pipeline.status.password import read_password
from photonlink.pipeline.status.topics import ROOT

BACKOFF_S = (0.5, 30.0)
TIMEOUT_S = 5.0
KEEPALIVE_S = 10


class BrokerAddressError(PhotonlinkError):
    """The broker's address or its files cannot be used."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """``mqtt[s]://[user@]host[:port]``; the password comes from a file, never a URL."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = None
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
        """From the command line. BrokerAddressError names what is wrong."""
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
                "the broker's URL holds a password", hint="Use --password-file: URLs end up in logs"
            )
        password = None
        if password_file is not None:
            password = read_password(password_file)
        tls = parts.scheme == "mqtts"
        user = unquote(parts.username) if parts.username else None
        return cls(parts.hostname, port or (8883 if tls else 1883), tls, user, password,
                   ca, certificate, key)  # fmt: skip

    def context(self) -> ssl.SSLContext | None:
        if not self.tls:
            return None
        require_tls_files(f"TLS files for {self.host}", self.ca, self.certificate, self.key)
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            if self.certificate is not None:
                context.load_cert_chain(str(self.certificate), str(self.key) if self.key else None)
        except (OSError, ssl.SSLError) as error:
            named = ", ".join(str(f) for f in (self.ca, self.certificate, self.key) if f)
            raise BrokerAddressError(
                f"TLS files for {self.host} ({named}): {tls_reason(error)}"
            ) from None
        return context


def tls_reason(error: OSError) -> str:
    """Why OpenSSL refused files, without its own words for it."""
    return "no PEM files that fit together" if isinstance(error, ssl.SSLError) else reason(error)


def require_tls_files(what: str, *files: Path | None) -> None:
    """BrokerAddressError for one that is no file; OpenSSL's own message names none."""
    for file in files:
        try:
            if file is not None:
                require_regular(file)
        except FileError as error:
            raise BrokerAddressError(f"{what}: {error}") from None


class BrokerListener:
    """Runs until cancelled; ``feed`` gets (topic, payload), ``trouble`` says why there is none."""

    def __init__(self, address: BrokerAddress, feed: Callable[[str, bytes], None]) -> None:
        self._address, self._feed = address, feed
        self._tls = address.context()
        self.connected = False
        self.trouble = "not connected yet"
        self.since_s = time.time()

    async def run(self) -> None:
        pause = BACKOFF_S[0]
        while True:
            try:
                async with self._client() as client:
                    await client.subscribe(f"{ROOT}/#", qos=0)
                    self.connected, self.trouble, pause = True, "", BACKOFF_S[0]
                    self.since_s = time.time()
                    async for message in client.messages:
                        payload = message.payload
                        self._feed(
                            str(message.topic), payload if isinstance(payload, bytes) else b""
                        )
            except (aiomqtt.MqttError, OSError, ssl.SSLError) as error:
                if self.connected or not self.trouble or self.trouble == "not connected yet":
                    self.since_s = time.time()
                self.connected = False
                self.trouble = _plain(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(2 * pause, BACKOFF_S[1])

    def _client(self) -> aiomqtt.Client:
        a = self._address
        return aiomqtt.Client(
            a.host,
            a.port,
            identifier=f"photonlink-watch-{random.getrandbits(48):012x}",
            username=a.username,
            password=a.password,
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_context=self._tls,
            timeout=TIMEOUT_S,
            keepalive=KEEPALIVE_S,
            max_queued_incoming_messages=20_000,
        )


def _plain(error: Exception) -> str:
    """One sentence for a person."""
    text = str(error) or type(error).__name__
    lowered = text.lower()
    for sign, sentence in (
        ("certificate has expired", "the broker's certificate has expired"),
        ("certificate verify failed", "the broker's certificate cannot be verified (--ca)"),
        ("unsupported protocol version", "the broker speaks MQTT 3.1.1 only; MQTT 5 is needed"),
        ("not authorized", "the broker refuses this user (name or password)"),
        ("bad user name", "the broker refuses this user (name or password)"),
        ("code:133", "the broker refuses the client's name"),
        ("refused", "nothing listens at the broker's address"),
    ):
        if sign in lowered:
            return sentence
    return text[:200]


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel and wait, swallowing the cancellation."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
