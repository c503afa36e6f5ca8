"""The commands that read and set instruments: ``scan``, ``drivers``, ``identify``, ``get``, …"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.options import JsonOption
from photonlink.pipeline.cli.terminal import finite

TargetArgument = Annotated[
    str, typer.Argument(help="STATION, STATION:instrument, or DRIVER@ADDRESS.", metavar="TARGET")
]


def add(app: typer.Typer) -> None:
    """Give ``app`` these commands."""
    for command in (scan, drivers, identify, get, monitor):
        app.command()(command)
    app.command("set")(set_)


def scan(
    probe: Annotated[
        bool, typer.Option("--probe", help="Ask each serial device that a driver fits who it is.")
    ] = False,
    network: Annotated[
        bool, typer.Option("--network", help="Ask the network's instruments to name themselves.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Then say what comes and goes, until Ctrl-C.")
    ] = False,
    broadcast: Annotated[
        str, typer.Option(help="With --network: the address that is asked.")
    ] = "255.255.255.255",
    root: Annotated[
        Path,
        typer.Option(
            help="Root of another tree with sys/ and dev/.",
            show_default=False,
            exists=True,
            file_okay=False,
        ),
    ] = Path("/"),
    as_json: JsonOption = False,
) -> None:
    """What is plugged in, which driver fits, and who has it open. Opens nothing but with --probe.

    --probe sends to a device what its driver identifies with, --network one datagram per kind of
    instrument that answers them; both print what they send.
    """
    import asyncio
    import dataclasses

    from photonlink.pipeline.bench import scan as scanning

    found = scanning.scan(root)
    if probe:

        def about_to(seen: scanning.Seen, driver: str) -> None:
            print(f"asking {seen.device.address} with the identification of {driver}",
                  file=sys.stderr)  # fmt: skip

        found = asyncio.run(scanning.probe(found, about_to))
        for seen in found.devices:
            if seen.sent:
                print(f"sent to {seen.device.address}: {b''.join(seen.sent)!r}", file=sys.stderr)
    answers = []
    if network:
        from photonlink.pipeline.bench.network import ask_network, questions

        for question in questions():
            print(f"sending {question.data!r} to {broadcast}:{question.port} for {question.driver}",
                  file=sys.stderr)  # fmt: skip
        answers = asyncio.run(ask_network(questions(), broadcast))
    if as_json:
        rows = [dataclasses.asdict(answer) for answer in answers]
        print(json.dumps({**scanning.as_json(found), "network": rows}))
    else:
        print("\n".join([*scanning.lines(found), *map(str, answers)]), flush=True)
    if watch:
        asyncio.run(scanning.follow(lambda line: print(line, flush=True)))


def drivers(
    driver: Annotated[str | None, typer.Argument(help="One driver: its settings, limits.")] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Import every driver; exit 1 when one is not as it says."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the drivers that a station file may name, or one with all that can be set."""
    import dataclasses

    from photonlink.hal.pages import reference
    from photonlink.hal.registry import check_driver, load_driver, registry

    found = registry()
    if driver is not None:
        load_driver(driver)  # a wrong name is told with the nearest known one
        print(reference(found.drivers[driver]))
        return
    problems = [str(problem) for problem in found.problems]
    if check:
        for entry in found.drivers.values():
            problems += [f"{entry.id}: {what}" for what in check_driver(entry)]
    if as_json:
        rows = [dataclasses.asdict(entry) for entry in found.drivers.values()]
        print(json.dumps({"drivers": rows, "problems": problems}))
    else:
        for entry in found.drivers.values():
            print(f"{entry.id:24} {entry.title}")
            print(f"{'':24} {', '.join(entry.facets)} over {', '.join(entry.transports)}; ", end="")
            print(f"emulator {entry.emulator}, evidence {entry.evidence}")
        for problem in problems:
            print(f"not usable: {problem}", file=sys.stderr)
    if check and problems:
        raise typer.Exit(ExitStatus.FAILURE)


