"""``photonlink attack``: play Eve against the protocol and see what she learns."""

import json
from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.failure import writing
from photonlink.pipeline.cli.terminal import console


def attack(
    name: Annotated[str | None, typer.Argument(help="One attack; without it all of them.")] = None,
    seed: Annotated[int, typer.Option(help="Of light, parameters and sessions.", min=0)] = 1,
    runs: Annotated[
        int, typer.Option(help="Instead: so many random attacks with random parameters.", min=0)
    ] = 0,
    page_path: Annotated[
        Path | None, typer.Option("--page", help="Also write the table as a page (Markdown).")
    ] = None,
    list_names: Annotated[bool, typer.Option("--list", help="Only name them.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, one per attack.")
    ] = False,
) -> None:
    """Play attacks on light and line against two sessions in this process, and count what Eve
    knows of the released key. Exit code 1 when a row is not what the claim says.

    In the model she must know nothing. An attack outside breaks the assumption that it names.
    """
    from photonlink.pipeline.attacks.play import ATTACKS, play_all, play_random

    if name is not None and name not in ATTACKS:
        raise typer.BadParameter(f"no attack {name!r}; known: {', '.join(ATTACKS)}")
    if list_names:
        for found in ATTACKS.values():
            print(f"{found.name}: {found.what}")
        return
    outcomes = []
    screen = console()
    for outcome, seconds in (
        play_random(runs, seed) if runs else play_all([name] if name else None, seed)
    ):
        outcomes.append(outcome)
        if as_json:
            print(json.dumps(outcome.as_dict()), flush=True)
        elif runs and outcome.ok:
            screen.print(f"{outcome.name} {outcome.parameters} ok ({seconds:.1f} s)", style="dim")
    if not as_json:
        from rich.table import Table

        table = Table("attack", "in model", "released", "known", "alarm", "after", "", box=None)
        for o in outcomes if not runs else [o for o in outcomes if not o.ok]:
            after = "" if o.alarm_s is None else f"{o.alarm_s:.1f} s"
            table.add_row(
                o.name, "yes" if o.in_model else "no", f"{o.released_bits:,}", f"{o.known_bits:,}",
                o.alarm, after, "ok" if o.ok else f"NOT OK: {o.why}",
            )  # fmt: skip
        screen.print(table)
        screen.print(f"{sum(o.ok for o in outcomes)} of {len(outcomes)} as the claim says")
    if page_path is not None:
        from photonlink.pipeline.attacks.page import page

        with writing(page_path):
            page_path.write_text(page(outcomes, seed), encoding="utf-8")
    if not all(o.ok for o in outcomes):
        raise typer.Exit(ExitStatus.FAILURE)
