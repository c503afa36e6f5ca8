"""What each end claims about its ledger; comparing the claims finds rollbacks and blocks in doubt.

Compared only after the Proof. Alice writes a block before she closes it, Bob before he tells bases;
so each end's numbers bound the other's, and an end that claims less has been rolled back. A claim
moves a pad position by at most one block's pads. Each end keeps the claim of the other's last
session (keys/claims.py): a claim below that is a rollback as well.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from photonlink.pipeline.keys.claims import DIRECTIONS, ClaimError, check, own_memory
from photonlink.pipeline.keys.claims import Claim as StoreClaim
from photonlink.pipeline.keys.ledger import PAD_BYTES
from photonlink.pipeline.protocol.channel.framing import ProtocolError

MAX_DAMAGED = 16  # in one Hello; further ones are sent with the next Hello


@dataclass(frozen=True, slots=True)
class LedgerClaim:
    """store: the sender's store; seen: the receiver's store, as the sender recorded it last.
    offered: number of the last block whose key was stored here. released, last_released: count of
    released blocks and the last of them. pending: the block that is stored and not released; 0:
    none. ready: the block that this end can still offer (Alice), verify or answer (Bob). pads:
    bytes spent, by direction. damaged: blocks whose stored key (True) or refill (False) did not
    decrypt at the sender; both ends burn them.
    """

    store: StoreClaim
    seen: StoreClaim | None
    next_block: int
    offered: int
    released: int
    last_released: int
    pending: int
    ready: int
    pads: tuple[int, int]
    damaged: tuple[tuple[int, bool], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values for a Hello."""
        return dataclasses.asdict(self)

    @classmethod
    def parse(cls, value: object) -> LedgerClaim:
        """The claim in a Hello. Raises ProtocolError unless all numbers are integers in range."""
        if not isinstance(value, dict):
            raise ProtocolError("malformed_message", "Hello holds no ledger")
        others = ("pads", "store", "seen", "damaged")
        names = [f.name for f in dataclasses.fields(cls) if f.name not in others]
        pads = value.get("pads")
        if not isinstance(pads, list) or len(pads) != len(DIRECTIONS):
            raise ProtocolError("malformed_message", "Hello holds no valid pads")
        numbers = {name: _count(value.get(name), name) for name in names}
        alice, bob = (_count(position, "pads") for position in pads)
        seen = value.get("seen")
        try:
            store = StoreClaim.parse(value.get("store"))
            remembered = StoreClaim.parse(seen) if seen is not None else None
        except ClaimError as error:
            raise ProtocolError("malformed_message", error.what) from error
        damaged = _damaged(value.get("damaged"))
        return cls(store=store, seen=remembered, pads=(alice, bob), damaged=damaged, **numbers)


@dataclass(frozen=True, slots=True)
class LedgerResolution:
    """release, burn: blocks in doubt at this end; release 0: none. resend: Alice sends her offer
    again. positions: offsets into the pads, by direction, from which both ends go on.
    """

    release: int
    burn: tuple[int, ...]
    resend: bool
    next_block: int
    positions: dict[str, int]


def compare(own: LedgerClaim, peer: LedgerClaim, *, is_alice: bool) -> LedgerResolution:
    """Decide about the blocks in doubt. Raises ProtocolError ``ledger_rolled_back`` when one side's
    ledger is behind what the other has recorded of it: an old backup, a second copy of the store,
    or a lost ledger.
    """
    alice, bob = (own, peer) if is_alice else (peer, own)
    _check_stores(own, peer)
    if alice.next_block < bob.next_block:
        raise _rolled_back(
            "alice", f"goes on with block {alice.next_block}, bob with {bob.next_block}"
        )
    if bob.next_block <= alice.offered:
        raise _rolled_back(
            "bob", f"goes on with block {bob.next_block}, alice has offered {alice.offered}"
        )
    resend = alice.pending != 0 and alice.pending == alice.ready == bob.ready
    release = bob.pending if bob.pending and bob.pending == alice.last_released else 0
    _check_released(alice, bob, release)
    positions = {}
    for k, direction in enumerate(DIRECTIONS):
        low, high = sorted((alice.pads[k], bob.pads[k]))
        if high - low > PAD_BYTES or low % PAD_BYTES or high % PAD_BYTES:
            behind = "alice" if alice.pads[k] == low else "bob"
            raise _rolled_back(behind, f"has spent {low} pad bytes of {direction}, not {high}")
        positions[direction] = high
    in_doubt = (own.pending, own.ready if not is_alice else 0)
    kept = {0, release, alice.pending if resend else 0}
    burn = tuple(sorted({block for block in in_doubt if block not in kept}))
    return LedgerResolution(
        0 if is_alice else release, burn, resend, max(own.next_block, peer.next_block), positions
    )


def _check_stores(own: LedgerClaim, peer: LedgerClaim) -> None:
    """Compare each store with what the other end recorded of it. The epoch may be one behind: a
    session that only one end has written (the other's Proof came late) is counted again. The other
    counters must not decrease.
    """
    try:
        if own.seen is not None:
            check(peer.store, dataclasses.replace(own.seen, epoch=own.seen.epoch - 1))
        if peer.seen is not None:
            seen = dataclasses.replace(peer.seen, epoch=peer.seen.epoch - 1)
            own_memory(own.store, seen)
    except ClaimError as error:
        raise ProtocolError("ledger_rolled_back", error.what, hint=error.hint) from error


def _check_released(alice: LedgerClaim, bob: LedgerClaim, release: int) -> None:
    bob_end = (bob.released + bool(release), max(bob.last_released, release))
    if (alice.released, alice.last_released) != bob_end:
        behind = "alice" if alice.released < bob_end[0] else "bob"
        raise _rolled_back(
            behind,
            f"has not released the same blocks: alice {alice.released}, the last "
            f"{alice.last_released}; bob {bob_end[0]}, the last {bob_end[1]}",
        )


def _rolled_back(whose: str, what: str) -> ProtocolError:
    return ProtocolError(
        "ledger_rolled_back",
        f"{whose}'s ledger {what}",
        hint="An old backup, a second copy or a lost ledger. Exchange a new pre-shared key.",
    )


def _damaged(value: object) -> tuple[tuple[int, bool], ...]:
    if not isinstance(value, list) or len(value) > MAX_DAMAGED:
        raise ProtocolError("malformed_message", "Hello holds no valid list of damaged blocks")
    found = []
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[1], bool):
            raise ProtocolError("malformed_message", "Hello holds no valid list of damaged blocks")
        found.append((_count(item[0], "damaged"), item[1]))
    return tuple(found)


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ProtocolError("malformed_message", f"Hello holds no valid {name}")
    return value
