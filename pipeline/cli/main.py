"""The command ``photonlink``. Each command says what it did, and exits with 0 only when it did it.

Exit codes: 0 done, 1 refused or failed with a named reason, 2 wrong usage, 130 interrupted.
``demo`` without key is 1; ``replay`` is 0 also when the clicks gave no key: ``aborts`` says why.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.cli import check as cli_check
from photonlink.pipeline.cli import key as cli_key
from photonlink.pipeline.cli import planning as cli_keyrate
from photonlink.pipeline.cli import recordings as cli_recordings
from photonlink.pipeline.cli.recordings import JsonOption

app = typer.Typer(
    name="photonlink",
    help="Quantum key distribution bench: instruments, emulators, secret key from their clicks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
psk_app = typer.Typer(help="Pre-shared keys: what two nodes need before their first block.")
app.add_typer(psk_app, name="psk")
app.add_typer(cli_key.app, name="key")
app.command()(cli_recordings.analyze)
app.command()(cli_recordings.replay)
app.command()(cli_keyrate.keyrate)
app.command()(cli_keyrate.plan)
app.command()(cli_keyrate.claim)


@app.command()
def demo(
    duration: Annotated[float, typer.Option(help="Seconds of acquisition.", min=1.0)] = 60.0,
    seed: Annotated[int | None, typer.Option(help="Seed of the emulated bench.", min=0)] = None,
    block_bits: Annotated[
        int | None, typer.Option(help="Sifted bits per block (default 200,000).", min=100)
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the demo's files in this new folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make secret key on an emulated bench: two nodes, emulated instruments, an MQTT broker."""
    from photonlink.pipeline.demo.demo import Demo
    from photonlink.pipeline.node.locked_memory import go_unlocked_if_needed

    if folder is not None:
        folder.mkdir(parents=True)
    console = Console(stderr=as_json)
    if go_unlocked_if_needed():
        console.print(
            "This machine lets us lock too little memory (ulimit -l): the demo's secrets, which "
            "protect nothing, may reach the swap. A node for real key refuses to run like this.",
            style="yellow",
        )
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        run = Demo(
            duration_s=duration,
            seed=seed,
            show=lambda view: live.update(view.render()),
            block_bits=block_bits,
            folder=folder,
        )
        outcome = asyncio.run(run.run())
    result = outcome.result()
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        _print_result(console, result)
    if outcome.interrupted:
        raise typer.Exit(130)
    if not result["keys_match"]:
        raise typer.Exit(1)


def _print_result(console: Console, result: dict[str, Any]) -> None:
    console.print(
        f"secret bits (net) {result.get('secret_bits', 0):,} in {result.get('blocks', 0)} blocks, "
        f"keys match: {result['keys_match']}, epsilon {result.get('epsilon', 0):.2g}, "
        f"emulated: {result.get('emulated')}, lasers read back off: {result['lasers_off']}"
    )
    for reason in result.get("aborts", []):
        console.print(f"no key from a block: {reason}", style="red")


@app.command()
def node(
    station: Annotated[Path, typer.Argument(help="Station file of this node.")],
    duration: Annotated[float | None, typer.Option(help="Seconds of acquisition.", min=1)] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record the session into this new folder.")
    ] = None,
    sim: Annotated[bool, typer.Option("--sim", help="Start the emulators of [sim] first.")] = False,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Report events as JSON, one a line.")
    ] = False,
    control: Annotated[
        bool, typer.Option("--control", help="Take 'light on' and 'light off' on standard input.")
    ] = False,
) -> None:
    """Run one node of a link: Alice or Bob, as its station file says."""
    from photonlink.pipeline.node.emulators import emulators
    from photonlink.pipeline.node.node import Node, NodeOptions
    from photonlink.pipeline.node.report import Reporter
    from photonlink.pipeline.node.station import load_node_station

    loaded = load_node_station(station)
    report = Reporter(loaded.name, json_lines=json_lines)
    try:
        with emulators(loaded, start=sim):
            options = NodeOptions(duration, record, control)
            asyncio.run(Node(loaded, options, report).run())
    finally:
        report.close()


app.command()(cli_check.check)


@psk_app.command("new")
def psk_new(
    path: Annotated[Path, typer.Argument(help="New file; both nodes need a copy of it.")],
    kilobytes: Annotated[int, typer.Option(help="Size of the pads.", min=4, max=65536)] = 64,
) -> None:
    """Draw a pre-shared key. Carry it to the other node by hand, never over the network."""
    from photonlink.pipeline.keys.psk import create_psk

    create_psk(path, kilobytes * 1024)
    print(f"wrote {path}: copy it to the other node by a way you trust, then keep it secret")


def main() -> None:
    """Entry point: a named error is one message and exit code 1, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except PhotonlinkError as error:
        print(f"photonlink: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # a folder that is missing, a file that is there, a disk that is full
        print(f"photonlink: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
