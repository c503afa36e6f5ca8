"""The commands that show and hand out key: ``key list`` and ``key take``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.options import JsonListOption

app = typer.Typer(help="Key in the store of a node that is not running.", rich_markup_mode=None)
StationArgument = Annotated[Path, typer.Argument(help="Station file of the node.")]


@app.command("list")
def list_(station: StationArgument, as_json: JsonListOption = False) -> None:
    """Blocks of key in the store: numbers, lengths and where they came from, never a bit."""
    from dataclasses import asdict

    from photonlink.pipeline.keys.delivery import stored_blocks
    from photonlink.pipeline.keys.ledger import Ledger
    from photonlink.pipeline.keys.policy import is_marked
    from photonlink.pipeline.node.station import load_node_station

    node = load_node_station(station).node
    ledger = Ledger.open(node.state_dir)
    try:
        blocks = stored_blocks(ledger)
    finally:
        ledger.close()
    if as_json:
        print(json.dumps([asdict(b) for b in blocks]))
        return
    for b in blocks:
        taken = ", delivered" if b.delivered else ""
        print(f"block {b.block}: {b.bits} bits, {b.provenance}{taken}")
    held = [b for b in blocks if not b.delivered]
    free = [b for b in held if node.allow_emulated_keys or not is_marked(b.provenance)]
    print(f"{sum(b.bits for b in held)} bits stored, {sum(b.bits for b in free)} can be taken")


@app.command()
def take(
    station: StationArgument,
    block: Annotated[int, typer.Argument(help="Number of the block, the same at both ends.")],
    file: Annotated[Path, typer.Argument(help="New file for the key (mode 0600).")],
) -> None:
    """Hand out one block, once. Key from emulated or recorded light is refused."""
    from photonlink.pipeline.keys.delivery import deliver
    from photonlink.pipeline.keys.ledger import Ledger
    from photonlink.pipeline.keys.store import DirectoryStore
    from photonlink.pipeline.node.station import load_node_station

    node = load_node_station(station).node
    ledger = Ledger.open(node.state_dir)
    try:
        store = DirectoryStore(node.state_dir / "keys")
        bits = deliver(ledger, store, block, file, allow_marked=node.allow_emulated_keys)
    finally:
        ledger.close()
    print(f"wrote {bits} bits of block {block} to {file}")
