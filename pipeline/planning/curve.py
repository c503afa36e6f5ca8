"""Key rate against distance or loss: rows, CSV, JSON, and a picture for a talk."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.planning import channel as channels
from photonlink.pipeline.planning.expected import Settings
from photonlink.pipeline.planning.model import LinkFileError, PlannedLink
from photonlink.pipeline.planning.optimise import optimised
from photonlink.pipeline.planning.rates import Planned, asymptotic_rate, key_rate

Axis = Literal["distance", "loss"]
AXIS_LABEL = {"distance": "Fibre length (km)", "loss": "Loss (dB)"}


def duration(seconds: float | None) -> str:
    """A duration as text, in a convenient unit."""
    if seconds is None:
        return "not within ten years"
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


@dataclass(frozen=True, slots=True)
class BlockLength:
    """How long a block is: detections in the key basis, or seconds."""

    bits: float | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, *, bits: float | None = None, seconds: float | None = None) -> BlockLength:
        """Parse a block length. LinkFileError for an impossible one."""
        value = seconds if bits is None else bits
        if value is None or not (math.isfinite(value) and 0 < value <= 1e15):
            where = "--block-s" if bits is None else "--block-bits"
            raise LinkFileError("must be positive and finite", where=where, seen=str(value))
        return cls(bits, seconds)

    @property
    def label(self) -> str:
        if self.bits is not None:
            return f"{self.bits:.3g} bits".replace("e+0", "e").replace("e+", "e")
        return duration(self.seconds)


@dataclass(frozen=True, slots=True)
class Point:
    """x: km or dB. block: its length in words. Rates in secret bits per second; qber: key basis."""

    link: str
    protocol: str
    axis: str
    x: float
    block: str
    bits_per_s: float
    asymptotic_bits_per_s: float
    qber: float
    sifted_bits_per_s: float
    block_s: float
    reason: str | None
    mus: tuple[float, ...]
    ps: tuple[float, ...]
    key_basis: float


def default_axis(link: PlannedLink) -> Axis:
    return "distance" if link.channel.length_km is not None else "loss"


def default_range(link: PlannedLink, axis: Axis) -> tuple[float, float]:
    """The range of the axis: from zero to well beyond the link's own place."""
    if axis == "distance":
        return 0.0, max(100.0, 2.0 * (link.channel.length_km or 0.0))
    return 0.0, max(40.0, 1.3 * max(link.channel.losses_db()))


def curve(
    link: PlannedLink,
    axis: Axis,
    xs: Sequence[float],
    blocks: Sequence[BlockLength] = (),
    *,
    optimise: bool = False,
) -> list[Point]:
    """Points for each block length (none given: the link's own) at each x, in rising order.

    optimise: the best settings at each point, each search starting from its neighbour's; the
    asymptotic rate then has best settings of its own.
    """
    if not all(math.isfinite(x) and x >= 0 for x in xs):
        raise LinkFileError("must be finite and not negative", where=f"--from, --to ({axis})")
    places = [link.at_length(x) if axis == "distance" else link.at_loss(x) for x in xs]
    planned = [Planned.of(place) for place in places]
    forever: list[float | None] = [None] * len(xs)
    if optimise:
        forever = [asymptotic_rate(p) for p in _best_along(planned, forever=True)]
    points = []
    for block in blocks or (_own(link),):
        own = [_with(p, block) for p in planned]
        settled = _best_along(own) if optimise else own
        points += [
            _point(link, axis, x, block, p, limit)
            for x, p, limit in zip(xs, settled, forever, strict=True)
        ]
    return points


def _best_along(planned: Sequence[Planned], *, forever: bool = False) -> list[Planned]:
    """Each link with its best settings; no search beyond the last point with key."""
    found: list[Planned] = []
    best: Settings | None = None
    dark = False
    for each in planned:
        if not dark:
            each = optimised(each, start=best, forever=forever)
            best = each.settings
            dark = asymptotic_rate(each) == 0
        elif best is not None:
            each = replace(each, settings=best)
        found.append(each)
    return found


def _point(
    link: PlannedLink,
    axis: str,
    x: float,
    block: BlockLength,
    planned: Planned,
    limit: float | None,
) -> Point:
    result, s = key_rate(planned), planned.settings
    asymptotic = max(result.asymptotic_bits_per_s, limit or 0.0)
    return Point(
        link.name, link.protocol.kind, axis, float(x), block.label, result.bits_per_s,
        asymptotic, result.qber, result.sifted_bits_per_s, result.block_s, result.reason,
        s.mus, s.ps, s.key_basis,
    )  # fmt: skip


