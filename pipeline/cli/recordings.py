"""The commands that read recordings: ``analyze`` and ``replay``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.failure import writing
from photonlink.pipeline.cli.options import (
    AliceFile,
    BobFile,
    JsonOption,
    MapBob,
    RecordedSession,
    session_or_files,
)
from photonlink.pipeline.cli.terminal import console, finite

if TYPE_CHECKING:
    from photonlink.hal.tags import WireFormat

LETTERS = "HVDA"  # the same as in stages.window, which imports numpy; a test compares them
FORMATS = (
    "a0", "a1", "a2", "tdc1", "swabian16", "qutag", "qutag_compressed", "t2", "t2_hh1", "t2_ph300",
    "t3", "t3_hh1", "t3_ph300", "s15_fast", "flat64", "packed32", "nox", "fpga_link",
    "timetagger4",
)  # fmt: skip
FIXED_UNIT = ("a0", "a1", "a2", "tdc1", "swabian16", "s15_fast", "nox", "fpga_link")
DEFAULT_MAP = "H=1,V=2,D=3,A=4"


class MapError(PhotonlinkError, ValueError):
    """A channel map that is not ``H=1,V=2,D=3,A=4``."""


def parse_map(text: str) -> dict[str, int]:
    """``H=1,V=2,D=3,A=4`` → channels by letter. MapError says what is wrong with it."""
    channels: dict[str, int] = {}
    for part in text.split(","):
        letter, _, number = (p.strip() for p in part.partition("="))
        known = letter in tuple(LETTERS) and letter not in channels
        if not known or not (number.isascii() and number.isdigit()):
            raise MapError(
                "not a channel map", where="--map", seen=text, hint=f"Write it as {DEFAULT_MAP}"
            )
        channels[letter] = int(number)
    if len(channels) != len(LETTERS):
        missing = ", ".join(x for x in LETTERS if x not in channels)
        raise MapError(f"{missing} is missing", where="--map", seen=text)
    return channels


def analyze(
    file: Annotated[
        Path,
        typer.Argument(
            help="PTU, quTAG, S-Fifteen, TDC1, Swabian, ours, a folder of 'node --record'."
        ),
    ],
    a: Annotated[int | None, typer.Option("--a", help="Start channel.")] = None,
    b: Annotated[int | None, typer.Option("--b", help="Stop channel.")] = None,
    low: Annotated[float, typer.Option("--from", help="Shortest delay, ns.")] = -200.0,
    high: Annotated[float, typer.Option("--to", help="Longest delay, ns.")] = 200.0,
    bin_ps: Annotated[
        float | None,
        typer.Option("--bin", help="Bin, ps: whole ticks.", callback=finite),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help=f"Read bare records as: {', '.join(FORMATS)}.")
    ] = None,
    unit_ps: Annotated[
        float | None, typer.Option("--unit", help="Unit of time (tick), ps.", callback=finite)
    ] = None,
    sync_period_ps: Annotated[
        float | None, typer.Option("--sync-period", help="Of T3 records, ps.", callback=finite)
    ] = None,
    packet_ps: Annotated[
        float | None,
        typer.Option("--packet-unit", help="Of timetagger4 packets, ps.", callback=finite),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the histogram here.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the histogram (extra: plot).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rates, gaps and the cross-correlation of two channels of a recording."""
    from photonlink.pipeline.recordings import analyze as analysis

    told = _told_parameters(form, unit_ps, sync_period_ps, packet_ps)
    result = analysis.analyze_file(
        file, a=a, b=b, low_ns=low, high_ns=high, bin_ps=bin_ps,
        wire_format=_told_format(form), told=told,
    )  # fmt: skip
    if csv is not None:
        with writing(csv):
            analysis.write_csv(result, csv)
    if png is not None:
        with writing(png):
            analysis.write_png(result, png)
    print(json.dumps(result.to_json()) if as_json else analysis.render_text(result), flush=True)
    if result.summary.error is not None:
        raise result.summary.error
    if result.damage is not None:
        raise result.damage


