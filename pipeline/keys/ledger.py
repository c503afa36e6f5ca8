"""The ledger: one append-only file that holds the life of every secret bit of a node.

A record is on disk (fsync) before the effect it describes. What it says is public: numbers of
blocks, lengths, positions, reasons; never a bit. Layout of the file: docs/ledger.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.locking import lock_exclusively
from photonlink.pipeline.native import sizes

MAGIC = b"PLLEDGR1"
_MARK = b"\xa5\x5a"
_HEAD = struct.Struct("<2sII")  # mark, length of the body, CRC-32 of length and body
MAX_RECORD_BYTES = 1 << 16
PAD_BYTES: int = sizes.PAD_BYTES


class LedgerError(PhotonlinkError):
    """The ledger cannot be trusted or written: nothing is distilled until that is resolved."""


@dataclass(slots=True)
class BlockEntry:
    """Where a block stands: ``open`` → ``prepared`` → ``released``, or ``burnt``/``aborted``."""

    block: int
    status: str
    sifted_bits: int = 0
    key_bits: int = 0
    test_bits: int = 0
    leak_bits: int = 0
    secret_bits: int = 0
    refill_handshake_bytes: int = 0  # per direction
    refill_block_bytes: int = 0  # per direction
    epsilon: float = 0.0
    provenance: str = ""
    reason: str = ""
    session: str = ""

    @property
    def refill_bits(self) -> int:
        """Of the secret bits, how many went back into the pads: both pools and directions."""
        return 16 * (self.refill_handshake_bytes + self.refill_block_bytes)

    @property
    def net_bits(self) -> int:
        return self.secret_bits - self.refill_bits


@dataclass(slots=True)
class LedgerState:
    """What all records together say. ``pads``: bytes used, by "direction/pool"."""

    psk_id: str = ""
    epoch: int = 0
    peer_epoch: int = 0
    next_block: int = 1
    last_released: int = 0
    epsilon: float = 0.0
    secret_bits: int = 0
    pads: dict[str, int] = field(default_factory=dict)
    blocks: dict[int, BlockEntry] = field(default_factory=dict)
    released: list[int] = field(default_factory=list)
    delivered: set[int] = field(default_factory=set)
    delivered_bits: int = 0
    refilled: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    # after each release: bytes per direction put back so far (handshake, block)

    def apply(self, record: dict[str, Any]) -> None:
        """Fold one record in. Raises KeyError, TypeError or ValueError on nonsense."""
        kind = record["t"]
        if kind == "psk":
            self.psk_id = str(record["id"])
        elif kind == "session":
            self.epoch = int(record["epoch"])
        elif kind == "peer":
            self.peer_epoch = int(record["epoch"])
        elif kind == "pad":
            pool, end = str(record["pool"]), int(record["end"])
            if end < self.pads.get(pool, 0):
                raise ValueError(f"pad position of {pool} runs backwards")
            self.pads[pool] = end
        elif kind == "delivered":
            self._apply_delivered(int(record["block"]))
        elif kind == "block":
            self._apply_block(record)
        else:
            raise ValueError(f"unknown record {kind!r}")

    def _apply_block(self, record: dict[str, Any]) -> None:
        fields = {name: value for name, value in record.items() if name != "t"}
        number, status = int(fields["block"]), str(fields["status"])
        entry = self.blocks.get(number)
        allowed = _NEXT_STATUS[entry.status if entry else ""]
        if status not in allowed:
            raise ValueError(f"block {number} cannot become {status!r}")
        if entry is None:
            entry = self.blocks[number] = BlockEntry(**fields)
        for name, value in fields.items():
            setattr(entry, name, value)
        self.next_block = max(self.next_block, number + 1)
        if status == "released":
            self.released.append(number)
            handshake, block = self.refilled[-1]
            self.refilled.append(
                (handshake + entry.refill_handshake_bytes, block + entry.refill_block_bytes)
            )
            self.last_released = number
            self.epsilon += entry.epsilon
            self.secret_bits += entry.net_bits

    def _apply_delivered(self, number: int) -> None:
        entry = self.blocks.get(number)
        if entry is None or entry.status != "released" or number in self.delivered:
            raise ValueError(f"block {number} cannot be delivered")
        self.delivered.add(number)
        self.delivered_bits += entry.net_bits

    def pending(self) -> list[BlockEntry]:
        """Blocks prepared here whose release the peer has not confirmed: in doubt."""
        return [b for b in self.blocks.values() if b.status == "prepared"]

    def unfinished(self) -> list[BlockEntry]:
        return [b for b in self.blocks.values() if b.status == "open"]


_NEXT_STATUS = {
    "": {"open", "skipped"},
    "open": {"prepared", "burnt", "aborted"},
    "prepared": {"released", "burnt"},
    "released": set(),
    "burnt": set(),
    "aborted": set(),
    "skipped": set(),
}


class Ledger:
    """Append records; read the state. ``open`` for a directory, ``memory`` for simulations."""

    def __init__(self, file: BinaryIO | None, lock: contextlib.ExitStack, where: str) -> None:
        self.state = LedgerState()
        self.recovered_bytes = 0  # of a torn last record, cut off when the file was opened
        self._file, self._lock, self._where = file, lock, where
        self._poisoned = False

    @classmethod
    def memory(cls) -> Ledger:
        return cls(None, contextlib.ExitStack(), "memory")

    @classmethod
    def open(cls, directory: Path) -> Ledger:
        """Open or create ``directory/ledger.log``; refuse a second user and a damaged file."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = directory / "ledger.log"
        with contextlib.ExitStack() as stack:
            lock_exclusively(directory / "lock", stack)
            fresh = not path.exists()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            file = stack.enter_context(os.fdopen(descriptor, "r+b", buffering=0))
            ledger = cls(file, stack, str(path))
            if fresh or path.stat().st_size < len(MAGIC):
                ledger._start(directory)
            else:
                ledger._load()
            ledger._lock = stack.pop_all()
        return ledger

    def _start(self, directory: Path) -> None:
        assert self._file is not None  # noqa: S101 - only called for files
        self._file.truncate(0)
        self._write(MAGIC)
        if os.name == "posix":
            folder = os.open(directory, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _load(self) -> None:
        assert self._file is not None  # noqa: S101 - only called for files
        data = self._file.read()
        if not data.startswith(MAGIC):
            raise LedgerError("this is not a ledger", where=self._where)
        position = len(MAGIC)
        for body, end in _records(data, position):
            try:
                self.state.apply(json.loads(body))
            except (ValueError, KeyError, TypeError) as error:
                raise LedgerError(
                    f"the record at byte {position} makes no sense ({error})", where=self._where
                ) from error
            position = end
        self.recovered_bytes = len(data) - position
        if self.recovered_bytes:
            if _any_record_after(data, position + 1):
                raise LedgerError(
                    f"the record at byte {position} is damaged, valid ones follow",
                    where=self._where,
                    hint="Restore nothing: burn the key of both nodes and exchange a new PSK.",
                )
            self._file.truncate(position)
        self._file.seek(position)

    def append(self, record: dict[str, Any]) -> None:
        """Write, sync, then apply. After a failed write the ledger refuses everything."""
        body = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
        self._check_record(record)
        if self._file is not None:
            length = struct.pack("<I", len(body))
            self._write(_HEAD.pack(_MARK, len(body), zlib.crc32(length + body)) + body)
        self.state.apply(record)

    def _check_record(self, record: dict[str, Any]) -> None:
        """A record that cannot be applied must not reach the disk."""
        if record["t"] == "pad" and record["end"] < self.state.pads.get(record["pool"], 0):
            raise LedgerError(f"pads of {record['pool']} are already used", where=self._where)
        if record["t"] == "block":
            entry = self.state.blocks.get(record["block"])
            if record["status"] not in _NEXT_STATUS[entry.status if entry else ""]:
                raise LedgerError(
                    f"block {record['block']} cannot become {record['status']}", where=self._where
                )

    def _write(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 - only called for files
        if self._poisoned:
            raise LedgerError("an earlier write failed, nothing is written", where=self._where)
        try:
            written = self._file.write(data)
            os.fsync(self._file.fileno())
        except OSError as error:
            self._poisoned = True
            raise LedgerError(
                f"cannot write ({error.strerror})",
                where=self._where,
                hint="Key generation stops; free space or replace the disk, then restart.",
            ) from error
        if written != len(data):
            self._poisoned = True
            raise LedgerError("the disk took only part of a record", where=self._where)

    def bind(self, psk_id: str) -> None:
        """The ledger belongs to one pre-shared key, the first it meets."""
        if not self.state.psk_id:
            self.append({"t": "psk", "id": psk_id})
        elif self.state.psk_id != psk_id:
            raise LedgerError(
                f"the ledger belongs to the pre-shared key {self.state.psk_id}, not {psk_id}",
                where=self._where,
                hint="Use a new ledger directory for a new pre-shared key.",
            )

    def spend_pad(self, pool: str, end: int) -> None:
        """Bytes below ``end`` of ``pool`` are used from now on, whatever happens."""
        self.append({"t": "pad", "pool": pool, "end": end})

    def close(self) -> None:
        self._lock.close()


def _records(data: bytes, position: int) -> Iterator[tuple[bytes, int]]:
    """Bodies and end positions of the valid records from ``position`` on."""
    while len(data) - position >= _HEAD.size:
        mark, length, crc = _HEAD.unpack_from(data, position)
        end = position + _HEAD.size + length
        if mark != _MARK or length > MAX_RECORD_BYTES or end > len(data):
            return
        body = data[position + _HEAD.size : end]
        if zlib.crc32(struct.pack("<I", length) + body) != crc:
            return
        yield body, end
        position = end


def _any_record_after(data: bytes, position: int) -> bool:
    while (position := data.find(_MARK, position)) >= 0:
        if next(_records(data, position), None) is not None:
            return True
        position += 1
    return False
