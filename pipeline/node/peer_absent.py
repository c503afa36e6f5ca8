"""What is said while nobody has proved to be the peer."""

from __future__ import annotations

from photonlink.pipeline.node.station import PeerSection
from photonlink.pipeline.status.alarms import alarm
from photonlink.pipeline.status.model import Alarm

PEER_ABSENT = "peer_absent"
PEER_PATIENCE_S = 10.0  # then it is said


def absent(peer: PeerSection, unreachable: str, *, met_another: bool) -> Alarm:
    """unreachable: why it could not be connected to. met_another: somebody was there, without a
    proof."""
    if met_another:
        text = f"whoever was met at {peer.listen or peer.connect} has not proved to be the peer"
    elif peer.listen is not None:
        text = f"nobody has connected to {peer.listen}. Does the peer run? Is its connect = right?"
    else:
        text = f"no connection to {peer.connect}{unreachable}. Does the peer run there?"
    return alarm(PEER_ABSENT, text)