def _told_format(form: str | None) -> "WireFormat | None":
    """The format that --format names; None when it names none."""
    if form is None:
        return None
    if form not in FORMATS:
        raise typer.BadParameter(f"no format is called {form!r}; there are {', '.join(FORMATS)}")
    parameters = {} if form in FIXED_UNIT else {"resolution_ps": 1.0}
    if form.startswith("t3"):
        parameters["sync_period_ps"] = 1.0
    if form == "timetagger4":
        parameters["packet_ps"] = 1.0
    from photonlink.hal.tags import WireFormat

    return WireFormat(form, parameters)


def _told_parameters(
    form: str | None,
    unit_ps: float | None,
    sync_period_ps: float | None,
    packet_ps: float | None,
) -> dict[str, float]:
    """The values of --unit, --sync-period and --packet-unit; wrong usage where the format fixes or
    needs them."""
    if unit_ps is not None and form in FIXED_UNIT:
        raise typer.BadParameter(f"the unit of {form} is fixed: --unit cannot change it")
    if form is not None and form.startswith(("t2", "t3")) and unit_ps is None:
        raise typer.BadParameter(f"{form} needs --unit: the size of its time bins in ps")
    if form is not None and form.startswith("t3") and sync_period_ps is None:
        raise typer.BadParameter(f"{form} needs --sync-period")
    if form == "timetagger4" and (unit_ps is None or packet_ps is None):
        raise typer.BadParameter(f"{form} needs --unit (of the hits) and --packet-unit (of starts)")
    given = {"resolution_ps": unit_ps, "sync_period_ps": sync_period_ps, "packet_ps": packet_ps}
    return {name: value for name, value in given.items() if value is not None}


def replay(
    folder: RecordedSession = None,
    alice: AliceFile = None,
    bob: BobFile = None,
    channel_map: Annotated[
        str | None,
        typer.Option(
            "--map",
            help=f"Channels as 'analyze' prints them; none: the session's own, or {DEFAULT_MAP}.",
        ),
    ] = None,
    map_bob: MapBob = None,
    q_tol: Annotated[
        float | None, typer.Option(help="Acceptance threshold of the QBER.", callback=finite)
    ] = None,
    block_bits: Annotated[int | None, typer.Option(help="Sifted bits per block.", min=100)] = None,
    as_json: JsonOption = False,
) -> None:
    """Distil recorded clicks to key: a session of our own, or two files of any readable format."""
    session_or_files(folder, alice, bob)
    from photonlink.pipeline.node.locked_memory import go_unlocked_if_needed

    go_unlocked_if_needed()  # replayed key is marked and protects nothing
    if folder is not None:
        from photonlink.pipeline.recordings.session import replay_session

        result = replay_session(folder)
    else:
        assert alice is not None  # noqa: S101 - checked above
        assert bob is not None  # noqa: S101 - checked above
        map_alice = _map_of(alice, channel_map)
        result = _replay_files(
            alice, bob, map_alice, _map_of(bob, map_bob or channel_map), q_tol, block_bits
        )
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        out = console()
        for name, value in result.items():
            out.print(f"{name:22} {value}")
    if result["keys_match"] is False and not result["aborts"]:
        raise typer.Exit(ExitStatus.FAILURE)
    if not result["secret_bits"]:
        raise typer.Exit(ExitStatus.NO_KEY)


def _map_of(path: Path, told: str | None) -> dict[str, int]:
    """Channels from the option, else from the recording, else the default."""
    from photonlink.hal.recordings import open_recording

    known = dict(open_recording(path).letters) if told is None else {}
    return known or parse_map(told or DEFAULT_MAP)


def _replay_files(
    alice: Path,
    bob: Path,
    map_alice: dict[str, int],
    map_bob: dict[str, int],
    q_tol: float | None,
    block_bits: int | None,
) -> dict[str, Any]:
    from photonlink.pipeline.recordings.files import replay_files

    changes: dict[str, Any] = {}
    if q_tol is not None:
        changes["q_tol"] = q_tol
    if block_bits is not None:
        changes["block_sifted_bits"] = block_bits
    return replay_files(alice, bob, map_alice, map_bob, changes)
