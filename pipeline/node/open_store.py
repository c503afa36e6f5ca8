"""The store that a node's station file names."""

from __future__ import annotations

from photonlink.pipeline.keys.node_store import NodeStore, StorePlace
from photonlink.pipeline.keys.store_key import KeySource
from photonlink.pipeline.node.locked_memory import keep_out_of_core_files
from photonlink.pipeline.node.station import NodeStation


def store_place(station: NodeStation) -> StorePlace:
    """Place, owner and key source of the store."""
    node = station.node
    source = KeySource(node.store_key, node.store_passphrase)
    return StorePlace(node.state_dir, node.link, node.role, source, node.anchor)


def open_store(station: NodeStation, *, renew_anchor: bool = False) -> NodeStore:
    """Locked and checked; from now on this process writes no core file. Raises what
    NodeStore.open raises."""
    keep_out_of_core_files()
    return NodeStore.open(store_place(station), renew_anchor=renew_anchor)
