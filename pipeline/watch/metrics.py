"""``/metrics`` of watch: the newest figures of every node."""

from __future__ import annotations

from photonlink.pipeline.status import metrics
from photonlink.pipeline.status.metrics import NodeFigures
from photonlink.pipeline.watch.board import live
from photonlink.pipeline.watch.service import Watch


def exposition(watch: Watch) -> bytes:
    """The page that Prometheus reads."""
    now = watch.clock()
    nodes = (
        NodeFigures(
            (n.site, n.node, n.link, n.role, str(n.emulated).lower()), live(n, now), n.state,
            {code: str(body.get("severity", "")) for code, body in n.holding.items()},
        )
        for n in watch.board.nodes.values()
    )  # fmt: skip
    return metrics.exposition(nodes, watch.board.refused)
