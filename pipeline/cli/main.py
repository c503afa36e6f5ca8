"""The command ``photonlink``. Each command prints its result, and exits with 0 only on success.

Exit statuses are those of :class:`ExitStatus`, one meaning for all commands. Nothing heavy is
imported here: each command imports what it needs when it runs; help is plain text.
"""

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photonlink.pipeline.cli import align as cli_align
from photonlink.pipeline.cli import attack as cli_attack
from photonlink.pipeline.cli import bench as cli_bench
from photonlink.pipeline.cli import bench_light as cli_bench_light
from photonlink.pipeline.cli import bench_snapshot as cli_bench_snapshot
from photonlink.pipeline.cli import bench_station as cli_bench_station
from photonlink.pipeline.cli import bench_tagger as cli_bench_tagger
from photonlink.pipeline.cli import broker as cli_broker
from photonlink.pipeline.cli import check as cli_check
from photonlink.pipeline.cli import emulators as cli_emulators
from photonlink.pipeline.cli import history as cli_history
from photonlink.pipeline.cli import key as cli_key
from photonlink.pipeline.cli import mcp as cli_mcp
from photonlink.pipeline.cli import pc_rpc as cli_pc_rpc
from photonlink.pipeline.cli import planning as cli_keyrate
from photonlink.pipeline.cli import psk as cli_psk
from photonlink.pipeline.cli import ready as cli_ready
from photonlink.pipeline.cli import recordings as cli_recordings
from photonlink.pipeline.cli import top as cli_top
from photonlink.pipeline.cli import watch as cli_watch
from photonlink.pipeline.cli import yields as cli_yields
from photonlink.pipeline.cli.exit_status import EPILOG, ExitStatus
from photonlink.pipeline.cli.failure import end_with
from photonlink.pipeline.cli.options import JsonOption
from photonlink.pipeline.cli.terminal import console, finite, print_any_encoding
from photonlink.pipeline.cli.view import Plain, with_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from photonlink.pipeline.demo.demo import DemoOutcome
    from photonlink.pipeline.demo.virtual import VirtualOutcome

app = typer.Typer(
    name="photonlink",
    help="Quantum key distribution bench: instruments, emulators, secret key from their clicks.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
)
app.add_typer(cli_psk.app, name="psk")
app.add_typer(cli_key.app, name="key")
app.add_typer(cli_bench_station.app, name="station")
app.add_typer(cli_bench_snapshot.app, name="snapshot")
cli_bench.add(app)
cli_bench_tagger.add(app)
cli_bench_light.add(app)
app.command()(cli_recordings.analyze)
app.command()(cli_recordings.replay)
app.command()(cli_keyrate.keyrate)
cli_emulators.add(app)
app.command()(cli_keyrate.plan)
app.command()(cli_keyrate.claim)
app.command()(cli_top.top)
app.command()(cli_watch.watch)
app.command()(cli_history.history)
app.command()(cli_broker.broker_config)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"photonlink {version('photonlink')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", is_eager=True, callback=_version
        ),
    ] = False,
) -> None:
    """Quantum key distribution bench: instruments, emulators, secret key from their clicks."""
    gc.enable()  # entry.py disables it while commands are only listed


@app.command()
def demo(
    duration: Annotated[
        float, typer.Option(help="Seconds of acquisition.", min=1.0, callback=finite)
    ] = 60.0,
    seed: Annotated[int | None, typer.Option(help="Seed of the emulated bench.", min=0)] = None,
    block_bits: Annotated[
        int | None, typer.Option(help="Sifted bits of the largest blocks (2,000,000).", min=100)
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the demo's files in this new folder.")
    ] = None,
    virtual: Annotated[
        bool,
        typer.Option("--virtual", help="One process, time that jumps: the seed repeats every bit."),
    ] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Serve the link's web page meanwhile.")
    ] = False,
    plain: Plain = False,
    as_json: JsonOption = False,
) -> None:
    """Make secret key on an emulated bench: two nodes, emulated instruments, an MQTT broker."""
    from photonlink.pipeline.node.locked_memory import go_unlocked_if_needed

    out = console(stderr=as_json)
    if go_unlocked_if_needed():
        out.print(
            "This machine lets us lock too little memory (ulimit -l): the demo's secrets, which "
            "protect nothing, may reach the swap. A node for real key refuses to run like this.",
            style="yellow",
        )
    if virtual and web:
        raise typer.BadParameter("--virtual publishes nothing that --web could show")
    outcome: DemoOutcome | VirtualOutcome
    if virtual:
        outcome = _demo_virtual(out, duration, seed, block_bits, folder, plain=plain)
    else:
        from photonlink.pipeline.demo.demo import Demo

        outcome = with_view(
            "photonlink demo",
            lambda show: Demo(
                duration_s=duration, seed=seed, show=show, block_bits=block_bits, folder=folder,
                web=web,
            ).run(),
            plain=plain,
            on_stderr=as_json,
        )  # fmt: skip
    result = outcome.result()
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        _print_result(out, result)
    for failure in outcome.failures:
        print(f"photonlink: {failure}", file=sys.stderr)
    raise typer.Exit(_demo_status(outcome, result))


