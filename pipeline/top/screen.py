"""The terminal's lines, drawn from the model at any width. Pure; the app only places them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from photonlink.pipeline.top.instruments import instrument_lines, instruments_in_short
from photonlink.pipeline.top.marks import NONE, SIGNS, STYLES, bar, percent, quantity, span, spark
from photonlink.pipeline.top.model import Model, Recent, first
from photonlink.pipeline.watch.board import WatchedNode, noticed, tile, words
from photonlink.pipeline.watch.intake import Flat, number, text

PANES = ("link", "instruments", "alarms", "log")
RANK = {"bad": 0, "busy": 1, "off": 2, "ok": 3}
SORTS = ("state", "name", "key rate")
UNKNOWN_LIMIT = 0.11  # used before a block reports its threshold: BBM92 gives no key beyond it
Part = tuple[str, str] | str | Text


@dataclass
class Choice:
    """What the person chose: link, pane, filter, order, whether equal instruments are unfolded."""

    link: str = ""
    pane: str = "link"
    filter: str = ""
    sort: str = "state"
    unfolded: bool = False
    ended: str = ""


def shown_links(model: Model, choice: Choice) -> dict[str, list[WatchedNode]]:
    """The links that pass the filter, in the chosen order: faults come first."""
    now = model.clock()
    links = {
        key: nodes
        for key, nodes in model.board.links().items()
        if choice.filter
        in f"{key} {' '.join(n.site for n in nodes)} {words(nodes, now)[1]}".lower()
    }

    def order(key: str) -> tuple[float, str]:
        if choice.sort == "key rate":
            return -(number(first(links[key]).state, "skr_bps") or 0.0), key
        if choice.sort == "state":
            return RANK[words(links[key], now)[0]], key
        return 0, key

    return {key: links[key] for key in sorted(links, key=order)}


def _clock(t: float, now: float) -> str:
    form = "%H:%M:%S" if abs(now - t) < 86_400 else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(t))


def _line(width: int, *parts: Part) -> Text:
    line = Text.assemble(*parts, no_wrap=True, end="")
    line.truncate(width, overflow="ellipsis")
    return line


# ---- the top: is key made, why not, since when ----


def head(model: Model, width: int) -> Text:
    """One line: program, whether light is emulated, how many links make key, the time."""
    now = model.clock()
    links = model.board.links()
    making = sum(words(nodes, now)[0] == "ok" for nodes in links.values())
    emulated = any(n.emulated for nodes in links.values() for n in nodes)
    count = f"{making} of {len(links)} links make key" if len(links) > 1 else ""
    when = time.strftime("%H:%M:%S %Z", time.localtime(now))
    left = Text.assemble((model.title, "bold"), no_wrap=True)
    if emulated:
        left.append("  EMULATED", STYLES["bad"])
    if count:
        left.append(f"  {count}")
    left.truncate(max(width - len(when) - 1, 8), overflow="ellipsis")
    left.pad_right(max(width - left.cell_len - len(when), 1))
    return left.append(when, "dim")


def situation(model: Model, choice: Choice, width: int, most: int = 6) -> list[Text]:
    """Whether key is made and why not, then the alarms; equal alarms are one line."""
    now = model.clock()
    lines = []
    trouble = model.trouble()
    if trouble:
        lines.append(
            _line(width, (f"▲ broker: {trouble}; shown is what was last heard", STYLES["bad"]))
        )
    if choice.ended:
        lines.append(_line(width, (choice.ended, "bold")))
    if model.doing:
        lines.append(_line(width, (f"◐ {model.doing}", STYLES["busy"])))
    links = model.board.links()
    if not links and not model.doing and not trouble:
        lines.append(_line(width, ("◐ waiting for the first link", STYLES["busy"])))
    for key, nodes in sorted(links.items(), key=lambda i: RANK[words(i[1], now)[0]]):
        level, sentence, since = words(nodes, now)
        if level == "ok" and len(links) > 1:
            continue
        when = f" since {_clock(since, now)}" if since else ""
        lines.append(_line(width, (f"{SIGNS[level]} {key}: {sentence}{when}", STYLES[level])))
    lines += [
        _line(width, (f"{mark} {code}", style), (f" {who}: ", "dim"), said)
        for mark, style, code, who, said, _ in folded_alarms(model)
    ]
    if len(lines) > most:
        more = len(lines) - most + 1
        lines = [*lines[: most - 1], _line(width, (f"… {more} more: key 3", "dim"))]
    return lines


def folded_alarms(model: Model) -> list[tuple[str, str, str, str, str, Flat]]:
    """(sign, style, code, nodes, text, body): major first; one entry for equal alarms."""
    now = model.clock()
    found: dict[tuple[str, str], list[tuple[str, Flat]]] = {}
    for node in model.board.nodes.values():
        for code, body in {**node.holding, **noticed(node, now)}.items():
            found.setdefault((code, text(body, "severity")), []).append((node.node, body))
    rows = []
    for (code, severity), held in found.items():
        names = [name for name, _ in held]
        who = ", ".join(names) if len(names) < 3 else f"{len(names)} nodes"
        major = severity == "major"
        mark, style = ("▲", STYLES["bad"]) if major else ("△", STYLES["busy"])
        rows.append((mark, style, code, who, text(held[0][1], "text"), held[0][1]))
    rows.sort(key=lambda r: (r[0] != "▲", number(r[5], "since_ts") or number(r[5], "ts") or 0.0))
    return rows


# ---- the list of links ----


def link_rows(model: Model, choice: Choice, width: int, height: int) -> list[tuple[str, Text]]:
    """(link, line), at most ``height``, the chosen one among them."""
    now = model.clock()
    links = list(shown_links(model, choice).items())
    at = next((i for i, (key, _) in enumerate(links) if key == choice.link), 0)
    start = max(0, min(at - height // 2, len(links) - height))
    name = min(max((len(key) for key, _ in links), default=4), max(12, width // 4))
    points = max(0, min(20, width - name - 78))
    rows = []
    for key, nodes in links[start : start + height]:
        found = tile(key, nodes, now)
        recent = model.recent.get(key, Recent())
        level = found["level"]
        chosen = "reverse" if key == choice.link else ""
        figures = (
            f" {quantity(found['skr_bps'], 'bit/s'):>12} {percent(found['qber']):>8}"
            f" {quantity(found['buffer_bits'], 'bit'):>10} "
        )
        badge = "EMULATED " if found["emulated"] else "real     "
        line = _line(
            width, (f"{SIGNS[level]} ", STYLES[level]), (key[:name].ljust(name), chosen), figures,
            (badge, STYLES["bad"] if found["emulated"] else "dim"),
            (spark(recent.key_bps, points) + " " if points else "", "cyan"),
            (found["words"], STYLES[level]),
        )  # fmt: skip
        rows.append((key, line))
    return rows


# ---- panes ----


def pane(model: Model, choice: Choice, width: int) -> list[Text]:
    """The lines of the pane chosen."""
    if choice.pane == "alarms":
        return list(_alarm_pane(model, width))
    if choice.pane == "log":
        return list(_log_pane(model))
    nodes = model.board.links().get(choice.link)
    if not nodes:
        return _hint(model, width)
    if choice.pane == "instruments":
        return list(instrument_lines(nodes, unfolded=choice.unfolded))
    return list(link_lines(model, choice.link, nodes, width))


def _hint(model: Model, width: int) -> list[Text]:
    """The activity before there is a link."""
    return [_line(width, (line.text, "dim")) for line in list(model.log)[-12:]]


def link_lines(model: Model, key: str, nodes: list[WatchedNode], width: int) -> Iterator[Text]:
    """One link: key, QBER, block, pads, clock, clicks, bench."""
    recent = model.recent.get(key, Recent())
    state, block = first(nodes).state, (first(nodes).blocks or ({},))[-1]
    for name, *parts in (
        ("key rate", *_key_rate(state, recent, width)),
        ("QBER", _qber(state, block, width)),
        ("block", _block(state, block)),
        ("store", *_store(state)),
        ("clock", *_clock_line(state)),
        ("channel", *_channel(state)),
        ("pairs", _pairs(state)),
        ("claim", _claim(state)),
    ):
        yield _line(width, (f"{name:<9}", "dim"), *parts)
    yield from _clicks(nodes, width)
    for node in nodes:
        yield _line(width, (f"{node.role or node.node:<9}", "dim"), instruments_in_short(node))
        yield from _readiness(node, width)


def _claim(state: Flat) -> str:
    """The calibration's time left, and assumptions beside those of every link."""
    left = number(state, "calibration_left_s")
    calibration = "no calibration" if left is None else f"calibration valid for {span(left)}"
    assumed = text(state, "assumptions")
    return f"{calibration}, assumes " + (assumed or "nothing of its own")


