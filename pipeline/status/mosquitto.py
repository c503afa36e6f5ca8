"""Configuration of a Mosquitto broker: TLS, accounts, write permissions, bridges between sites.

Text only, per version of the broker: mosquitto.conf(5) of 2.0.11; for 2.1 the pages "per listener
settings" and "password file" of mosquitto.org/documentation, which replace two options by plugins.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.status.topics import ROOT

VERSIONS = ("2.0", "2.1")
MAX_PACKET_BYTES = 65_536
HASH_ROUNDS = 101  # of mosquitto_passwd 2.0; the passwords are random, 192 bits
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
DISCOVERY = "homeassistant/device"


class BrokerConfigError(PhotonlinkError):
    """The requested broker cannot be configured."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A central broker that gets everything of this site. Files: of this broker there."""

    host: str
    port: int
    site: str
    ca: Path | None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """What the broker serves. nodes: (site, node); sites: bridges that come from other brokers."""

    listen: tuple[str, int]
    nodes: tuple[tuple[str, str], ...] = ()
    watchers: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_certificates: bool = False
    version: str = "2.0"
    plugins: Path = Path("/usr/lib")
    bridge: Bridge | None = None

    def check(self) -> None:
        """BrokerConfigError: what would be unsafe or cannot work."""
        for name in (*(n for pair in self.nodes for n in pair), *self.watchers, *self.sites):
            if not NAME.fullmatch(name):
                raise BrokerConfigError(
                    f"{name!r} is no name", hint="lower-case letters, digits and -, at most 64"
                )
        if self.version not in VERSIONS:
            raise BrokerConfigError(f"Mosquitto {self.version!r}: known are {', '.join(VERSIONS)}")
        if (self.certificate is None) != (self.key is None):
            raise BrokerConfigError("--certificate and --key belong together")
        if self.certificate is None and self.listen[0] not in ("127.0.0.1", "::1", "localhost"):
            raise BrokerConfigError(
                f"a broker on {self.listen[0]} without TLS would send passwords in clear",
                hint="--certificate and --key, or --listen 127.0.0.1:1883",
            )
        if self.client_certificates and (self.ca is None or self.certificate is None):
            raise BrokerConfigError("--client-certificates need --ca, --certificate and --key")
        if not (self.nodes or self.watchers or self.sites):
            raise BrokerConfigError("nobody may connect", hint="--node SITE/NODE, --watcher NAME")
        accounts = self.accounts()
        if len(set(accounts)) < len(accounts):
            raise BrokerConfigError("two accounts have one name")

    def accounts(self) -> list[str]:
        """Names that connect: a node is ``SITE.NODE``, a bridge ``bridge.SITE``."""
        return [
            *(f"{site}.{node}" for site, node in self.nodes),
            *self.watchers,
            *(f"bridge.{site}" for site in self.sites),
        ]


def configuration(plan: BrokerPlan, folder: Path) -> str:
    """mosquitto.conf, with absolute paths into ``folder``."""
    host, port = plan.listen
    lines = [
        f"# Written by photonlink broker-config for Mosquitto {plan.version}: write it again, do",
        "# not edit it. No websocket listener: 2.0.11 binds one to every address whatever it says.",
        "persistence true",
        "persistence_location /var/lib/mosquitto/",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "max_queued_messages 1000",
        "max_keepalive 120",
        f"listener {port} {host}",
        "allow_anonymous false" if plan.version == "2.0" else "listener_allow_anonymous false",
    ]
    if plan.certificate is not None:
        lines += [f"certfile {plan.certificate}", f"keyfile {plan.key}", "tls_version tlsv1.2"]
        if plan.ca is not None:
            lines.append(f"cafile {plan.ca}")
    if plan.client_certificates:
        lines += ["require_certificate true", "use_identity_as_username true"]
    lines += _access_files(plan, folder)
    if plan.bridge is not None:
        lines += _bridge(plan.bridge)
    return "\n".join(lines) + "\n"


