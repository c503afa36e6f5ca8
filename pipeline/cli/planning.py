"""The commands for people who plan links: ``keyrate`` and ``plan``; and ``claim``, its checks."""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from photonlink.pipeline.cli.exit_status import ExitStatus
from photonlink.pipeline.cli.failure import writing
from photonlink.pipeline.cli.options import JsonListOption, JsonOption
from photonlink.pipeline.cli.terminal import console, readable

if TYPE_CHECKING:
    from photonlink.pipeline.planning.curve import Point
    from photonlink.pipeline.planning.plan import Plan

BASES = ("key basis", "other basis")

LinkFiles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="LINK...", help="Link files (TOML) or presets; several: one picture."),
]


def keyrate(
    links: LinkFiles = None,
    against: Annotated[
        Literal["distance", "loss"] | None, typer.Option(help="What the curve runs over.")
    ] = None,
    start: Annotated[float | None, typer.Option("--from", help="First km or dB.")] = None,
    stop: Annotated[float | None, typer.Option("--to", help="Last km or dB.")] = None,
    points: Annotated[int, typer.Option(help="Points of each curve.", min=2, max=2000)] = 50,
    block_bits: Annotated[
        list[float] | None, typer.Option(help="Block length in sifted bits; may be repeated.")
    ] = None,
    block_s: Annotated[
        list[float] | None, typer.Option(help="Acquisition time of a block; may be repeated.")
    ] = None,
    optimise: Annotated[
        bool, typer.Option("--optimise", help="Best intensities and bias at every point.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the points here.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the curves (extra: plot).")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Published links beside our figures.")
    ] = False,
    presets: Annotated[bool, typer.Option("--presets", help="Names of the presets.")] = False,
    as_json: JsonListOption = False,
) -> None:
    """Secret key rate of links against distance or loss, with every finite-size penalty."""
    from photonlink.pipeline.planning import curve, model

    if presets:
        print(json.dumps(model.preset_names()) if as_json else "\n".join(model.preset_names()))
        return
    if published:
        _published(as_json)
        return
    if not links:
        raise typer.BadParameter("name a link file or a preset (--presets lists them)")
    loaded = [model.load_link(path) for path in links]
    axis = against or curve.default_axis(loaded[0])
    # the picture's range covers all links
    ranges = [curve.default_range(link, axis) for link in loaded]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    xs = curve.steps(low if start is None else start, high if stop is None else stop, points)
    blocks = [curve.BlockLength.of(bits=b) for b in block_bits or ()]
    blocks += [curve.BlockLength.of(seconds=s) for s in block_s or ()]
    found = [p for link in loaded for p in curve.curve(link, axis, xs, blocks, optimise=optimise)]
    if csv is not None:
        with writing(csv):
            curve.write_csv(found, csv)
    if png is not None:
        with writing(png):
            curve.write_png(found, png, [curve.own_point(link, axis) for link in loaded])
    if as_json:
        print(json.dumps([asdict(p) for p in found]), flush=True)
    elif csv is None and png is None:
        _show_points(found, axis)


def _show_points(found: "list[Point]", axis: str) -> None:
    from rich.table import Table

    unit = "km" if axis == "distance" else "dB"
    table = Table("link", unit, "block", "bit/s", "asymptotic", "QBER", "why none")
    for p in found:
        table.add_row(
            p.link, f"{p.x:.1f}", p.block, readable(p.bits_per_s),
            readable(p.asymptotic_bits_per_s), f"{p.qber:.2%}", p.reason or "",
        )  # fmt: skip
    console().print(table)


def _published(as_json: bool) -> None:
    from rich.table import Table

    from photonlink.pipeline.claim import published

    rows = published.published_links()
    missed = [row.name for row in rows if row.required and not row.met]
    if as_json:
        print(json.dumps([published.as_json(row) for row in rows]), flush=True)
    else:
        table = Table("link", "published", "ours", "accepted", "unit", "met")
        for row in rows:
            met = "yes" if row.met else "NO" if row.required else "no (shown only)"
            accepted = f"{row.accepted[0]:.4g} to {row.accepted[1]:.4g}"
            table.add_row(
                row.name, f"{row.published:.5g}", f"{row.ours:.5g}", accepted, row.unit, met
            )
        console().print(table)
    if missed:
        raise typer.Exit(ExitStatus.FAILURE)


