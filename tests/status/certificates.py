"""Certificates made by the test: its own CA, brokers and clients signed by it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """``made.broker()``, ``made.client("name")``; ``made.file`` is the CA certificate."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self._key, ca=True)
        self.file = folder / f"{name.replace(' ', '-')}.crt"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self,
        common_name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        hosts: tuple[str, ...] = (),
        days: tuple[int, int] = (-1, 30),
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)

        def name(value: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value)])

        names: list[x509.GeneralName] = [x509.DNSName(h) for h in hosts if h == "localhost"]
        names += [x509.IPAddress(ipaddress.ip_address(h)) for h in hosts if h != "localhost"]
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common_name))
            .issuer_name(name(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=days[0]))
            .not_valid_after(now + dt.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _pair(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> Pair:
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        pair.key.chmod(0o600)
        return pair

    def broker(
        self,
        name: str = "broker",
        hosts: tuple[str, ...] = ("127.0.0.1", "localhost"),
        days: tuple[int, int] = (-1, 30),
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        return self._pair(name, self._sign(name, key, hosts=hosts, days=days), key)

    def client(self, name: str, days: tuple[int, int] = (-1, 30)) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        return self._pair(name, self._sign(name, key, days=days), key)
