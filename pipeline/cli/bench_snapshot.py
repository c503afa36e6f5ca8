"""``photonlink snapshot``: take, diff, restore."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photonlink.pipeline.cli.bench import TargetArgument
from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.options import JsonListOption

if TYPE_CHECKING:
    from photonlink.pipeline.bench.snapshots import Snapshot

app = typer.Typer(
    help="All readings of a bench in one file: take one, compare two, go back to one.",
    rich_markup_mode=None,
)
FileArgument = Annotated[Path, typer.Argument(help="A snapshot.")]


@app.command()
def take(
    target: TargetArgument,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="New file; none: print.")] = None,
) -> None:
    """Read every parameter of every instrument. Nothing is switched."""
    import asyncio

    from photonlink.pipeline.bench.new_station import write_new
    from photonlink.pipeline.bench.snapshots import take as read_all
    from photonlink.pipeline.bench.target import parse_target

    found = asyncio.run(read_all(parse_target(target)))
    if out is None:
        print(found.to_json(), end="")
    else:
        write_new(out, found.to_json())
        print(f"wrote {out}: {len(found.instruments)} instruments")
    for name, one in found.instruments.items():
        if one.error:
            print(f"{name}: {one.error}", file=sys.stderr)
    if any(one.error for one in found.instruments.values()):
        raise typer.Exit(ExitStatus.FAILURE)


@app.command()
def diff(
    old: FileArgument,
    new: Annotated[str, typer.Argument(help="Another snapshot, or the bench now: TARGET.")],
    settings: Annotated[
        bool, typer.Option("--settings", help="Only what can be set, not what is measured.")
    ] = False,
    as_json: JsonListOption = False,
) -> None:
    """What differs, beyond each parameter's tolerance. Status 1 when something does."""
    from dataclasses import asdict

    from photonlink.pipeline.bench.snapshots import Snapshot, differences

    found = differences(Snapshot.read(old), _snapshot_of(new), settings_only=settings)
    if as_json:
        print(json.dumps([asdict(d) for d in found]))
    elif found:
        print("\n".join(str(d) for d in found))
    if found:
        raise typer.Exit(ExitStatus.FAILURE)


@app.command()
def restore(
    old: FileArgument,
    target: TargetArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be set, and the bytes.")
    ] = False,
) -> None:
    """Set what differs from a snapshot, checked against all limits first. Light stays as it is."""
    import asyncio

    from photonlink.pipeline.bench.reading import apply_changes
    from photonlink.pipeline.bench.snapshots import Snapshot, plan_restore
    from photonlink.pipeline.bench.snapshots import take as read_all
    from photonlink.pipeline.bench.target import parse_target

    meant = parse_target(target)
    plan = plan_restore(Snapshot.read(old), asyncio.run(read_all(meant)), meant)
    if not plan:
        print("nothing differs")
    for name, changes in plan.items():
        if dry_run:
            for change in changes:
                print(f"{change}: would send {change.data!r}" if change.data else str(change))
        else:
            print("\n".join(asyncio.run(apply_changes(name, meant.entries[name], changes))))


def _snapshot_of(text: str) -> "Snapshot":
    import asyncio

    from photonlink.pipeline.bench.snapshots import Snapshot
    from photonlink.pipeline.bench.snapshots import take as read_all
    from photonlink.pipeline.bench.target import parse_target

    if text.endswith(".json") and Path(text).is_file():
        return Snapshot.read(Path(text))
    return asyncio.run(read_all(parse_target(text)))