def plan(
    link: Annotated[Path, typer.Argument(help="Link file (TOML) or preset.")],
    seed: Annotated[int, typer.Option(help="Seed of the simulated blocks.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Best settings for a link, how long a block must run, what limits it, how often it aborts."""
    from photonlink.pipeline.planning import model
    from photonlink.pipeline.planning import plan as planning

    found = planning.plan(model.load_link(link), seed=seed)
    if as_json:
        print(json.dumps(_finite(asdict(found))), flush=True)
    else:
        print(_plan_text(found), flush=True)


def claim(
    write: Annotated[Path | None, typer.Option(help="Write the page here.")] = None,
    vectors: Annotated[Path | None, typer.Option(help="File of numeric vectors.")] = None,
    runs: Annotated[int, typer.Option(help="Simulated blocks per scenario.", min=100)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.", min=0)] = 1,
) -> None:
    """Check the claim from its sides and write the page about it; fails when one does not hold."""
    from photonlink.pipeline.claim import document

    page, failed = document.claim_page(vectors, runs, seed)
    if write is not None:
        with writing(write):
            write.write_text(page, encoding="utf-8")
    else:
        print(page)
    for each in failed:
        print(each, file=sys.stderr)
    if failed:
        raise typer.Exit(ExitStatus.FAILURE)


def _named(thresholds: Any) -> str:
    """``s_key_1 ≥ 1,234`` and the like: names and readable numbers, what is not asked left out."""
    shown = []
    for name, value in asdict(thresholds).items():
        if value is None or isinstance(value, dict | str):
            continue
        if isinstance(value, list | tuple):
            text = ", ".join(readable(v) for v in value)
        else:
            text = readable(value)
        shown += [f"{name} = {text}"] if value not in ((), [], 0, 0.0) else []
    return "; ".join(shown)


def _finite(value: Any) -> Any:
    """JSON knows no infinity: it becomes null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plan_text(p: "Plan") -> str:
    from photonlink.pipeline.planning.curve import duration

    s, now, then = p.settings, p.present.bits_per_s, p.proposed
    lines = [p.link, ""]
    for what, values in (("intensities", s.mus), ("probabilities", s.ps)):
        if values:
            lines.append(f"  {what:<28}" + "  ".join(f"{v:.4f}" for v in values))
    lines += [
        f"  {'key basis chosen with':<28}{s.key_basis:.4f}",
        f"  {'key rate':<28}{readable(then.bits_per_s)} bit/s (as described: {readable(now)})",
        f"  {'asymptotic':<28}{readable(then.asymptotic_bits_per_s)} bit/s",
        f"  {'as described, one basis':<28}{readable(p.bases.one_bits_per_s)} bit/s, both "
        f'{readable(p.bases.two_bits_per_s)}: bases = "{p.bases.better}" gives more',
        f"  {'at best, one basis':<28}{readable(p.bases.best_one_bits_per_s)} bit/s, both "
        f"{readable(p.bases.best_two_bits_per_s)}",
        f"  {'block':<28}{duration(then.block_s)}, {_expected(p)}",
        f"  {'first key after':<28}{duration(p.positive_key_s)}",
        f"  {'95 % of asymptotic after':<28}{duration(p.near_asymptotic_s)}",
        "",
        "  what it would gain without:",
    ]
    for limit in p.limits:
        gain = "key at all" if math.isinf(limit.gain) else f"x {limit.gain:.3f}"
        lines.append(f"    {limit.name:<34}{gain}")
    if p.thresholds is None:
        lines += ["", f"  no thresholds to agree: {_why_none(p)}"]
    else:
        low, high = p.abort_interval
        lines += [
            "", f"  thresholds to agree: {_named(p.thresholds)}",
            f"  a block that meets them yields {p.length:,} bits (each basis that makes key)",
            f"  honest blocks refused: {p.abort_probability:.1%} ({low:.1%} to {high:.1%})",
        ]  # fmt: skip
    if p.trade:
        lines += ["", "  thresholds that follow the link, key from both bases:"]
    for t in p.trade:
        lines.append(
            f"    {t.abort_probability:<8.4%} of blocks refused at {t.q_z:.3%}, {t.q_x:.3%}:"
            f"  {readable(t.bits_per_s)} bit/s"
        )
    for basis, account in zip(BASES, p.accounts, strict=False):
        heading = f"  {basis}:" if len(p.accounts) > 1 else ""
        lines += ["", *([heading] if heading else []), "  " + str(account).replace("\n", "\n  ")]
    return "\n".join(lines)


def _expected(p: "Plan") -> str:
    """The expected key of a block; where both bases make key, what each contributes."""
    text = f"{p.proposed.length:,} secret bits expected"
    if len(p.accounts) < 2 or not p.proposed.length:
        return text
    parts = (f"{a.length:,} from the {b}" for a, b in zip(p.accounts, BASES, strict=True))
    return f"{text} ({', '.join(parts)})"


def _why_none(p: "Plan") -> str:
    from photonlink.pipeline.planning.curve import duration

    if p.positive_key_s is None:
        return "this link makes no key, however long the block"
    if p.proposed.length:
        return "a block that just meets thresholds for honest blocks makes no key"
    return f"a block this short makes no key; it takes {duration(p.positive_key_s)}"
