"""A store of version 1 (plain files, ledger with checksums only) becomes a sealed one.

Kept: released key that was not delivered, numbers of blocks, what was delivered. Not kept: pads
and what was in doubt, because version 1 spends them otherwise; so the pair needs a new
pre-shared key. Nothing is wiped before the sealed store holds it and has been opened again.
"""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.files import replace, wipe
from photonlink.pipeline.keys.locking import lock_node
from photonlink.pipeline.keys.node_store import NodeStore, StorePlace
from photonlink.pipeline.keys.store import MAGIC as SEALED
from photonlink.pipeline.native.secret import SecretBits, SecretFileError

MAGIC_1 = b"PLLEDGR1"
_MARK = b"\xa5\x5a"
_HEAD = struct.Struct("<2sII")  # mark, length of the body, CRC-32 of length and body
OLD_LEDGER = "ledger.version-1"
PLAIN = "version-1"  # the old store while it is being sealed
_REASON = "in doubt when the store was migrated"


class MigrationError(PhotonlinkError):
    """The old store is damaged, or there is none. Nothing was changed."""


@dataclass(slots=True)
class _Old:
    """The content of a version 1 ledger."""

    epoch: int = 0
    next_block: int = 1
    blocks: dict[int, dict[str, Any]] = field(default_factory=dict)
    delivered: set[int] = field(default_factory=set)

    def held(self) -> Iterator[tuple[int, dict[str, Any], int]]:
        """Number, fields and bits of key of blocks that can still be delivered."""
        for number, entry in sorted(self.blocks.items()):
            refill = sum(entry.get(f"refill_{pool}_bytes", 0) for pool in ("handshake", "block"))
            bits = int(entry.get("secret_bits", 0)) - 16 * refill
            if entry["status"] == "released" and number not in self.delivered and bits > 0:
                yield number, entry, bits


def is_version_1(folder: Path) -> bool:
    """Whether the store in ``folder`` is of version 1."""
    begun = (folder / PLAIN).is_dir() and _starts(folder / OLD_LEDGER, MAGIC_1)
    return begun or _starts(folder / "ledger.log", MAGIC_1)


def _starts(path: Path, magic: bytes) -> bool:
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        return file.read(len(magic)) == magic
    return False


def migrate(place: StorePlace) -> list[str]:
    """Convert the store in place; returns what was done, for the operator. After a crash a second
    call goes on.

    Raises MigrationError: damaged or no store of version 1; InUseError.
    """
    folder = place.folder
    with contextlib.ExitStack() as stack:
        lock_node(folder, stack)
        if not is_version_1(folder):
            raise MigrationError("there is no store of version 1", where=str(folder))
        first = _starts(folder / "ledger.log", MAGIC_1)
        old = _read(folder / ("ledger.log" if first else OLD_LEDGER))
        plain = folder / PLAIN
        plain.mkdir(mode=0o700, exist_ok=True)
        if first:
            replace(folder / OLD_LEDGER, (folder / "ledger.log").read_bytes())
            (folder / "ledger.log").unlink()
        for path in (folder / "keys").glob("block-*.???"):
            if not _starts(path, SEALED):
                path.rename(plain / path.name)
    with NodeStore.open(place) as store:
        return _convert(store, old, plain)


def _convert(store: NodeStore, old: _Old, plain: Path) -> list[str]:
    done, state = [], store.ledger.state
    if state.epoch < old.epoch:
        store.ledger.append({"t": "session", "epoch": old.epoch, "id": "version 1"})
    for number, entry, bits in old.held():
        try:
            if _seal_block(store, number, entry, bits, plain / f"block-{number:08d}.key"):
                done.append(f"block {number}: {bits} bits of key sealed")
        except (OSError, SecretFileError) as error:
            done.append(f"block {number} is lost: its key cannot be read ({error})")
    if state.next_block < old.next_block:
        last = old.next_block - 1
        store.ledger.append({"t": "block", "block": last, "status": "skipped", "reason": _REASON})
    for path in sorted(plain.iterdir()):
        wipe(path)
    plain.rmdir()
    done.append("pads of version 1 are wiped: make a new pre-shared key ('photonlink psk new')")
    return done


def _seal_block(
    store: NodeStore, number: int, entry: dict[str, Any], bits: int, plain: Path
) -> bool:
    """Write a block's records into the new ledger, without its refill, from the point where a crash
    stopped.
    """

    def record(**fields: Any) -> None:
        store.ledger.append({"t": "block", "block": number, **fields})

    blocks = store.ledger.state.blocks
    if number not in blocks:
        counts = ("sifted_bits", "key_bits", "test_bits")
        record(status="open", **{str(n): entry[n] for n in counts if n in entry})
    if blocks[number].status == "open":
        with SecretBits.read_file(plain, 0, bits) as key:
            seal = store.keys.put_key(number, key)
        record(
            status="prepared",
            secret_bits=bits,
            key_seal=seal,
            leak_bits=entry.get("leak_bits", 0),
            epsilon=entry.get("epsilon", 0.0),
            provenance=entry.get("provenance", "emulated"),
        )
    if blocks[number].status != "prepared":
        return False
    record(status="released")
    return True


def _read(path: Path) -> _Old:
    """Raises MigrationError for anything but whole records and one torn last one."""
    data, old, position = path.read_bytes(), _Old(), len(MAGIC_1)
    while len(data) - position >= _HEAD.size:
        mark, length, crc = _HEAD.unpack_from(data, position)
        end = position + _HEAD.size + length
        body = data[position + _HEAD.size : end]
        if end > len(data):
            break
        if mark != _MARK or zlib.crc32(struct.pack("<I", length) + body) != crc:
            raise MigrationError(f"the record at byte {position} is damaged", where=str(path))
        try:
            _fold(old, json.loads(body))
        except (ValueError, KeyError, TypeError) as error:
            raise MigrationError(
                f"the record at byte {position} makes no sense ({error})", where=str(path)
            ) from error
        position = end
    return old


def _fold(old: _Old, record: dict[str, Any]) -> None:
    if record["t"] == "session":
        old.epoch = int(record["epoch"])
    elif record["t"] == "delivered":
        old.delivered.add(int(record["block"]))
    elif record["t"] == "block":
        number = int(record["block"])
        old.blocks.setdefault(number, {}).update(record)
        old.next_block = max(old.next_block, number + 1)