def _own(link: PlannedLink) -> BlockLength:
    security = link.security
    if security.block_s is not None:
        return BlockLength(seconds=security.block_s)
    return BlockLength(bits=security.block_bits or 1e7)


def _with(planned: Planned, block: BlockLength) -> Planned:
    update = {"block_bits": block.bits, "block_s": block.seconds}
    return replace(planned, security=planned.security.model_copy(update=update))


def own_place(link: PlannedLink, axis: Axis) -> float | None:
    """The link's own place on the axis; None for a pass of a satellite."""
    channel = link.channel
    if channel.satellite is not None:
        return None
    if axis == "distance":
        return channel.length_km
    if channel.loss_db is not None:
        return channel.loss_db
    return channels.fibre_loss_db(channel.length_km or 0.0, channel.attenuation, 0.0)


def own_point(link: PlannedLink, axis: Axis) -> Point | None:
    """The rate of the link as described, at its own place; None when it has none."""
    x = own_place(link, axis)
    return None if x is None else _point(link, axis, x, _own(link), Planned.of(link), None)


def steps(start: float, stop: float, points: int) -> list[float]:
    if not (math.isfinite(start) and math.isfinite(stop) and 0 <= start < stop):
        raise LinkFileError(
            "need 0 <= --from < --to", where="--from, --to", seen=f"{start}, {stop}"
        )
    return [float(x) for x in np.linspace(start, stop, points)]


def write_csv(points: Iterable[Point], path: Path) -> None:
    """One row a point; lists as words with spaces."""
    names = [f.name for f in fields(Point)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for point in points:
            row = asdict(point)
            row |= {n: " ".join(f"{v:.6g}" for v in row[n]) for n in ("mus", "ps")}
            writer.writerow(["" if row[n] is None else row[n] for n in names])


def write_png(points: Sequence[Point], path: Path, marks: Sequence[Point | None] = ()) -> None:
    """Rates on a logarithmic scale, infinitely long blocks dashed. Needs the extra ``plot``.

    marks: the links as they are described: a dot where each stands.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PhotonlinkError(
            "a picture needs matplotlib", where="--png", hint="pip install 'photonlink[plot]'"
        ) from error
    figure = Figure(figsize=(8, 4.8), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    links = list(dict.fromkeys(p.link for p in points))
    for colour, name in enumerate(links):
        own = [p for p in points if p.link == name]
        blocks = list(dict.fromkeys(p.block for p in own))
        for nth, block in enumerate(blocks):
            part = [p for p in own if p.block == block and p.bits_per_s > 0]
            label = f"{name}, {block}" if len(links) > 1 else block
            axes.plot(
                [p.x for p in part], [p.bits_per_s for p in part], color=f"C{colour}",
                alpha=1 - 0.6 * nth / len(blocks), linewidth=2, label=label,
            )  # fmt: skip
        part = [p for p in own if p.block == blocks[0] and p.asymptotic_bits_per_s > 0]
        axes.plot(
            [p.x for p in part], [p.asymptotic_bits_per_s for p in part], color=f"C{colour}",
            linestyle="--", linewidth=1.2,
            label=f"{name}, asymptotic" if len(links) > 1 else "asymptotic",
        )  # fmt: skip
        for at in (mark for mark in marks if mark is not None and mark.link == name):
            _mark(axes, at, f"C{colour}", f"{name}, as described")
    axes.set_yscale("log")
    axes.set_xlabel(AXIS_LABEL.get(points[0].axis, points[0].axis))
    axes.set_ylabel("Secret key rate (bit/s)")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    if len(links) == 1:
        axes.set_title(links[0], fontsize="medium", loc="left")
    figure.savefig(path, format="png")


def _mark(axes: Any, at: Point, colour: str, label: str) -> None:
    """A dot at the link's own place; without key a line, since no dot fits a logarithmic scale."""
    if at.bits_per_s > 0:
        axes.plot([at.x], [at.bits_per_s], "o", color=colour, label=label)
    else:
        axes.axvline(at.x, color=colour, linestyle=":", label=f"{label}: no key")
