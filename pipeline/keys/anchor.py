"""The anchor: a small file outside the store's folder that holds the number of the ledger's last
used record.

Order of writes: store, anchor, use. So a store behind its anchor was restored from a backup,
and one that is ahead of it was interrupted, which is harmless. Put it on another file system
than the store, where no backup of the store can restore it as well.
"""

from __future__ import annotations

import os
from pathlib import Path

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.files import replace, write_all
from photonlink.pipeline.keys.seals import SLOT_BYTES, StoreSeal
from photonlink.pipeline.native.sealing import SealBroken

MAGIC = b"PLANCHR2"
_HEAD_BYTES = 512


class AnchorError(PhotonlinkError):
    """The anchor is absent, damaged, of another store, or ahead of this store."""


class Anchor:
    """``sequence``: number of the ledger's record up to which the store was used."""

    def __init__(self, path: Path, seal: StoreSeal, lineage: str) -> None:
        self.path, self._seal, self._lineage = path, seal, lineage
        self.sequence = self.epoch = self.delivered = 0
        self.findings: list[str] = []

    @classmethod
    def create(cls, path: Path, seal: StoreSeal, lineage: str) -> Anchor:
        """A new one at zero. Raises AnchorError when it cannot be written."""
        anchor = cls(path, seal, lineage)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace(path, MAGIC.ljust(_HEAD_BYTES, b"\0") + anchor._slot() + bytes(SLOT_BYTES))
        except OSError as error:
            raise anchor._unwritable(error) from error
        return anchor

    @classmethod
    def open(cls, path: Path, seal: StoreSeal, lineage: str) -> Anchor:
        """Read the anchor. Raises AnchorError, FileNotFoundError."""
        anchor = cls(path, seal, lineage)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise AnchorError(f"cannot be read ({error.strerror})", where=str(path)) from error
        head = MAGIC.ljust(_HEAD_BYTES, b"\0")
        if data[:_HEAD_BYTES] != head or len(data) != _HEAD_BYTES + 2 * SLOT_BYTES:
            raise AnchorError("this is no anchor, or a damaged one", where=str(path), hint=_LOST)
        found = []
        for at in (_HEAD_BYTES, _HEAD_BYTES + SLOT_BYTES):
            try:
                found.append(seal.read_slot("anchor", data[at : at + SLOT_BYTES], lineage=lineage))
            except SealBroken:
                anchor.findings.append(f"{path}: one of the anchor's two copies was damaged")
        known = [f for f in found if f]
        if not known:
            raise AnchorError(
                "the anchor is damaged, or belongs to another store", where=str(path), hint=_LOST
            )
        best = max(known, key=lambda f: int(f["sequence"]))
        anchor.sequence, anchor.epoch = int(best["sequence"]), int(best["epoch"])
        anchor.delivered = int(best["delivered"])
        if anchor.findings:
            anchor.write(anchor.sequence, anchor.epoch, anchor.delivered)
            anchor.write(anchor.sequence + 0, anchor.epoch, anchor.delivered, other=True)
        return anchor

    def write(self, sequence: int, epoch: int, delivered: int, *, other: bool = False) -> None:
        """Write a new sequence, synced on return. Raises AnchorError; the old anchor is then
        unchanged.
        """
        before = (self.sequence, self.epoch, self.delivered)
        self.sequence, self.epoch, self.delivered = sequence, epoch, delivered
        turn = (sequence + other) % 2
        try:
            descriptor = os.open(self.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            try:
                write_all(descriptor, self._slot(), _HEAD_BYTES + SLOT_BYTES * turn)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.sequence, self.epoch, self.delivered = before
            raise self._unwritable(error) from error

    def _slot(self) -> bytes:
        fields: dict[str, str | int] = {
            "sequence": self.sequence, "epoch": self.epoch, "delivered": self.delivered,
        }  # fmt: skip
        return self._seal.slot("anchor", fields, lineage=self._lineage)

    def _unwritable(self, error: OSError) -> AnchorError:
        return AnchorError(
            f"cannot be written ({error.strerror})",
            where=str(self.path),
            hint="Nothing is used before the anchor knows of it; it goes on when the disk does.",
        )


_LOST = (
    "If the store was not restored from a backup, 'photonlink key anchor --renew' makes a new one; "
    "else exchange a new pre-shared key."
)
