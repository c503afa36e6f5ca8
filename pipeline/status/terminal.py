"""The link in a terminal: what is open, what it sees, what it makes, what went wrong.

A node reports in *events*, flat JSON objects with an ``event`` key (``opened``, ``state``,
``block``, ``alarm``, ``light``, ``summary``); this module only renders them, for one node or for
the two of a demo.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

Event = Mapping[str, Any]
NONE = "-"
KEPT_NOTES = 6


class LinkView:
    """Collects events of one or two nodes; ``render`` shows the link as it stands."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._opened: dict[str, list[Event]] = {}
        self._state: dict[str, Event] = {}
        self._block: Event | None = None
        self._notes: deque[Text] = deque(maxlen=KEPT_NOTES)
        self._light: dict[str, str] = {}
        self._calibration = NONE

    def update(self, event: Event) -> None:
        """Take one event; unknown ones are passed over."""
        node = str(event.get("node", "?"))
        kind = event.get("event")
        if kind == "opened":
            self._opened[node] = list(event["instruments"])
        elif kind == "state":
            before = self._state.get(node, {}) if event["phase"] == "closed" else {}
            # what was last known stays on the screen when the link has closed
            known = {k: v for k, v in event.items() if v is not None and k != "clock_locked"}
            self._state[node] = {**event, **before, **known}
        elif kind == "block":
            self._block = event
        elif kind == "alarm":
            style = "red" if event["active"] else "green"
            mark = "!" if event["active"] else "cleared:"
            self._notes.append(Text(f"{mark} {node}: {event['code']}: {event['text']}", style))
        elif kind == "calibrating":
            self._calibration = f"measuring for {event['seconds']:g} s"
        elif kind == "calibrated":
            self._calibration = _calibrated(event["calibration"])
        elif kind == "calibration":
            self._calibration = (
                f"{event['digest'][:12]}, {event['left_s'] / 3600:.1f} h left, "
                f"by {', '.join(event['operators'])}"
            )
        elif kind == "light":
            for step in event["steps"]:
                self._light[f"{node} {step['instrument']}"] = str(step["readback"])

    def render(self) -> RenderableType:
        parts: list[RenderableType] = [
            self._instruments(),
            self._rates(),
            self._link(),
            self._key(),
        ]
        if self._light:
            lines = [f"{name}: {readback}" for name, readback in self._light.items()]
            parts.append(Panel(Text("\n".join(lines)), title="light, read back", style="yellow"))
        parts += list(self._notes)
        return Panel(Group(*parts), title=self._heading(), border_style="cyan")

    def _heading(self) -> Text:
        heading = Text(self._title)
        if any(i["provenance"] != "real" for opened in self._opened.values() for i in opened):
            heading.append("  EMULATED", style="bold red")
        return heading

    def _instruments(self) -> Table:
        table = Table(box=None, pad_edge=False, title="instruments", title_justify="left")
        for column in ("node", "instrument", "is", "identity", "address", "why"):
            table.add_column(column, overflow="ellipsis", no_wrap=True, max_width=46)
        for node, opened in self._opened.items():
            for i in opened:
                style = "green" if i["provenance"] == "real" else "red"
                table.add_row(
                    node, i["name"], Text(i["provenance"], style), i["identity"], i["address"],
                    i["reason"],
                )  # fmt: skip
        return table

    def _rates(self) -> Table:
        table = Table(box=None, pad_edge=False, title="clicks per second", title_justify="left")
        for column in ("node", "H", "V", "D", "A", "multi-clicks"):
            table.add_column(column, justify="right")
        for node, s in self._state.items():
            cells = [_number(s.get(f"rate_{d}_hz"), "{:,.0f}") for d in "hvda"]
            table.add_row(node, *cells, _number(s.get("multi_click_fraction"), "{:.2%}"))
        return table

    def _link(self) -> Table:
        table = Table(
            box=None, pad_edge=False, show_header=False, title="link", title_justify="left"
        )
        rows = (
            ("phase", lambda s: str(s["phase"])),
            ("coincidences / accidentals / ratio", _coincidences),
            ("clock offset, frequency, drift, age", _clock),
            ("QBER HV / DA", lambda s: f"{_percent(s['qber_hv'])} / {_percent(s['qber_da'])}"),
            ("classical channel", lambda s: _number(s["channel_bps"], "{:,.0f} bit/s")),
            ("block filled", lambda s: f"{s['block_fill']:.0%}"),
        )
        table.add_column()
        for name, show in rows:
            table.add_row(name, *(show(s) for s in self._state.values()))
        table.add_row("calibration", self._calibration)
        return table

    def _key(self) -> Table:
        table = Table(
            box=None, pad_edge=False, show_header=False, title="key", title_justify="left"
        )
        for s in list(self._state.values())[:1]:
            sifted, secret = (_number(s[k], "{:,.0f} bit/s") for k in ("sifted_bps", "skr_bps"))
            table.add_row("sifted, secret (net) rate", f"{sifted}, {secret}")
            table.add_row("sifted / leaked / secret bits", _bits(s))
            table.add_row("blocks, epsilon so far", f"{s['blocks']}, {s['epsilon']:.2g}")
            table.add_row("pads left, key stored", _stock(s))
        if self._block is not None:
            table.add_row("last block", _last_block(self._block))
        return table


def _calibrated(found: Mapping[str, Any]) -> str:
    ends = [found[side]["detectors"].values() for side in ("alice", "bob")]
    widest = max(d["delay_uncertainty_ps"] for end in ends for d in end)
    low = min(d["efficiency"]["low"] for end in ends for d in end)
    high = max(d["efficiency"]["high"] for end in ends for d in end)
    return (
        f"{found['digest'][:12]}, delays ± {widest:.0f} ps, "
        f"relative efficiencies within {low:.3f} and {high:.3f}"
    )


def _last_block(b: Event) -> Text:
    if b["abort"]:
        return Text(f"block {b['block']}: no key: {b['abort']}", "bold red")
    return Text(
        f"block {b['block']}: {b['net_bits']:,} bits net of {b['sifted_bits']:,} sifted, "
        f"leak {b['leak_bits']:,} (f = {_number(b['f_ec'], '{:.3f}')}), "
        f"bound of 2012 would give {b['secret_bits_tlgr2012']:,}",
        "bold green",
    )


def _coincidences(s: Event) -> str:
    return " / ".join(
        (
            _number(s["coincidences_hz"], "{:,.0f}"),
            _number(s["accidentals_hz"], "{:,.1f}"),
            _number(s["coincidence_to_accidental_ratio"], "{:,.0f}"),
        )
    )


def _clock(s: Event) -> str:
    if s["clock_offset_s"] is None:
        return "not locked"
    lock = "" if s["clock_locked"] else " LOST"
    return (
        f"{s['clock_offset_s'] * 1e3:+.6f} ms, {_number(s['clock_frequency_ppm'], '{:+.4f}')} ppm, "
        f"{_number(s['clock_drift_ppb_per_s'], '{:+.2f}')} ppb/s, "
        f"{_number(s['clock_lock_age_s'], '{:.0f}')} s{lock}"
    )


def _bits(s: Event) -> str:
    return f"{s['sifted_bits']:,} / {s['leak_bits']:,} / {s['secret_bits']:,}"


def _stock(s: Event) -> str:
    return f"{s['pads_left_bits']:,} bits, {s['key_stored_bits']:,} bits"


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)


def _percent(value: float | None) -> str:
    return _number(value, "{:.2%}")
