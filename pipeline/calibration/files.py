"""The calibration file: canonical JSON of the record, and its HMAC under the pre-shared key.

The body is JSON with sorted keys and no spaces, so one record has one encoding; the digest that
both ends agree on is its SHA-256. The file is ``{"body": …, "format": …, "hmac": …, "psk": …}`` in
the same encoding, so that a file with any other byte is refused, even where its meaning is the
same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any, Protocol

from photonlink.pipeline.calibration.model import (
    Calibration,
    CalibrationMissing,
    CalibrationNotAuthenticated,
    CalibrationUnreadable,
)

FORMAT = "photonlink calibration 2"
FILE_NAME = "calibration.json"
MAX_FILE_BYTES = 1 << 20
_DOMAIN = b"photonlink calibration file\x00"
_HINT = "Calibrate again: photonlink check --calibrate"


class Prover(Protocol):
    """The part of the pre-shared key (keys/psk.py) that this module uses."""

    @property
    def key_id(self) -> str: ...

    def prove(self, transcript: bytes) -> bytes: ...

    def check(self, mac: bytes, transcript: bytes) -> bool: ...


def canonical(value: Any) -> bytes:
    """The one encoding of plain data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def with_digest(calibration: Calibration) -> Calibration:
    """The record as read back from its file: numbers in their canonical types."""
    again = Calibration.from_dict(json.loads(canonical(calibration.as_dict())))
    return dataclasses.replace(again, digest=digest(again))


def digest(calibration: Calibration) -> str:
    """SHA-256 of the canonical body, hexadecimal: what both ends agree on."""
    return hashlib.sha256(canonical(calibration.as_dict())).hexdigest()


def encode(calibration: Calibration, psk: Prover) -> bytes:
    """The file's bytes."""
    body = canonical(calibration.as_dict())
    found = {
        "body": calibration.as_dict(),
        "format": FORMAT,
        "hmac": psk.prove(_DOMAIN + body).hex(),
        "psk": psk.key_id,
    }
    return canonical(found)


def decode(data: bytes, psk: Prover, where: str = "calibration") -> Calibration:
    """Authenticate and read. The HMAC is checked before any value is used.

    CalibrationUnreadable, CalibrationNotAuthenticated, CalibrationContradictory.
    """
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"{len(data)} bytes")
        found = json.loads(data)
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r}")
        mac, key_id, body = bytes.fromhex(found["hmac"]), found["psk"], canonical(found["body"])
        known = set(found) == {"body", "format", "hmac", "psk"} and found["hmac"] == mac.hex()
        if not known or canonical(found) != data.strip():
            raise ValueError("not in the canonical encoding")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CalibrationUnreadable(
            "this is no calibration of photonlink, or it is damaged",
            where=where,
            seen=f"{type(error).__name__}: {error}"[:200],
            hint=_HINT,
        ) from None
    if key_id != psk.key_id:
        raise CalibrationNotAuthenticated(
            "the calibration belongs to another pre-shared key",
            where=where,
            seen=f"{str(key_id)[:12]}, this node's is {psk.key_id[:12]}",
            hint=_HINT,
        )
    if not psk.check(mac, _DOMAIN + body):
        raise CalibrationNotAuthenticated(
            "the calibration was changed after it was written", where=where, hint=_HINT
        )
    calibration = Calibration.from_dict(found["body"])
    if canonical(calibration.as_dict()) != body:
        raise CalibrationUnreadable(
            "the calibration has keys this version does not know", where=where, hint=_HINT
        )
    return dataclasses.replace(calibration, digest=hashlib.sha256(body).hexdigest())


def load(path: Path, psk: Prover) -> Calibration:
    """Read a file of :func:`write`; each kind of fault has its own CalibrationError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise CalibrationMissing(
            "there is no calibration of this link: no key without one",
            where=str(path),
            hint="At both ends: photonlink check STATION --calibrate --operator NAME",
        ) from None
    except OSError as error:
        raise CalibrationUnreadable(
            "the calibration cannot be read", where=str(path), seen=error.strerror or str(error)
        ) from error
    return decode(data, psk, str(path))


def write(path: Path, data: bytes) -> None:
    """Replace the file as a whole: after a crash it holds the old calibration or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
