"""LinkState out of what the phases have put on show."""

from __future__ import annotations

from photonlink.pipeline.protocol.block_record import emulated, stored_bits
from photonlink.pipeline.protocol.channel.pads import POOLS
from photonlink.pipeline.protocol.context import Context
from photonlink.pipeline.status.model import LinkState, Phase


def link_state(ctx: Context, phase: Phase) -> LinkState:
    """The link as this node sees it now: public numbers only."""
    show = dict(ctx.show)
    show["channel_bps"] = ctx.channel_bps()
    show["epsilon"] = ctx.ledger.state.epsilon
    show["pads_left_bits"] = 8 * sum(ctx.pads.left(key) for key in POOLS)
    show["key_stored_bits"] = stored_bits(ctx)
    show["emulated"] = emulated(ctx)
    return LinkState(phase=phase, **show)
