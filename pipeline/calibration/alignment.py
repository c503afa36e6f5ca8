"""The alignment file: the result of ``photonlink align``, authenticated under the pre-shared key.

The node takes its setting and its model from here, so it is authenticated before it is used.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.calibration.files import MAX_FILE_BYTES, Prover, canonical, write

FORMAT = "photonlink alignment 1"
_DOMAIN = b"photonlink alignment file\x00"
_HINT = "Align again: photonlink align STATION, at both ends"


class AlignmentUnreadable(PhotonlinkError):
    """The alignment file is missing, damaged, or sealed with another pre-shared key."""


@dataclass(frozen=True, slots=True)
class AlignmentRecord:
    """One alignment. setting_deg: of all axes of the controllers, in their order.

    model: the numbers of ``LinkModel``: its parameters, and the rotations before and behind (3, 3).
    """

    measured_at_s: int
    valid_until_s: int
    controllers: tuple[str, ...]
    setting_deg: tuple[float, ...]
    moves: int
    qber: float
    floor: float
    emulated: bool
    model: dict[str, Any]


def save(path: Path, record: AlignmentRecord, psk: Prover) -> None:
    """Replace the file as a whole."""
    body = _plain(record)
    seal = psk.prove(_DOMAIN + canonical(body)).hex()
    write(path, canonical({"body": body, "format": FORMAT, "hmac": seal, "psk": psk.key_id}))


def read(path: Path, psk: Prover) -> AlignmentRecord:
    """The record; the seal is checked before any value is used. AlignmentUnreadable."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_FILE_BYTES))
        mac, body = bytes.fromhex(found["hmac"]), found["body"]
        good = found["format"] == FORMAT and found["psk"] == psk.key_id
        if not good or not psk.check(mac, _DOMAIN + canonical(body)):
            raise AlignmentUnreadable(
                "the alignment belongs to another pre-shared key, or was changed",
                where=str(path), hint=_HINT,
            )  # fmt: skip
        lists = {k: tuple(body[k]) for k in ("controllers", "setting_deg")}
        return AlignmentRecord(**(body | lists))
    except FileNotFoundError:
        raise AlignmentUnreadable("there is no alignment", where=str(path), hint=_HINT) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AlignmentUnreadable(
            "this is no alignment of photonlink, or it is damaged",
            where=str(path), seen=f"{type(error).__name__}: {error}"[:200], hint=_HINT,
        ) from None  # fmt: skip


def _plain(record: AlignmentRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(record)))
    return found