def _key_rate(state: Flat, recent: Recent, width: int) -> Iterator[Part]:
    yield f"{quantity(number(state, 'skr_bps'), 'bit/s'):<13}", "bold"
    yield spark(recent.key_bps, max(8, min(30, width - 50))), "cyan"
    yield f"  sifted {quantity(number(state, 'sifted_bps'), 'bit/s')}"


def _qber(state: Flat, block: Flat, width: int) -> Part:
    """Both bases as bars that are full at the threshold of each, agreed before the block."""
    cells = max(8, min(20, (width - 44) // 2))
    shown, above, limits = "", False, []
    for name in ("HV", "DA"):
        rate = number(state, f"qber_{name.lower()}")
        limit = number(block, f"q_tol_{name.lower()}") or number(block, "q_tol_da")
        shown += (
            f"{name} {percent(rate):<8}{bar((rate or 0.0) / (limit or UNKNOWN_LIMIT), cells)}  "
        )
        above |= rate is not None and limit is not None and rate > limit
        limits += [percent(limit)] if limit else []
    of = f"of {', '.join(dict.fromkeys(limits))}" if limits else ""
    return shown + of, STYLES["bad"] if above else ""


def _block(state: Flat, block: Flat) -> str:
    fill = number(state, "block_fill")
    shown = f"{bar(fill, 14)} {NONE if fill is None else f'{100 * fill:.0f} % full'}"
    if block.get("abort"):
        return f"{shown}  last: no key: {block['abort']}"
    if block:
        net, leak = (quantity(number(block, n), "bit") for n in ("net_bits", "leak_bits"))
        return f"{shown}  last: {net} net, leak {leak}"
    return shown


def _store(state: Flat) -> Iterator[Part]:
    key, pads = (
        quantity(number(state, name), "bit") for name in ("key_stored_bits", "pads_left_bits")
    )
    days, epsilon = number(state, "pads_days"), number(state, "epsilon")
    yield f"key {key}, pads {pads}" + ("" if days is None else f" for {span(86_400 * days)}")
    yield f", epsilon spent {NONE if epsilon is None else f'{epsilon:.1e}'}"


def _channel(state: Flat) -> Iterator[Part]:
    channel, sifted = number(state, "channel_bps"), number(state, "sifted_bps")
    per_bit = channel / sifted if channel is not None and sifted else None
    yield f"{quantity(channel, 'bit/s')}, {quantity(per_bit, 'bit')} per sifted bit"


def _pairs(state: Flat) -> str:
    pairs, accidental = (number(state, n) for n in ("coincidences_hz", "accidentals_hz"))
    shown = f"{quantity(pairs, '/s')}, accidental {quantity(accidental, '/s')}"
    multi = number(state, "multi_click_fraction")
    return shown if multi is None else f"{shown}, multi-clicks {percent(multi)}"


def _clock_line(state: Flat) -> Iterator[Part]:
    offset = number(state, "clock_offset_s")
    if offset is None:
        yield "not locked", STYLES["busy"]
        return
    frequency, drift = number(state, "clock_frequency_ppm"), number(state, "clock_drift_ppb_per_s")
    yield f"offset {1e6 * offset:+.3f} µs"
    yield "" if frequency is None else f", {frequency:+.4f} ppm"
    yield "" if drift is None else f", {drift:+.2f} ppb/s"
    age = number(state, "clock_lock_age_s")
    if state.get("clock_locked"):
        yield "" if age is None else f", locked {span(age)}"
    else:
        yield ", LOST", STYLES["bad"]


def _clicks(nodes: list[WatchedNode], width: int) -> Iterator[Text]:
    """Clicks per second of each detector, one column an end."""
    cell = max(16, (width - 9) // max(len(nodes), 1))
    most = max((number(n.state, f"rate_{d}_hz") or 0.0 for n in nodes for d in "hvda"), default=0.0)
    for d in "hvda":
        cells: list[Part] = [(f"clicks {d.upper()} ", "dim")]
        for node in nodes:
            rate = number(node.state, f"rate_{d}_hz")
            length = max(4, cell - 22)
            drawn = bar((rate or 0.0) / most if most else 0.0, length)
            name = (node.role or node.node)[:5]
            cells.append(f"{name:<5} {quantity(rate, '/s'):>10} {drawn}".ljust(cell))
        yield _line(width, *cells)


def _readiness(node: WatchedNode, width: int) -> Iterator[Text]:
    ready = node.readiness
    if ready and ready.get("ready") is False:
        tasks = ready.get("tasks")
        due = ", ".join(map(str, tasks)) if isinstance(tasks, list) else ""
        yield _line(width, (f"         ▲ not ready: {due}", STYLES["bad"]))


def _alarm_pane(model: Model, width: int) -> Iterator[Text]:
    rows = folded_alarms(model)
    if not rows:
        yield Text("No alarm holds.", "dim")
    now = model.clock()
    for mark, style, code, who, said, body in rows:
        since = number(body, "since_ts") or number(body, "ts")
        when = f" since {_clock(since, now)}" if since else ""
        yield Text.assemble((f"{mark} {code}", style), f" {who}{when}")
        yield Text(f"  {said}")
        action = text(body, "action")
        if action and action not in said:
            yield Text(f"  → {action}", "dim")


def _log_pane(model: Model) -> Iterator[Text]:
    now = model.clock()
    for line in reversed(model.log):
        yield Text.assemble((f"{_clock(line.t, now)} ", "dim"), (line.text, STYLES[line.level]))


def frame(model: Model, width: int) -> Text:
    """All links as they stand, without keys: for the end of a run and for virtual time."""
    lines = [head(model, width), *situation(model, Choice(), width)]
    for key, nodes in model.board.links().items():
        lines += link_lines(model, key, nodes, width)
    return Text("\n").join(lines)
