"""``photonlink yield``: where the asymptotic key of a recorded run went, and what to set next."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.options import (
    AliceFile,
    BobFile,
    JsonOption,
    MapBob,
    RecordedSession,
    session_or_files,
)
from photonlink.pipeline.cli.recordings import DEFAULT_MAP, parse_map
from photonlink.pipeline.cli.terminal import console

if TYPE_CHECKING:
    from photonlink.pipeline.recordings.yields import RunYield


def account_of_key(
    folder: RecordedSession = None,
    alice: AliceFile = None,
    bob: BobFile = None,
    channel_map: Annotated[
        str, typer.Option("--map", help="Channels as 'analyze' prints them.")
    ] = DEFAULT_MAP,
    map_bob: MapBob = None,
    bases: Annotated[str | None, typer.Option(help="both or one, for files.")] = None,
    block_bits: Annotated[
        int | None, typer.Option(help="Sifted bits of the largest blocks, for files.", min=100)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Where the asymptotic key of a run went, cost by cost, with the next best setting for each."""
    session_or_files(folder, alice, bob)
    from photonlink.pipeline.node.locked_memory import go_unlocked_if_needed

    go_unlocked_if_needed()  # replayed key is marked and protects nothing
    if folder is not None:
        from photonlink.pipeline.recordings.session import session_yield

        found = session_yield(folder)
    else:
        assert alice is not None  # noqa: S101 - checked above
        assert bob is not None  # noqa: S101 - checked above
        given: dict[str, Any] = {"bases": bases, "block_sifted_bits": block_bits}
        changes = {name: value for name, value in given.items() if value is not None}
        maps = parse_map(channel_map), parse_map(map_bob or channel_map)
        found = _files(alice, bob, maps, changes)
    if as_json:
        print(json.dumps(found.as_dict()), flush=True)
    else:
        _show(found)
    if not found.net_bits:
        raise typer.Exit(ExitStatus.NO_KEY)


def _files(
    alice: Path, bob: Path, maps: tuple[dict[str, int], dict[str, int]], changes: dict[str, Any]
) -> "RunYield":
    from photonlink.pipeline.recordings.files import play_files
    from photonlink.pipeline.recordings.yields import run_yield

    result, parameters, _ = play_files(alice, bob, *maps, changes)
    return run_yield(result.reports, parameters, 1.0, "alice")


def _show(found: "RunYield") -> None:
    from rich.table import Table

    from photonlink.pipeline.recordings.yields import NAMES

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in ("bits", "share"):
        table.add_column(heading, justify="right")
    table.add_column("next best setting")
    table.add_row("asymptotic key of true coincidences", f"{found.asymptotic_bits:,.0f}", "", "")
    for row in found.rows:
        share = f"{-row.share:.1%}" if row.cost_bits else ""
        table.add_row(NAMES[row.name], f"{-row.cost_bits:,.0f}", share, row.hint)
    table.add_row("net", f"{found.net_bits:,.0f}", f"{found.share:.1%}", "")
    out = console()
    out.print(table)
    if found.end == "bob":
        out.print("Window, quiet time and accidentals are known to Alice alone: look there.")
    if found.uncounted:
        out.print(f"{found.uncounted} blocks ended before their errors were known: not in here.")
