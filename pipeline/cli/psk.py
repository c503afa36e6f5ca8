"""Pre-shared keys: ``psk new``, ``psk show``, ``psk replace``."""

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from photonlink.pipeline.cli.options import JsonListOption

app = typer.Typer(
    help="Pre-shared keys: what two nodes need before their first block.", rich_markup_mode=None
)


@app.command("new")
def new(
    path: Annotated[Path, typer.Argument(help="New file; both nodes need a copy of it.")],
    kilobytes: Annotated[int, typer.Option(help="Size of the pads.", min=4, max=65536)] = 64,
) -> None:
    """Draw a pre-shared key. Carry it to the other node by hand, never over the network."""
    from photonlink.pipeline.keys.psk import create_psk
    from photonlink.pipeline.node.locked_memory import keep_out_of_core_files

    keep_out_of_core_files()
    create_psk(path, kilobytes * 1024)
    print(
        f"wrote {path}: copy it to the other node by a way you trust. Each node seals it in its "
        "store at the first start; destroy the files when both run"
    )


@app.command("show")
def show(
    path: Annotated[Path, typer.Argument(help="A pre-shared key, or the station file of a node.")],
    as_json: JsonListOption = False,
) -> None:
    """What a pre-shared key is good for: of a file, or of a node with what it has spent."""
    found = _of_station(path) if path.suffix == ".toml" else _of_file(path)
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' ')}: {value}")


@app.command("replace")
def replace(
    station: Annotated[Path, typer.Argument(help="Station file of the node, which is stopped.")],
    path: Annotated[Path, typer.Argument(help="The new pre-shared key.")],
) -> None:
    """Take a new pre-shared key into use. Stop both nodes, do this on both, start both."""
    from photonlink.pipeline.keys.delivery import stored_blocks
    from photonlink.pipeline.node.open_store import open_store
    from photonlink.pipeline.node.station import load_node_station

    with open_store(load_node_station(station)) as store:
        key_id = store.replace_psk(path)
        held = sum(b.bits for b in stored_blocks(store.ledger) if not b.delivered)
    print(
        f"the store goes on with the pre-shared key {key_id}; {held} bits of key stay. Do the same "
        f"on the other node, calibrate again, and name {path} in the station file"
    )


def _of_file(path: Path) -> dict[str, Any]:
    from photonlink.pipeline.keys.psk import PAD_BYTES, load_psk
    from photonlink.pipeline.node.locked_memory import keep_out_of_core_files

    keep_out_of_core_files()
    with contextlib.closing(load_psk(path)) as psk:
        per_direction = psk.pool_bytes(False) // PAD_BYTES
        return {
            "id": psk.key_id,
            "pads_per_direction": per_direction,
            "blocks_without_any_refill": per_direction,
        }


def _of_station(path: Path) -> dict[str, Any]:
    from photonlink.pipeline.keys.pads import DIRECTIONS, BlockPads
    from photonlink.pipeline.keys.psk import PAD_BYTES
    from photonlink.pipeline.node.open_store import open_store
    from photonlink.pipeline.node.station import load_node_station

    loaded = load_node_station(path)
    with (
        open_store(loaded) as store,
        contextlib.closing(store.psk(loaded.node.psk)) as psk,
    ):
        pads = BlockPads(psk, store.ledger, store.keys)
        left = {d: pads.left(d) // PAD_BYTES for d in DIRECTIONS}
        return {
            "id": psk.key_id,
            "pads_per_direction": psk.pool_bytes(False) // PAD_BYTES,
            "pads_spent": {d: pads.spent(d) // PAD_BYTES for d in DIRECTIONS},
            "pads_left_with_refills": left,
            "blocks_without_any_refill": min(left.values()),
            "sessions": store.ledger.state.epoch,
        }
