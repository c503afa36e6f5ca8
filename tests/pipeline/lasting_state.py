"""A digest of all state that outlives a connection: unverified messages must not change it.

Records that are written ahead are checked separately (``written_ahead``): attempts, an offer in
doubt, the pads of at most one block. Every attribute of a session and every field of a ledger is
listed here, in one of the two classes: a new attribute that is not listed fails the tests.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import json
import textwrap
from typing import Any

from link import Node

from photonlink.pipeline.keys.ledger import BlockEntry, LedgerState
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.commitment import Commitment
from photonlink.pipeline.protocol.lasting import Lasting
from photonlink.pipeline.protocol.publishing import Publisher
from photonlink.pipeline.protocol.session import Session
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags

# Attributes of a session. LASTS: part of the digest. PASSES: those that end with the connection or
# do not depend on the peer.
LASTS: dict[type, set[str]] = {
    Session: {"_setup", "_lasting", "_commitment", "_tags", "_publisher"},
    Lasting: {"psk", "_ledger", "_store", "pads", "_incarnation", "provenance"},
    Publisher: set(),
    OwnTags: {"times", "started", "first_ps", "provenance", "_setup"},
    Commitment: {"_lasting", "_answered"},
}
PASSES: dict[type, set[str]] = {
    Session: {
        "_line", "_doors", "_effects", "_now_s", "_phase", "_last_received_s", "_status_s",
        "_randomness", "_deeds", "_finished", "_peer_finished", "_said_bye",
        "_clock_at_start",  # displayed by replay
        # delay before a new connection: grows with each wrong one-time tag
        "_backoff_s", "_not_before_s", "_blocks_at_wrong_tag",
        "_ended_s",  # end of this node's own input
    },
    Lasting: {"_damaged_messages"},  # own files that did not decrypt
    Publisher: {
        "_setup", "_lasting", "_effects", "_counted", "last_abort",
        "_alarms",  # alarms report events; the test waits until they end
        "_histogram",  # for display
        "_totals", "_latest",  # for display; they decide whether the last, partial block is tried
    },
    OwnTags: {"_randomness", "ended", "_buffer", "_forgotten_ps", "_history"},
    Commitment: {"_randomness", "_offered", "_expected"},  # written ahead, in doubt
}  # fmt: skip
# Fields of the ledger that attempts and reservations write ahead; checked separately.
AHEAD = {"epsilon", "next_block", "pads", "blocks", "offered"}
FINAL = ("released", "delivered")


def unnamed() -> list[str]:
    """Attributes that are listed in neither class, and listed attributes that do not exist."""
    found = []
    for cls, lasts in LASTS.items():
        named, real = lasts | PASSES[cls], _attributes(cls)
        found += [f"{cls.__name__}.{name}" for name in sorted(named ^ real)]
    return found


def _attributes(cls: type) -> set[str]:
    """The attributes that the methods of the class assign."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def digest(node: Node) -> str:
    """Digest of the lasting state, without records written ahead and without alarms."""
    return hashlib.sha256(json.dumps(state(node), sort_keys=True, default=str).encode()).hexdigest()


def state(node: Node) -> dict[str, Any]:
    ledger, session = node.ledger.state, node.session
    names = [f.name for f in dataclasses.fields(LedgerState) if f.name not in AHEAD]
    tags, lasting = session._tags, session._lasting
    return {
        "ledger": {name: repr(getattr(ledger, name)) for name in names},
        "blocks": {n: repr(e) for n, e in ledger.blocks.items() if _final(ledger, e)},
        "keys": [(k, _hash(node, k)) for k in sorted(node.store._bits) if _final_key(ledger, k)],  # type: ignore[attr-defined]
        "psk": _psk(node.psk),
        "setup": repr(dataclasses.replace(session._setup, psk=None)),  # type: ignore[arg-type]
        "bench": node.constants.as_dict(),
        "provenance": str(lasting.provenance),
        "incarnation": lasting._incarnation,
        "tags": [repr(getattr(tags, name)) for name in ("times", "started", "first_ps")],
        "own_provenance": str(tags.provenance),
        "answered": repr(session._commitment._answered),
    }


def _final(ledger: LedgerState, entry: BlockEntry) -> bool:
    return entry.status in FINAL


def _final_key(ledger: LedgerState, key: tuple[int, str]) -> bool:
    return key[0] in ledger.blocks and ledger.blocks[key[0]].status in FINAL


def _hash(node: Node, key: tuple[int, str]) -> str:
    bits = node.store._bits[key]  # type: ignore[attr-defined]
    return bits.hmac_sha256(b"lasting").hex()


def _psk(psk: PreSharedKey) -> tuple[str, int, str]:
    """Identifies the pads and hash keys of the pre-shared key by an HMAC made with them."""
    return psk.key_id, psk.pool_bytes(False), psk.prove(b"lasting").hex()


def written_ahead(node: Node) -> list[str]:
    """Faults of the records written ahead: none may give key or cost more than a block's pads."""
    ledger, found = node.ledger.state, []
    each = [e.epsilon for e in ledger.blocks.values()]
    if abs(ledger.epsilon - sum(each)) > 1e-12:
        found.append("epsilon was charged for no attempt")
    if ledger.next_block > max(ledger.blocks, default=0) + 1:
        found.append("a block number was skipped")
    if max(ledger.pads.values(), default=0) > 16 * (1 + len(ledger.released)):
        found.append(f"pads are gone: {ledger.pads}")
    open_ones = {n for n, e in ledger.blocks.items() if e.status in ("open", "prepared")}
    if len(open_ones) > 1:
        found.append(f"several blocks are open: {open_ones}")
    stray = {n for n, _ in node.store._bits if n not in open_ones | set(ledger.released)}  # type: ignore[attr-defined]
    if stray:
        found.append(f"keys of blocks that ended are stored: {stray}")
    return found
