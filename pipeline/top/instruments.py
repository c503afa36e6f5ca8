"""Instruments of a link as lines: equal ones are folded into one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from photonlink.pipeline.top.marks import STYLES, TIMES, folded
from photonlink.pipeline.watch.board import WatchedNode
from photonlink.pipeline.watch.intake import text

_OWN = {
    "name", "driver", "serial", "provenance", "state", "last_error", "identity", "address",
    "reason", "backend", "v", "ts", "seq", "site", "node", "link", "role",
}  # fmt: skip


def groups(node: WatchedNode) -> list[list[dict[str, Any]]]:
    """Instruments of one driver, provenance, state and error stand together; lost ones first."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for name, body in sorted(node.instruments.items()):
        key = tuple(text(body, k) for k in ("state", "driver", "provenance", "last_error"))
        found.setdefault(key, []).append({"name": name, **body})
    return [found[key] for key in sorted(found, key=lambda k: (k[0] == "ok", k))]


def model_name(driver: str) -> str:
    """``sfifteen.irspd1`` → ``IRSPD1``."""
    return driver.rpartition(".")[2].replace("_", " ").upper() or "?"


def title(group: list[dict[str, Any]]) -> str:
    """Count and model, and whether they are real."""
    one = group[0]
    count = f"{len(group)} {TIMES} " if len(group) > 1 else ""
    return f"{count}{model_name(text(one, 'driver'))}, {text(one, 'provenance') or '?'}"


def instruments_in_short(node: WatchedNode) -> Text:
    """All instruments of one node in one line."""
    line = Text()
    for group in groups(node):
        state = text(group[0], "state")
        if line:
            line.append("; ")
        line.append(title(group), STYLES["bad"] if state != "ok" else "")
        if state != "ok":
            line.append(f" {state.upper()}: {group[0]['name']}", STYLES["bad"])
    return line if line else Text("no instrument is known", "dim")


def instrument_lines(nodes: list[WatchedNode], *, unfolded: bool) -> Iterator[Text]:
    """Every group with its readings; every instrument when ``unfolded``."""
    for node in nodes:
        yield Text(f"{node.role or '?'} ({node.node})", "bold")
        for group in groups(node):
            for shown in [[one] for one in group] if unfolded else [group]:
                yield from _group(shown)


def _group(group: list[dict[str, Any]]) -> Iterator[Text]:
    one = group[0]
    state = text(one, "state")
    names = ", ".join(str(i["name"]) for i in group)
    line = Text.assemble(
        ("● " if state == "ok" else "▲ ", STYLES["ok" if state == "ok" else "bad"]),
        (title(group), "bold"), f"  {names}",
    )  # fmt: skip
    if state != "ok":
        line.append(f"  {state.upper()}", STYLES["bad"])
    yield line
    error = text(one, "last_error") or text(one, "reason")
    if error:
        yield Text(f"    {error}", STYLES["bad"] if text(one, "last_error") else "dim")
    if len(group) == 1 and text(one, "identity"):
        yield Text(f"    {text(one, 'identity')} at {text(one, 'address')}", "dim")
    readings = [r for r in _readings(group) if r]
    if readings:
        yield Text("    " + ", ".join(readings), "dim")


def _readings(group: list[dict[str, Any]]) -> Iterator[str]:
    for name in group[0]:
        if name in _OWN:
            continue
        values = [i.get(name) for i in group]
        numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if numbers and len(numbers) == len(values):
            yield f"{name} {folded(numbers)}"
        else:
            yield f"{name} {'/'.join(sorted({str(v) for v in values if v is not None}))}"
