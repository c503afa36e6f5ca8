"""The ledger: one append-only file that holds the life of every secret bit of a node.

A record is on disk (fsync) before the effect it describes. Its content is public: numbers of
blocks, lengths, positions, reasons; never a bit. Every record is sealed and holds its sequence
number; a head in the file holds the number of records. Layout: docs/ledger.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from pathlib import Path
from typing import Any

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.anchor import Anchor, AnchorError
from photonlink.pipeline.keys.files import replace, write_all
from photonlink.pipeline.keys.ledger_state import PAD_BYTES, BlockEntry, LedgerState
from photonlink.pipeline.keys.seals import SLOT_BYTES, StoreSeal
from photonlink.pipeline.native.sealing import TAG_BYTES, SealBroken

__all__ = ["PAD_BYTES", "BlockEntry", "Ledger", "LedgerError", "LedgerState", "LedgerUnwritable"]

MAGIC = b"PLLEDGR2"
HEAD_BYTES = 4096  # magic, lineage, two slots for the head; the rest is zero
SLOTS = (1024, 2048)
MAX_RECORD_BYTES = 1 << 16
COMPACT_RECORDS = 8192
_LENGTH = struct.Struct("<I")
# eight of these for each block; the head is written with the next record of another kind
_FREE = frozenset({"pad"})
_ANCHORED = frozenset({"psk", "session", "reserve", "delivered", "anchored"})
_RESTORE_NOTHING = (
    "Restore nothing: what was used is not known any more. 'photonlink key restart' burns what is "
    "stored; then exchange a new pre-shared key."
)


class LedgerError(PhotonlinkError):
    """The ledger cannot be trusted or written: no key is distilled until that is resolved."""


class LedgerUnwritable(LedgerError):
    """The disk refuses; the ledger is what it was, and goes on when the disk does."""


class Ledger:
    """Append records; read the state. ``open`` for a directory, ``memory`` for simulations.

    ``findings``: harmless oddities found at the opening, for the operator.
    """

    def __init__(self, path: Path | None, seal: StoreSeal | None, lineage: str) -> None:
        self.state = LedgerState()
        self.lineage, self.sequence = lineage, 0
        self.findings: list[str] = []
        self.recovered_bytes = 0  # bytes of a torn last record, cut off at the opening
        self._path, self._seal = path, seal
        self._descriptor = -1
        self._end, self._tag, self._since_snapshot = HEAD_BYTES, "", 0
        self._turn = 0  # the slot to write next
        self._broken = False  # a write failed: the whole file is rewritten before the next record
        self._anchor: Anchor | None = None
        self._anchor_due = False

    @classmethod
    def memory(cls) -> Ledger:
        return cls(None, None, "")

    @classmethod
    def open(cls, folder: Path, seal: StoreSeal) -> Ledger:
        """Open or create ``folder/ledger.log``; the caller holds the folder's lock.

        Raises LedgerError: damaged, cut off, or sealed with another key.
        """
        path = folder / "ledger.log"
        try:
            if not path.exists():
                ledger = cls(path, seal, os.urandom(16).hex())
                ledger._rewrite()
                return ledger
            data = path.read_bytes()
        except OSError as error:
            raise _unusable(str(path), error) from error
        ledger = cls(path, seal, data[len(MAGIC) : len(MAGIC) + 16].hex())
        ledger._load(data)
        return ledger

    # ---- reading ----
    def _load(self, data: bytes) -> None:
        head = self._read_head(data)
        position, known = HEAD_BYTES, int(head["sequence"])
        first = int(head["first"])
        self.sequence = first
        while position < len(data):
            body, end = self._open_record(data, position)
            if body is None:
                break
            self._take(body, position)
            position = end
        if self.sequence < known:
            raise LedgerError(
                f"record {self.sequence + 1} at byte {position} is damaged or cut off; "
                f"{known - self.sequence} records are known to follow",
                where=str(self._path),
                hint=_RESTORE_NOTHING,
            )
        self._end, self.recovered_bytes = position, len(data) - position
        if self.recovered_bytes > MAX_RECORD_BYTES + TAG_BYTES + 64:
            raise LedgerError(
                f"{self.recovered_bytes} bytes of nothing known follow byte {position}",
                where=str(self._path),
                hint=_RESTORE_NOTHING,
            )
        self._settle(known)

    def _settle(self, known: int) -> None:
        """Cut off the torn record of a crash, and write a head that fits the file."""
        try:
            self._reopen()
            if self.recovered_bytes:
                self.findings.append(
                    f"{self._path}: {self.recovered_bytes} bytes of a record that was never "
                    "completed were cut off; what it would have said has not happened"
                )
                os.ftruncate(self._descriptor, self._end)
                os.fsync(self._descriptor)
            if self.sequence != known or self.findings:
                self._write_head()
                self._write_head()
        except OSError as error:
            raise _unusable(str(self._path), error) from error

    def _read_head(self, data: bytes) -> dict[str, str | int]:
        """The later of the two slots. Raises LedgerError."""
        assert self._seal is not None  # noqa: S101 - only called for files
        if data.startswith(b"PLLEDGR1"):
            raise LedgerError(
                "this ledger is of version 1",
                where=str(self._path),
                hint="'photonlink key migrate STATION' converts it.",
            )
        blank = bytearray(data[:HEAD_BYTES])
        blank[: len(MAGIC) + 16] = bytes(len(MAGIC) + 16)
        found: list[tuple[int, dict[str, str | int]]] = []
        for turn, at in enumerate(SLOTS):
            slot = data[at : at + SLOT_BYTES]
            blank[at : at + SLOT_BYTES] = bytes(SLOT_BYTES)
            try:
                fields = self._seal.read_slot("head", slot, lineage=self.lineage)
            except (SealBroken, struct.error):
                self.findings.append(f"{self._path}: one of the two copies of the head was damaged")
                continue
            if fields:
                found.append((turn, fields))
        if not data.startswith(MAGIC) or len(data) < HEAD_BYTES or any(blank):
            raise LedgerError("this is not a ledger, or a damaged one", where=str(self._path))
        if not found:
            raise LedgerError(
                "the ledger's head does not open",
                where=str(self._path),
                hint="Sealed with another key, for another link or role, or damaged.",
            )
        turn, best = max(found, key=lambda item: int(item[1]["sequence"]))
        self._turn = 1 - turn
        return best

    def _open_record(self, data: bytes, position: int) -> tuple[bytes | None, int]:
        assert self._seal is not None  # noqa: S101 - only called for files
        if len(data) - position < _LENGTH.size:
            return None, position
        length = _LENGTH.unpack_from(data, position)[0]
        end = position + _LENGTH.size + length
        if end > len(data):
            return None, position
        sealed = data[position + _LENGTH.size : end]
        try:
            body = self._seal.unseal_public("ledger", sealed, **self._place())
        except SealBroken:
            return None, position
        self._tag = sealed[-TAG_BYTES:].hex()
        return body, end

    def _place(self) -> dict[str, str | int]:
        """The place of the next record, which its seal covers: ledger and predecessor."""
        return {"lineage": self.lineage, "sequence": self.sequence + 1, "after": self._tag}

    def _take(self, body: bytes, position: int) -> None:
        try:
            self.state.apply(json.loads(body))
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(
                f"the record at byte {position} makes no sense ({error})", where=str(self._path)
            ) from error
        self.sequence += 1
        self._since_snapshot += 1

    # ---- writing ----
    def append(self, record: dict[str, Any]) -> None:
        """Write, sync, then apply. Raises LedgerError; then nothing has changed, and the next call
        rewrites the whole file before its record, so that the ledger works again once the disk
        does.
        """
        reason = self.state.why_not(record)
        if reason:
            raise LedgerError(reason, where=str(self._path or "memory"))
        if self._path is not None:
            self._repair()
            self._write(record)
        self.state.apply(record)
        if self._path is not None and record["t"] in _ANCHORED:
            self._anchor_due = self._anchor is not None
            self._repair()
        if self._path is not None and self._since_snapshot > self._compact_after():
            with contextlib.suppress(OSError):  # the long file remains in use
                self._rewrite()

    def works(self) -> bool:
        """Whether it can be written; what failed before is tried again."""
        try:
            if self._path is not None:
                self._repair()
        except LedgerUnwritable:
            return False
        return True

    def _compact_after(self) -> int:
        return max(COMPACT_RECORDS, len(self.state.blocks) // 8)

    def _repair(self) -> None:
        """Repeat a write that failed earlier. Raises LedgerError."""
        try:
            if self._broken:
                self._rewrite()
        except OSError as error:
            raise _unusable(str(self._path), error) from error
        if self._anchor_due and self._anchor is not None:
            state = self.state
            try:
                self._anchor.write(self.sequence, state.epoch, state.delivered_count)
            except AnchorError as error:
                raise LedgerUnwritable(error.what, where=error.where, hint=error.hint) from error
            self._anchor_due = False

    def _write(self, record: dict[str, Any]) -> None:
        assert self._seal is not None  # noqa: S101 - only called for files
        body = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
        if len(body) > MAX_RECORD_BYTES:
            raise LedgerError(f"a record of {len(body)} bytes is too long", where=str(self._path))
        sealed = self._seal.seal_public("ledger", body, **self._place())
        before = (self.sequence, self._end, self._tag, self._since_snapshot)
        try:
            write_all(self._descriptor, _LENGTH.pack(len(sealed)) + sealed, self._end)
            os.fsync(self._descriptor)
            self.sequence, self._tag = self.sequence + 1, sealed[-TAG_BYTES:].hex()
            self._since_snapshot += 1
            self._end += _LENGTH.size + len(sealed)
            if record["t"] not in _FREE:
                self._write_head(sync=False)  # synced with the next record, or by the kernel
        except OSError as error:
            self.sequence, self._end, self._tag, self._since_snapshot = before
            self._broken = True
            raise _unusable(str(self._path), error) from error

    def _write_head(self, *, sync: bool = True) -> None:
        write_all(self._descriptor, self._slot(self._first), SLOTS[self._turn])
        if sync:
            os.fsync(self._descriptor)
        self._turn = 1 - self._turn

    @property
    def _first(self) -> int:
        """The sequence before the file's first record."""
        return self.sequence - self._since_snapshot

    def _slot(self, first: int) -> bytes:
        assert self._seal is not None  # noqa: S101 - only called for files
        fields: dict[str, str | int] = {"sequence": self.sequence, "first": first}
        return self._seal.slot("head", fields, lineage=self.lineage)

    def _rewrite(self) -> None:
        """Rewrite the file: its head and one record with the whole state. Raises OSError."""
        assert self._seal is not None and self._path is not None  # noqa: S101, PT018 - for files
        self.state.fold()
        body = json.dumps(self.state.snapshot(), separators=(",", ":")).encode()
        before = (self.sequence, self._end, self._tag, self._since_snapshot)
        self._tag = ""
        sealed = self._seal.seal_public("ledger", body, **self._place())
        first, self.sequence = self.sequence, self.sequence + 1
        head = bytearray(HEAD_BYTES)
        head[: len(MAGIC) + 16] = MAGIC + bytes.fromhex(self.lineage)
        for at in SLOTS:
            head[at : at + SLOT_BYTES] = self._slot(first)
        try:
            replace(self._path, bytes(head) + _LENGTH.pack(len(sealed)) + sealed)
            self._reopen()
        except OSError:
            self.sequence, self._end, self._tag, self._since_snapshot = before
            self._broken = True  # either of the two files may be there now
            raise
        self._end = HEAD_BYTES + _LENGTH.size + len(sealed)
        self._tag, self._since_snapshot = sealed[-TAG_BYTES:].hex(), 1
        self._broken = False

    def _reopen(self) -> None:
        assert self._path is not None  # noqa: S101 - only called for files
        descriptor = os.open(self._path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor

    # ---- the anchor ----
    def anchor(self, path: Path, *, renew: bool = False) -> None:
        """Compare with the anchor, and write it from now on. Raises LedgerError: rolled back.

        renew: accept the store as it is, after the operator has declared that it was not restored.
        """
        assert self._seal is not None  # noqa: S101 - only called for files
        fresh = not self.state.anchored or renew
        try:
            try:
                found = None if renew else Anchor.open(path, self._seal, self.lineage)
            except FileNotFoundError:
                found = None
            if found is None and not fresh:
                raise LedgerError(
                    "the store's anchor is gone",
                    where=str(path),
                    hint="Put it back. If it is lost and the store was not restored from a backup, "
                    "'photonlink key anchor --renew STATION' makes a new one.",
                )
            if found is None:
                found = Anchor.create(path, self._seal, self.lineage)
        except AnchorError as error:
            raise LedgerError(error.what, where=error.where, hint=error.hint) from error
        if found.sequence > self.sequence:
            raise LedgerError(
                f"ledger_rolled_back: the anchor {path} knows {found.sequence} records, the ledger "
                f"holds {self.sequence}",
                where=str(self._path),
                hint="The store was restored from a backup, and what was used since would be used "
                "again. Burn what it holds and exchange a new pre-shared key.",
            )
        self.findings += found.findings
        self._anchor = found
        if fresh:
            self.append({"t": "anchored", "yes": True})
        elif found.sequence < self.sequence:
            self._anchor_due = True
            self._repair()

    # ---- records that others write often ----
    def bind(self, psk_id: str, pools: tuple[int, int] | None = None) -> None:
        """Bind the ledger to its first pre-shared key, until that is replaced.

        pools: pad bytes of the key per direction, for handshakes and for blocks.
        """
        if not self.state.psk_id:
            self.append({"t": "psk", "id": psk_id, "pools": list(pools or ())})
        elif self.state.psk_id != psk_id:
            raise LedgerError(
                f"the ledger belongs to the pre-shared key {self.state.psk_id}, not {psk_id}",
                where=str(self._path or "memory"),
                hint="'photonlink psk replace' takes a new one into use, on both nodes.",
            )

    def spend_pad(self, pool: str, end: int) -> None:
        """Record the bytes below ``end`` of ``pool`` as used."""
        self.append({"t": "pad", "pool": pool, "end": end})

    def compact(self) -> None:
        """Rewrite the file in its short form. Raises LedgerError; the long one then remains."""
        try:
            self._rewrite()
        except OSError as error:
            raise _unusable(str(self._path), error) from error

    def close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # the head may be one pad behind: that is allowed
                if not self._broken:
                    self._write_head()
            os.close(self._descriptor)
            self._descriptor = -1


def _unusable(where: str, error: OSError) -> LedgerUnwritable:
    return LedgerUnwritable(
        f"cannot be read or written ({error.strerror or error})",
        where=where,
        hint="No key is made meanwhile. Free space or repair the disk; it goes on by itself.",
    )
