"""What must hold in every run besides Eve's knowing nothing: checked from the wire and from both
ends' ledgers.
"""

from __future__ import annotations

from photonlink.pipeline.attacks.link import Line
from photonlink.pipeline.keys.ledger import PAD_BYTES
from photonlink.pipeline.protocol.setup import Role


def broken_promise(line: Line, *, pads_may_repeat: bool = False) -> str:
    """The first promise that does not hold, or ""."""
    found = _keys(line) or _attempts(line)
    return found if pads_may_repeat else found or _pads(line)


def _keys(line: Line) -> str:
    """Both ends have released the same keys; a key released at one end only is in doubt at the
    other.
    """
    keys = {role: line.ends[role].keys() for role in Role}
    for block in keys[Role.ALICE].keys() & keys[Role.BOB].keys():
        if keys[Role.ALICE][block] != keys[Role.BOB][block]:
            return "the two ends released different keys"
    for role in Role:
        if line.ends[role.peer].restored:
            continue  # its ledger was set back
        for block in keys[role].keys() - keys[role.peer].keys():
            entry = line.ends[role.peer].ledger.state.blocks.get(block)
            if entry is None or entry.status not in ("prepared", "burnt"):
                return "one end released a key that the other never held"
    return ""


def _pads(line: Line) -> str:
    """Each pad serves one tag, and only a block that was offered spends pads."""
    if line.transcript.pads_used_twice:
        return "a pad was used for two tags"
    most = PAD_BYTES * line.transcript.offers
    for end in line.ends.values():
        if max(end.ledger.state.pads.values(), default=0) > most:
            return "pads were spent on a block that was never offered"
    return ""


def _attempts(line: Line) -> str:
    """Each attempt is charged at the ends that sent or received its bases."""
    for end in line.ends.values():
        p = end.parameters
        if end.restored:
            continue
        each = p.eps_sec + p.eps_cor + p.eps_auth
        if end.ledger.state.epsilon < line.transcript.attempts * each * (1 - 1e-9):
            return "an attempt was not charged"
    return ""