def _demo_status(outcome: "DemoOutcome | VirtualOutcome", result: dict[str, Any]) -> ExitStatus:
    if outcome.interrupted:
        return ExitStatus.INTERRUPTED
    if outcome.failures:
        return ExitStatus.FAILURE
    if not result["keys_match"]:
        return ExitStatus.FAILURE if result["secret_bits"] else ExitStatus.NO_KEY
    return ExitStatus.SUCCESS


def _demo_virtual(
    out: "Console",
    duration: float,
    seed: int | None,
    block_bits: int | None,
    folder: Path | None,
    *,
    plain: bool,
) -> "VirtualOutcome":
    from rich.live import Live

    from photonlink.pipeline.demo.virtual import virtual_demo
    from photonlink.pipeline.top.lines import Lines
    from photonlink.pipeline.top.model import Model
    from photonlink.pipeline.top.screen import frame

    model = Model("photonlink demo, virtual time")
    if plain or not out.is_terminal:
        show = Lines(model, out.file).event
        return virtual_demo(
            duration_s=duration, seed=seed, block_bits=block_bits, folder=folder, show=show
        )
    with Live(console=out, refresh_per_second=4, transient=False) as live:

        def update(event: "Mapping[str, Any]") -> None:
            model.event(event)
            live.update(frame(model, out.width))

        return virtual_demo(
            duration_s=duration, seed=seed, block_bits=block_bits, folder=folder, show=update
        )


def _print_result(out: "Console", result: dict[str, Any]) -> None:
    out.print(
        f"secret bits (net) {result.get('secret_bits', 0):,} in {result.get('blocks', 0)} blocks, "
        f"keys match: {result['keys_match']}, epsilon {result.get('epsilon', 0):.2g}, "
        f"emulated: {result.get('emulated')}, lasers read back off: {result['lasers_off']}"
    )
    if "wire_digest" in result:
        out.print(
            f"virtual: {result['virtual_s']:.1f} s in {result['wall_s']:.1f} s, "
            f"seed {result['seed']}, {result['wire_bytes']:,} bytes on the wires, SHA-256 "
            f"{result['wire_digest']}; key check {result['key_check']}; never delivered"
        )
    for reason in result.get("aborts", []):
        out.print(f"no key from a block: {reason}", style="red")


@app.command()
def node(
    station: Annotated[Path, typer.Argument(help="Station file of this node.")],
    duration: Annotated[
        float | None, typer.Option(help="Seconds of acquisition.", min=1, callback=finite)
    ] = None,
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
    plain: Plain = False,
) -> None:
    """Run one node of a link: Alice or Bob, as its station file says. Without key: status 3."""
    import asyncio
    import gc

    from photonlink.pipeline.node.emulators import emulators
    from photonlink.pipeline.node.node import Node, NodeOptions
    from photonlink.pipeline.node.report import Reporter
    from photonlink.pipeline.node.station import load_node_station
    from photonlink.pipeline.top.lines import on_terminal

    loaded = load_node_station(station)
    options = NodeOptions(duration, record, control)
    # control: standard input has commands, no key presses
    lines = json_lines or plain or control or not on_terminal()
    gc.freeze()  # imported modules are permanent: the garbage collector need not scan them
    with emulators(loaded, start=sim):
        if lines:
            report = Reporter(loaded.name, json_lines=json_lines)
            account = asyncio.run(Node(loaded, options, report).run())
        else:
            account = with_view(
                f"photonlink node {loaded.name}",
                lambda show: Node(
                    loaded, options, Reporter(loaded.name, json_lines=False, show=show)
                ).run(),
                plain=False,
            )
    if not account["secret_bits"]:
        raise typer.Exit(ExitStatus.NO_KEY)


app.command()(cli_attack.attack)
app.command()(cli_check.check)
app.command()(cli_align.align)
app.command()(cli_ready.ready)
app.command("yield")(cli_yields.account_of_key)
app.command()(cli_mcp.mcp)
app.command("pc-rpc")(cli_pc_rpc.pc_rpc)


def _named_only(callback: Callable[..., Any]) -> Callable[[], None]:
    def command() -> None:
        raise AssertionError("a command without its parameters is only listed")

    command.__name__, command.__doc__ = callback.__name__, callback.__doc__
    return command


def without_parameters(group: typer.Typer) -> None:
    """Enough to list the commands; to build their parameters takes a tenth of --help."""
    for command in group.registered_commands:
        if command.callback:
            command.callback = _named_only(command.callback)
    for inner in group.registered_groups:
        if inner.typer_instance:
            without_parameters(inner.typer_instance)


def main() -> None:
    """Entry point: a named error is one message and a status, never a traceback."""
    if sys.argv[1:] == ["--help"]:
        without_parameters(app)
    else:
        import logging

        logging.basicConfig(
            level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
    print_any_encoding()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # a closed pipe is found here, not at the end of Python
    except BaseException as error:  # noqa: BLE001 - every end of a command is told in one place
        end_with(error)
