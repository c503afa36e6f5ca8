"""The state that all records of a ledger add up to: a fold without I/O, and its short form."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from dataclasses import dataclass, field
from typing import Any

from photonlink.pipeline.native import sizes

PAD_BYTES: int = sizes.PAD_BYTES
RECENT_BLOCKS = 1000  # finished blocks whose entries are kept for people to read
_NEXT_STATUS = {
    "": {"open", "skipped"},
    "open": {"prepared", "burnt", "aborted"},
    "prepared": {"released", "burnt"},
    "released": {"burnt"},  # reason: its record was found damaged, here or at the peer
    "burnt": set(),
    "aborted": set(),
    "skipped": set(),
}


@dataclass(slots=True)
class BlockEntry:
    """Where a block stands: ``open`` → ``prepared`` → ``released``, or ``burnt``/``aborted``.

    key_seal, pad_seal: tags of the sealed files; other files of the block are refused.
    reserved: positions of its two pads, by direction.
    """

    block: int
    status: str
    sifted_bits: int = 0
    key_bits: int = 0
    test_bits: int = 0
    leak_bits: int = 0
    secret_bits: int = 0
    refill_handshake_bytes: int = 0  # per direction
    refill_block_bytes: int = 0  # per direction
    pairs: int = 0
    epsilon: float = 0.0  # of the attempt; charged when the block opens
    provenance: str = ""
    reason: str = ""
    session: str = ""
    key_seal: str = ""
    pad_seal: str = ""
    reserved: dict[str, int] = field(default_factory=dict)

    @property
    def refill_bits(self) -> int:
        """How many of the secret bits went back into the pads: both pools and directions."""
        return 16 * (self.refill_handshake_bytes + self.refill_block_bytes)

    @property
    def net_bits(self) -> int:
        return self.secret_bits - self.refill_bits


_FIELDS = tuple(f.name for f in dataclasses.fields(BlockEntry))


@dataclass(slots=True)
class LedgerState:
    """``epsilon``: summed over all attempts. ``offered``: the last block that was ever prepared.
    ``pads``: bytes used, by "direction/pool". ``refilled``: bytes per direction that blocks
    have put back (handshake, block): before ``released[0]``, then after each of ``released``,
    which are the blocks whose refill is not all spent. ``head``: a hash of all releases, the same
    at both ends. ``claim``: the peer's last claim. ``untold``: damaged blocks that
    the peer does not know of, with the reason."""

    psk_id: str = ""
    pools: list[int] = field(default_factory=list)  # own bytes per direction: handshake, block
    anchored: bool = False
    epoch: int = 0
    incarnation: str = ""
    peer_epoch: int = 0
    claim: dict[str, Any] = field(default_factory=dict)
    next_block: int = 1
    last_released: int = 0
    offered: int = 0
    released_count: int = 0  # under this pre-shared key
    head: str = ""
    epsilon: float = 0.0
    secret_bits: int = 0
    pads: dict[str, int] = field(default_factory=dict)
    blocks: dict[int, BlockEntry] = field(default_factory=dict)
    released: list[int] = field(default_factory=list)
    refilled: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    burnt_refill: set[int] = field(default_factory=set)
    delivered: set[int] = field(default_factory=set)
    delivered_count: int = 0
    delivered_bits: int = 0
    untold: dict[int, str] = field(default_factory=dict)

    def apply(self, record: dict[str, Any]) -> None:
        """Fold one record in. Raises KeyError, TypeError or ValueError on nonsense."""
        _APPLY[record["t"]](self, record)

    def why_not(self, record: dict[str, Any]) -> str:
        """Why a record cannot be applied, or ""."""
        kind = record["t"]
        if kind == "pad" and record["end"] < self.pads.get(record["pool"], 0):
            return f"pads of {record['pool']} are already used"
        if kind == "reserve":
            for direction, position in record["pads"].items():
                if position < self.pads.get(f"{direction}/block", 0):
                    return f"pads of {direction}/block are already used"
        if kind == "block":
            entry = self.blocks.get(record["block"])
            if record["status"] not in _NEXT_STATUS[entry.status if entry else ""]:
                return f"block {record['block']} cannot become {record['status']}"
            if entry and entry.status == "released" and not record.get("reason"):
                return f"block {record['block']} was released: it burns for a named reason only"
            if entry is None and record["block"] < self.next_block:
                return f"block {record['block']} was there before"
        if kind == "delivered":
            entry = self.blocks.get(record["block"])
            if entry is None or entry.status != "released" or record["block"] in self.delivered:
                return f"block {record['block']} cannot be delivered"
        return ""

    def _psk(self, record: dict[str, Any]) -> None:
        """A new pre-shared key: pads, refills and the peer's claim start again; blocks stay."""
        self.psk_id, self.pools = str(record["id"]), [int(n) for n in record.get("pools", [])]
        self.pads, self.claim, self.head = {}, {}, ""
        self.released, self.refilled, self.burnt_refill = [], [(0, 0)], set()
        self.released_count = self.last_released = self.offered = self.peer_epoch = 0

    def _session(self, record: dict[str, Any]) -> None:
        self.epoch = int(record["epoch"])
        self.incarnation = str(record.get("incarnation", ""))

    def _peer(self, record: dict[str, Any]) -> None:
        self.peer_epoch = int(record["epoch"])

    def _claim(self, record: dict[str, Any]) -> None:
        self.claim = dict(record["claim"])

    def _pad(self, record: dict[str, Any]) -> None:
        self._spend(str(record["pool"]), int(record["end"]))

    def _spend(self, pool: str, end: int) -> None:
        if end < self.pads.get(pool, 0):
            raise ValueError(f"pad position of {pool} runs backwards")
        self.pads[pool] = end

    def _reserve(self, record: dict[str, Any]) -> None:
        for direction, position in record["pads"].items():
            self._spend(f"{direction}/block", int(position) + PAD_BYTES)
        self.blocks[int(record["block"])].reserved = dict(record["pads"])

    def _block(self, record: dict[str, Any]) -> None:
        reason = self.why_not(record)
        if reason:
            raise ValueError(reason)
        fields = {name: value for name, value in record.items() if name not in ("t", "untold")}
        number, status = int(fields["block"]), str(fields["status"])
        entry = self.blocks.get(number)
        if entry is None:
            entry = self.blocks[number] = BlockEntry(**fields)
        if entry.status == "released" and number not in self.delivered:
            self.secret_bits -= entry.net_bits  # counted when released, never delivered
        for name, value in fields.items():
            if name not in _FIELDS:
                raise ValueError(f"a block has no {name}")
            setattr(entry, name, value)
        if record.get("untold"):
            self.untold[number] = entry.reason
        self.next_block = max(self.next_block, number + 1)
        if status == "open":
            self.epsilon += entry.epsilon
        elif status == "prepared":
            self.offered = number
        elif status == "released":
            self._release(entry)

    def _release(self, entry: BlockEntry) -> None:
        self.released.append(entry.block)
        handshake, block = self.refilled[-1]
        refill = (handshake + entry.refill_handshake_bytes, block + entry.refill_block_bytes)
        self.refilled.append(refill)
        self.last_released, self.released_count = entry.block, self.released_count + 1
        told = bytes.fromhex(self.head) + struct.pack(">QQ", entry.block, entry.secret_bits)
        self.head = hashlib.sha256(told).hexdigest()
        self.secret_bits += entry.net_bits

    def _delivered(self, record: dict[str, Any]) -> None:
        reason = self.why_not(record)
        if reason:
            raise ValueError(reason)
        number = int(record["block"])
        self.delivered.add(number)
        self.delivered_count += 1
        self.delivered_bits += self.blocks[number].net_bits

    def _told(self, record: dict[str, Any]) -> None:
        for number in record["blocks"]:
            self.untold.pop(int(number), None)

    def _refill_burnt(self, record: dict[str, Any]) -> None:
        number = int(record["block"])
        self.burnt_refill.add(number)
        if record.get("untold"):
            self.untold[number] = str(record["reason"])

    def _anchored(self, record: dict[str, Any]) -> None:
        self.anchored = bool(record["yes"])

    # ---- queries ----
    def pending(self) -> list[BlockEntry]:
        """Blocks prepared here whose release the peer has not confirmed: in doubt."""
        return [b for b in self.blocks.values() if b.status == "prepared"]

    def unfinished(self) -> list[BlockEntry]:
        return [b for b in self.blocks.values() if b.status == "open"]

    def erasable(self) -> dict[str, int]:
        """By pool, the bytes that can be erased: spent, and not of a block in doubt, whose tags may
        have to be checked after a restart.
        """
        ends = dict(self.pads)
        for entry in self.blocks.values():
            if entry.status in ("open", "prepared"):
                for direction, position in entry.reserved.items():
                    pool = f"{direction}/block"
                    ends[pool] = min(ends[pool], position)
        return ends

    def has_key(self, number: int) -> bool:
        """A key file of this block may lie in the store."""
        entry = self.blocks.get(number)
        if entry is None or number in self.delivered:
            return False
        return entry.status in ("open", "prepared", "released")

    def has_pads(self, number: int) -> bool:
        """A refill file of this block may lie in the store."""
        entry = self.blocks.get(number)
        if entry is None or number in self.burnt_refill:
            return False
        return number in self.released or entry.status in ("open", "prepared")

    def has_message(self, number: int) -> bool:
        """A prepared message of this block may still have to be sent again."""
        entry = self.blocks.get(number)
        return entry is not None and entry.status in ("open", "prepared", "released")

    # ---- the short form ----
    def fold(self) -> None:
        """Drop entries that are not needed any more: spent refills, finished blocks except the
        last.
        """
        erasable = self.erasable()
        while self.released and self._spent(self.refilled[0], self.refilled[1], erasable):
            self.burnt_refill.discard(self.released.pop(0))
            self.refilled.pop(0)
        kept = set(self.released) | {b for b in self.blocks if b > self.next_block - RECENT_BLOCKS}
        for number, entry in list(self.blocks.items()):
            held = self.has_key(number) and (entry.net_bits or entry.status != "released")
            if number not in kept and not held:
                del self.blocks[number]
                self.delivered.discard(number)

    def _spent(
        self, start: tuple[int, int], ends: tuple[int, int], erasable: dict[str, int]
    ) -> bool:
        if start == ends:
            return True  # a block without a refill
        if not self.pools:
            return False
        pairs = zip(("handshake", "block"), self.pools, ends, strict=True)
        return all(
            erasable.get(f"{direction}/{pool}", 0) >= own + end
            for pool, own, end in pairs
            for direction in ("alice", "bob")
        )

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain["blocks"] = [[getattr(b, name) for name in _FIELDS] for b in self.blocks.values()]
        plain["delivered"] = sorted(self.delivered)
        plain["burnt_refill"] = sorted(self.burnt_refill)
        plain["untold"] = sorted(self.untold.items())
        return {"t": "snapshot", "fields": _FIELDS, "state": plain}

    def _snapshot(self, record: dict[str, Any]) -> None:
        names, plain = record["fields"], dict(record["state"])
        entries = (BlockEntry(**dict(zip(names, row, strict=True))) for row in plain.pop("blocks"))
        self.blocks = {entry.block: entry for entry in entries}
        self.delivered = set(plain.pop("delivered"))
        self.burnt_refill = set(plain.pop("burnt_refill"))
        self.untold = {int(number): str(reason) for number, reason in plain.pop("untold")}
        self.refilled = [(int(h), int(b)) for h, b in plain.pop("refilled")]
        for name, value in plain.items():
            setattr(self, name, value)


_APPLY = {
    "psk": LedgerState._psk,
    "session": LedgerState._session,
    "peer": LedgerState._peer,
    "claim": LedgerState._claim,
    "pad": LedgerState._pad,
    "reserve": LedgerState._reserve,
    "block": LedgerState._block,
    "delivered": LedgerState._delivered,
    "told": LedgerState._told,
    "refill_burnt": LedgerState._refill_burnt,
    "anchored": LedgerState._anchored,
    "snapshot": LedgerState._snapshot,
}
