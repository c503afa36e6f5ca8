"""The commands about a node's store: ``key list``, ``take``, ``check``, ``new-store-key``, …"""

import json
from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.options import JsonListOption

app = typer.Typer(
    help="The store of a node that is not running: its key, its seals, its anchor.",
    rich_markup_mode=None,
)
StationArgument = Annotated[Path, typer.Argument(help="Station file of the node.")]


@app.command("list")
def list_(station: StationArgument, as_json: JsonListOption = False) -> None:
    """Blocks of key in the store: numbers, lengths and where they came from, never a bit."""
    from dataclasses import asdict

    from photonlink.pipeline.keys.delivery import stored_blocks
    from photonlink.pipeline.keys.policy import is_marked
    from photonlink.pipeline.node.open_store import open_store
    from photonlink.pipeline.node.station import load_node_station

    loaded = load_node_station(station)
    with open_store(loaded) as store:
        blocks = stored_blocks(store.ledger)
        findings = store.findings
    if as_json:
        print(json.dumps([asdict(b) for b in blocks]))
        return
    _tell(findings)
    for b in blocks:
        taken = ", delivered" if b.delivered else ""
        print(f"block {b.block}: {b.bits} bits, {b.provenance}{taken}")
    held = [b for b in blocks if not b.delivered]
    free = [b for b in held if loaded.node.allow_emulated_keys or not is_marked(b.provenance)]
    print(f"{sum(b.bits for b in held)} bits stored, {sum(b.bits for b in free)} can be taken")


@app.command()
def take(
    station: StationArgument,
    block: Annotated[int, typer.Argument(help="Number of the block, the same at both ends.")],
    file: Annotated[Path, typer.Argument(help="New file for the key (mode 0600).")],
) -> None:
    """Hand out one block, once. Key from emulated or recorded light is refused."""
    from photonlink.pipeline.keys.delivery import deliver
    from photonlink.pipeline.node.open_store import open_store
    from photonlink.pipeline.node.station import load_node_station

    loaded = load_node_station(station)
    allow = loaded.node.allow_emulated_keys
    with open_store(loaded) as store:
        _tell(store.findings)
        bits = deliver(store.ledger, store.keys, block, file, allow_marked=allow)
    print(
        f"wrote {bits} bits of block {block} to {file}; until the next session the anchor alone "
        "knows of it, not the peer"
    )


@app.command()
def check(station: StationArgument) -> None:
    """Open every record of key and pads. A damaged one is burnt here, and the peer will be told."""
    from photonlink.pipeline.node.open_store import open_store
    from photonlink.pipeline.node.station import load_node_station

    with open_store(load_node_station(station)) as store:
        _tell(store.findings)
        burnt = store.check()
    for text in burnt:
        print(f"burnt: {text}")
    if burnt:
        raise typer.Exit(1)
    print("every record opens")


@app.command("new-store-key")
def new_store_key(file: Annotated[Path, typer.Argument(help="New file (mode 0600).")]) -> None:
    """Make the key that a node's store is sealed with. Keep it apart from the store."""
    from photonlink.pipeline.keys.store_key import create_key_file

    create_key_file(file)
    print(f'wrote {file}: name it in the station file, [node] store_key = "{file}"')


@app.command()
def anchor(
    station: StationArgument,
    renew: Annotated[
        bool, typer.Option("--renew", help="The store was not restored from a backup: trust it.")
    ] = False,
) -> None:
    """Show the anchor outside the store, or make a new one in place of one that was lost."""
    from photonlink.pipeline.node.open_store import open_store
    from photonlink.pipeline.node.station import load_node_station

    with open_store(load_node_station(station), renew_anchor=renew) as store:
        _tell(store.findings)
        state = store.ledger.state
        print(
            f"{store.place.anchor_path}: {store.ledger.sequence} records, session {state.epoch}, "
            f"{state.delivered_count} blocks delivered"
        )


@app.command()
def migrate(station: StationArgument) -> None:
    """Convert a store of version 1 (plain files) into a sealed one."""
    from photonlink.pipeline.keys.migrate import migrate as convert
    from photonlink.pipeline.node.locked_memory import keep_out_of_core_files
    from photonlink.pipeline.node.open_store import store_place
    from photonlink.pipeline.node.station import load_node_station

    keep_out_of_core_files()
    for text in convert(store_place(load_node_station(station))):
        print(text)


@app.command()
def restart(
    station: StationArgument,
    burn: Annotated[
        bool, typer.Option("--burn-everything", help="I know that all key in this store is lost.")
    ] = False,
) -> None:
    """Burn a store that is damaged or was rolled back, and begin a new one."""
    from photonlink.pipeline.keys.restart import burn_store
    from photonlink.pipeline.node.open_store import store_place
    from photonlink.pipeline.node.station import load_node_station

    place = store_place(load_node_station(station))
    if not burn:
        print(f"{place.folder} would be wiped with all its key: repeat with --burn-everything")
        raise typer.Exit(1)
    for name in burn_store(place):
        print(f"wiped {name}")
    print("do the same on the other node, then exchange a new pre-shared key")


def _tell(findings: list[str]) -> None:
    for text in findings:
        typer.echo(f"store: {text}", err=True)
