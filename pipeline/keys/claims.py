"""What a node claims about its own store in a Hello, and how the peer checks it.

Each side writes down the peer's claim (``remember``) after Proof and before its tag is checked.
In the next session a peer that claims less than it claimed before was restored from a backup.
A claim moves the recorded values by a bounded step, so that an attacker who breaks the early
authentication cannot set them so high that the true peer is refused for ever.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.keys.ledger import PAD_BYTES, Ledger, LedgerState

DIRECTIONS = ("alice", "bob")
PADS_PER_BLOCK = 1  # per direction
_MAX = 1 << 62
_HEX = re.compile(r"[0-9a-f]*")


class ClaimError(PhotonlinkError):
    """``rolled_back``: the claim contradicts the recorded one; else it is malformed."""

    def __init__(self, what: str, *, rolled_back: bool = False) -> None:
        hint = "Restored from a backup? Exchange a new pre-shared key." if rolled_back else ""
        super().__init__(what, hint=hint)
        self.rolled_back = rolled_back


@dataclass(frozen=True, slots=True)
class Claim:
    """incarnation: 32 hex digits, fresh at each start. pads: first free byte per direction.

    head: hash of all releases; released: their number; delivered: number of blocks handed out.
    """

    incarnation: str
    epoch: int
    pads: dict[str, int]
    next_block: int
    released: int
    last_released: int
    head: str
    delivered: int

    @classmethod
    def of(cls, state: LedgerState, incarnation: str) -> Claim:
        """This node's claim for the next session, which its ledger opens only after Proof."""
        return cls(
            incarnation,
            state.epoch + 1,
            {d: state.pads.get(f"{d}/block", 0) for d in DIRECTIONS},
            state.next_block,
            state.released_count,
            state.last_released,
            state.head,
            state.delivered_count,
        )

    @classmethod
    def parse(cls, fields: object) -> Claim:
        """A claim from a peer's bytes, or from this node's ledger. Raises ClaimError: malformed or
        unbounded.
        """
        if not isinstance(fields, dict) or fields.keys() != _NAMES:
            raise ClaimError("a claim has other fields")
        pads = fields["pads"]
        if not isinstance(pads, dict) or pads.keys() != set(DIRECTIONS):
            raise ClaimError("a claim names other pads")
        numbers = {n: _count(fields[n]) for n in _NAMES - {"pads", "incarnation", "head"}}
        positions = {d: _count(pads[d]) for d in DIRECTIONS}
        if any(p % PAD_BYTES for p in positions.values()):
            raise ClaimError("a pad does not begin there")
        return cls(
            _digits(fields["incarnation"], (32,)),
            head=_digits(fields["head"], (0, 64)),
            pads=positions,
            **numbers,
        )

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


_NAMES = {f.name for f in dataclasses.fields(Claim)}


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX:
        raise ClaimError("a claim holds no valid number")
    return value


def _digits(value: object, lengths: tuple[int, ...]) -> str:
    if not isinstance(value, str) or len(value) not in lengths or not _HEX.fullmatch(value):
        raise ClaimError("a claim holds no valid hexadecimal digits")
    return value


def remembered(state: LedgerState) -> Claim | None:
    """The peer's last claim; None before the first session."""
    return Claim.parse(state.claim) if state.claim else None


def check(new: Claim, before: Claim | None) -> None:
    """Raises ClaimError ``rolled_back``: the peer claims less than before, opens a session with an
    old number, or has a different history.
    """
    if before is None:
        return
    for name in ("next_block", "released", "delivered"):
        if getattr(new, name) < getattr(before, name):
            raise _rolled(f"{name} {getattr(new, name)}", f"{getattr(before, name)}")
    for direction, position in new.pads.items():
        if position < before.pads[direction]:
            raise _rolled(f"{direction}'s pads at {position}", f"{before.pads[direction]}")
    if new.epoch <= before.epoch:
        raise _rolled(f"session {new.epoch}", f"session {before.epoch}")
    if new.released == before.released and new.head != before.head:
        raise _rolled("another history of releases", "this one")


def _rolled(now: str, then: str) -> ClaimError:
    return ClaimError(f"the peer claims {now}; {then} is remembered", rolled_back=True)


def own_memory(own: Claim, seen_by_peer: Claim | None) -> None:
    """Compare this node's store with the peer's record of it. Raises ClaimError ``rolled_back``
    when the record is ahead: then *this* store was restored.
    """
    if seen_by_peer is None:
        return
    behind = own.epoch <= seen_by_peer.epoch or own.next_block < seen_by_peer.next_block
    behind |= own.released < seen_by_peer.released or own.delivered < seen_by_peer.delivered
    behind |= any(own.pads[d] < seen_by_peer.pads[d] for d in DIRECTIONS)
    if behind:
        raise ClaimError(
            f"the peer remembers session {seen_by_peer.epoch} of this node, "
            f"{seen_by_peer.released} releases and {seen_by_peer.delivered} deliveries; "
            f"this store opens session {own.epoch} and knows of {own.released} and {own.delivered}",
            rolled_back=True,
        )


def remember(ledger: Ledger, claim: Claim) -> None:
    """On disk when this returns: after Proof, before the claim's tag is checked.

    Recorded values move by at most one session and one block's pads; larger claims are cut to that,
    so that a forged claim locks the true peer out for at most the time of one block.
    """
    before = remembered(ledger.state)
    if before is not None:
        step = PAD_BYTES * PADS_PER_BLOCK
        claim = dataclasses.replace(
            claim,
            epoch=min(claim.epoch, before.epoch + 1),
            next_block=min(claim.next_block, before.next_block + 1),
            released=min(claim.released, before.released + 1),
            delivered=min(claim.delivered, ledger.state.next_block),
            pads={d: min(p, before.pads[d] + step) for d, p in claim.pads.items()},
        )
    ledger.append({"t": "claim", "claim": claim.as_dict()})