def identify(target: TargetArgument, as_json: JsonOption = False) -> None:
    """Ask who answers: vendor, model, serial number, firmware. Nothing is switched."""
    import asyncio
    import dataclasses

    from photonlink.hal.errors import PhotonlinkError
    from photonlink.pipeline.bench import reading
    from photonlink.pipeline.bench.target import parse_target

    entries = parse_target(target).entries
    found = asyncio.run(_gather([reading.identify(name, entry) for name, entry in entries.items()]))
    rows, failed = {}, None
    for name, one in zip(entries, found, strict=True):
        if isinstance(one, PhotonlinkError):
            failed = one
            rows[name] = {"error": str(one)}
        elif isinstance(one, BaseException):
            raise one
        else:
            rows[name] = dataclasses.asdict(one[0]) | {"how": one[1]}
    if as_json:
        print(json.dumps(rows))
    for name, row in rows.items() if not as_json else ():
        if "error" not in row:
            print(f"{name}: {row['vendor']} {row['model']}, serial number {row['serial']}, "
                  f"firmware {row['firmware'] or 'not told'} ({row['how']})")  # fmt: skip
        elif len(rows) > 1:
            print(f"{name}: {row['error']}", file=sys.stderr)
    if failed is not None:
        if len(rows) == 1 and not as_json:
            raise failed
        raise typer.Exit(ExitStatus.FAILURE)


async def _gather(work: list) -> list:  # type: ignore[type-arg]
    import asyncio

    return await asyncio.gather(*work, return_exceptions=True)


def get(
    target: TargetArgument,
    parameters: Annotated[
        list[str] | None, typer.Argument(help="Names; none: everything.", metavar="[PARAMETER]...")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read parameters of one instrument. Nothing is switched; a running node is asked instead."""
    import asyncio

    from photonlink.hal.errors import LimitError
    from photonlink.pipeline.bench.reading import parameters_of, reading
    from photonlink.pipeline.bench.target import parse_target

    name, entry = parse_target(target).one()
    known = parameters_of(entry)
    for wanted in parameters or ():
        if wanted not in known:
            raise LimitError(
                f"there is no parameter {wanted!r}", where=name, hint=f"Known: {', '.join(known)}"
            )

    async def read() -> dict[str, float | int | bool | str]:
        async with reading(name, entry) as reader:
            return await reader.read(parameters or [])

    values = asyncio.run(read())
    if as_json:
        print(json.dumps(values))
        return
    for key, value in values.items():
        unit = known[key].unit if key in known else ""
        print(f"{key} = {value} {unit}".rstrip())


def set_(
    target: TargetArgument,
    changes: Annotated[list[str], typer.Argument(help="NAME=VALUE", metavar="NAME=VALUE...")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the limits and print the bytes; send nothing.")
    ] = False,
) -> None:
    """Set parameters of one instrument: checked against its limits and the station's, read back.

    Light, bias and outputs can be switched off here, and on only by 'photonlink light'.
    """
    import asyncio

    from photonlink.pipeline.bench.reading import apply_changes, plan_changes
    from photonlink.pipeline.bench.target import parse_target

    wanted = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise typer.BadParameter(f"{change!r} is not NAME=VALUE")
        wanted[key.strip()] = value
    name, entry = parse_target(target).one()
    planned = plan_changes(name, entry, wanted)
    if dry_run:
        for each in planned:
            print(f"{each}: would send {each.data!r}" if each.data
                  else f"{each}: a call of the vendor's library, no bytes of ours")  # fmt: skip
        return
    print("\n".join(asyncio.run(apply_changes(name, entry, planned))))


def monitor(
    target: TargetArgument,
    parameters: Annotated[
        list[str] | None, typer.Argument(help="Names; none: the numbers that move.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Readings per second.", min=0.1, max=50)] = 2.0,
    duration: Annotated[
        float | None, typer.Option(help="Seconds; none: until Ctrl-C.", min=0.1, callback=finite)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch parameters live, each with its history. Nothing is switched.

    In a pipe: one line per reading; with --json one JSON object per reading.
    """
    import asyncio

    from photonlink.pipeline.bench.show_monitor import show
    from photonlink.pipeline.bench.target import parse_target

    entries = parse_target(target).entries
    asyncio.run(show(entries, parameters or [], rate, duration, as_json=as_json))