def _access_files(plan: BrokerPlan, folder: Path) -> list[str]:
    wanted = [("acl_file", folder / "acl")]
    if not plan.client_certificates:
        wanted.append(("password_file", folder / "passwords"))
    if plan.version == "2.0":
        return [f"{option} {path}" for option, path in wanted]
    found = []
    for option, path in wanted:
        found.append(f"global_plugin {plan.plugins / f'mosquitto_{option}.so'}")
        found.append(f"plugin_opt_{option} {path}")
    return found


def _bridge(b: Bridge) -> list[str]:
    """Everything of one site, outwards only."""
    lines = [
        "",
        f"connection {b.site}",
        f"address {b.host}:{b.port}",
        "bridge_protocol_version mqttv50",  # expiry of a state and of an alarm goes along
        f"local_clientid bridge-{b.site}-out",
        f"remote_clientid bridge-{b.site}",
        f"topic {ROOT}/{b.site}/# out 1",
        "cleansession true",
        "notifications false",  # topics that the other broker's access list refuses
        "restart_timeout 1 30",  # with jitter, growing
        "keepalive_interval 30",
    ]
    if b.certificate is not None:
        lines += [f"bridge_certfile {b.certificate}", f"bridge_keyfile {b.key}"]
    else:
        lines += [f"remote_username bridge.{b.site}", "remote_password {password}"]
    if b.ca is not None:
        lines.append(f"bridge_cafile {b.ca}")
    return lines


def access_list(plan: BrokerPlan) -> str:
    """Who may read and write what; anything else is refused. No patterns: each account has lines of
    its own, so that no account name can act as a wildcard.
    """
    lines = ["# Written by photonlink broker-config."]
    for site, node in plan.nodes:
        lines += [
            f"user {site}.{node}",
            f"topic readwrite {ROOT}/{site}/{node}/#",  # it reads its own retained messages
            f"topic write {DISCOVERY}/photonlink-{site}-{node}/config",
        ]
    for site in plan.sites:
        lines += [f"user bridge.{site}", f"topic write {ROOT}/{site}/#"]
    for name in plan.watchers:
        lines += [f"user {name}", f"topic read {ROOT}/#", f"topic read {DISCOVERY}/#"]
    return "\n".join(lines) + "\n"


def new_password() -> str:
    """192 random bits."""
    return secrets.token_urlsafe(24)


def password_line(name: str, password: str) -> str:
    """A line of Mosquitto's password file: ``$7$`` PBKDF2-HMAC-SHA512, salt and hash in base64."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, HASH_ROUNDS)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{name}:$7${HASH_ROUNDS}${'$'.join(encoded)}"


def write(plan: BrokerPlan, folder: Path, bridge_password: str | None = None) -> list[Path]:
    """Write mosquitto.conf, acl, passwords and accounts/NAME.password; returns the paths.

    An account that has its password file keeps its password. bridge_password: of this broker's
    account at the central one.
    """
    plan.check()
    if plan.bridge is not None and plan.bridge.certificate is None and bridge_password is None:
        raise BrokerConfigError("the bridge needs a certificate or a password file")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    written = [_put(folder / "acl", access_list(plan))]
    if not plan.client_certificates:
        accounts = folder / "accounts"
        accounts.mkdir(mode=0o700, exist_ok=True)
        lines = []
        for name in plan.accounts():
            file = accounts / f"{name}.password"
            if not file.exists():
                written.append(_put(file, new_password() + "\n"))
            lines.append(password_line(name, file.read_text(encoding="utf-8").strip()))
        written.append(_put(folder / "passwords", "\n".join(lines) + "\n"))
    text = configuration(plan, folder).replace("{password}", bridge_password or "")
    return [_put(folder / "mosquitto.conf", text), *written]


def _put(path: Path, text: str) -> Path:
    """Written whole, for its owner alone from the first byte."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.chmod(0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
    return path
