"""The model of the terminal view: the board of ``watch``, fed by a broker or by a node's own
events.

``photonlink top`` gets its data over MQTT; the demo and a node report events, which become the
same messages here. Pure but for the clock that is handed in.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from photonlink.pipeline.status.topics import level
from photonlink.pipeline.watch.board import Board, Change, WatchedNode, words
from photonlink.pipeline.watch.intake import NodeMessage, Refused, bounded, number, parse, text

SITE = "here"
RECENT_POINTS = 60
RECENT_S = 2.0
LOG_LINES = 500
Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log. level: ``bad``, ``ok`` or ``soft``."""

    t: float
    level: str
    text: str


@dataclass
class Recent:
    """The newest points of one link, one every two seconds, for its sparklines."""

    key_bps: deque[float | None] = field(default_factory=lambda: deque(maxlen=RECENT_POINTS))
    qber: deque[float | None] = field(default_factory=lambda: deque(maxlen=RECENT_POINTS))


class Model:
    """State behind the screen. ``doing``: the activity before there is a link; ``trouble``: why no
    messages arrive. ``changes`` is increased by everything that may change the screen.
    """

    def __init__(self, title: str, clock: Callable[[], float] = time.time) -> None:
        self.title = title
        self.clock = clock
        self.board = Board()
        self.log: deque[LogLine] = deque(maxlen=LOG_LINES)
        self.recent: dict[str, Recent] = {}
        self.doing = ""
        self.trouble: Callable[[], str] = lambda: ""
        self.changes = 0
        self.logged = 0  # all lines so far, including those dropped from the log
        self._recent_s = 0.0
        self._link = level(title)

    # ---- from a broker ----

    def message(self, topic: str, payload: bytes) -> None:
        """One message of the broker; never raises for its content."""
        now = self.clock()
        try:
            for change in self.board.feed(parse(topic, payload), now):
                self._note(change, now)
        except Refused as why:
            self.board.refuse(why, now)
            said = f"{why.site}/{why.node}: message refused: {why.reason}"
            if not self.log or self.log[-1].text != said:
                self._say(now, "bad", said)
        self._heard(now)

    # ---- from a node's own events ----

    def event(self, event: Event) -> None:
        """One event of a node; never raises for its content."""
        now = self.clock()
        for message in self._messages(event):
            try:
                for change in self.board.feed(message, now):
                    self._note(change, now)
            except Refused as why:
                self._say(now, "bad", why.reason)
        for line in _said(event):
            self._say(now, *line)
        self._doing(event)
        self._heard(now)

    def _messages(self, event: Event) -> Iterator[NodeMessage]:
        """The event as the messages that the node would publish."""
        kind, node = str(event.get("event")), level(str(event.get("node", "node")))
        body = {k[:64]: bounded(v) for k, v in event.items() if k not in ("event", "node")}

        def message(kind: str, name: str, body: dict[str, Any]) -> NodeMessage:
            return NodeMessage(SITE, node, kind, name, body)

        if kind == "opened":
            self._link = level(str(event.get("link") or self._link))
            role = event.get("role") or (node if node in ("alice", "bob") else "")
            rows = event.get("instruments") or ()
            emulated = any(i.get("provenance") != "real" for i in rows)
            yield message("meta", "", {"link": self._link, "role": str(role), "emulated": emulated})
            yield message("status", "", {"status": "online"})
            yield message("state", self._link, {"phase": "starting", "emulated": emulated})
            for i in rows:
                shown = {k: bounded(v) for k, v in i.items()} | {"state": "ok", "last_error": ""}
                yield message("instrument", level(str(i.get("name"))), shown)
        elif kind in ("state", "block", "histogram"):
            yield message(kind, self._link, body)
        elif kind == "readiness":
            yield message("readiness", "", body)
        elif kind == "alarm":
            yield message("alarm", str(event.get("code", "unnamed"))[:64], body)
        elif kind == "instrument":
            name = level(str(event.get("name")))
            held = self.board.nodes.get(f"{SITE}/{node}")
            known = held.instruments.get(name, {}) if held else {}
            yield message("instrument", name, known | body)

    def _doing(self, event: Event) -> None:
        kind = event.get("event")
        if kind == "calibrating":
            self.doing = f"calibrating: measuring for {event.get('seconds', 0):g} s"
        elif kind in ("calibrated", "calibration", "opened", "state"):
            self.doing = ""
        elif kind == "page":
            self.title += f", page at {event.get('url', '')}"

    # ---- both ----

    def _note(self, change: Change, now: float) -> None:
        """Add the lines for a change to the log."""
        node, body = change.node, change.body
        if change.kind == "alarm":
            mark, tone = ("▲", "bad") if change.raised else ("cleared:", "ok")
            self._say(now, tone, f"{mark} {node.node}: {change.code}: {text(body, 'text')}")
        elif change.kind == "block":
            self._say(now, *block_line(node, body))
        elif change.kind == "node":
            self._say(now, "soft", f"{node.node} is {text(body, 'status')}")

    def say(self, tone: str, said: str) -> None:
        """A line of the log, now."""
        self._say(self.clock(), tone, said)
        self.changes += 1

    def _say(self, now: float, tone: str, said: str) -> None:
        self.log.append(LogLine(now, tone, said))
        self.logged += 1

    def _heard(self, now: float) -> None:
        self.changes += 1
        if now - self._recent_s < RECENT_S:
            return
        self._recent_s = now
        for key, nodes in self.board.links().items():
            recent = self.recent.setdefault(key, Recent())
            state = first(nodes).state
            makes = words(nodes, now)[0] in ("ok", "busy")
            recent.key_bps.append(number(state, "skr_bps") if makes else None)
            recent.qber.append(worst_qber(state))


def first(nodes: list[WatchedNode]) -> WatchedNode:
    """The node whose figures represent the link: Alice's when it publishes."""
    return next((n for n in nodes if n.role == "alice"), nodes[0])


def worst_qber(state: Event) -> float | None:
    """The worse of both bases."""
    rates = [v for n in ("qber_hv", "qber_da") if (v := number(dict(state), n)) is not None]
    return max(rates) if rates else None


def block_line(node: WatchedNode, body: Event) -> tuple[str, str]:
    """(tone, sentence) of one block."""
    head = f"{node.node}: block {body.get('block', '?')}"
    if body.get("abort"):
        return "bad", f"{head}: no key: {body['abort']}"
    got, sifted, leak = (
        number(dict(body), n) or 0 for n in ("net_bits", "sifted_bits", "leak_bits")
    )
    factor = number(dict(body), "f_ec")
    shown = "" if factor is None else f" (f = {factor:.3f})"
    return "ok", f"{head}: {got:,.0f} bits net of {sifted:,.0f} sifted, leak {leak:,.0f}{shown}"


_PASSED_OVER = frozenset(
    {"state", "block", "alarm", "instrument", "readiness", "histogram", "key_check"}
)


def _said(event: Event) -> Iterator[tuple[str, str]]:
    """(tone, sentence) of events that are neither figures nor alarms."""
    kind, node = event.get("event"), event.get("node", "")
    if kind in _PASSED_OVER:
        return
    if kind == "opened":
        for i in event.get("instruments") or ():
            why = f" ({i['reason']})" if i.get("reason") else ""
            yield (
                "soft",
                f"{node}: {i.get('name')} is {i.get('provenance')}: {i.get('identity')}{why}",
            )
    elif kind == "light":
        for step in event.get("steps") or ():
            tone = "soft" if step.get("ok", True) else "bad"
            yield tone, f"{node}: light of {step.get('instrument')} reads {step.get('readback')}"
    elif kind == "calibrating":
        yield "soft", f"calibrating: measuring for {event.get('seconds', 0):g} s"
    elif kind == "calibrated":
        yield "soft", f"calibrated: {calibrated(event['calibration'])}"
    elif kind == "calibration":
        left = float(event.get("left_s") or 0.0) / 3600
        assumed = ", ".join(event.get("assumes") or ()) or "nothing of its own"
        digest = str(event.get("digest", ""))[:12]
        yield "soft", f"{node}: calibration {digest}, {left:.1f} h left, assumes {assumed}"
    elif kind == "summary":
        bits, blocks = event.get("secret_bits", 0), event.get("blocks", 0)
        yield ("ok" if bits else "bad"), f"{node}: {bits:,} bits of key in {blocks} blocks"
        for reason in event.get("aborts") or ():
            yield "bad", f"{node}: no key: {reason}"
    else:
        plain = ("event", "node", "ts")
        rest = ", ".join(f"{v}" for k, v in event.items() if k not in plain and v not in ("", None))
        yield "soft", f"{node}: {kind}: {rest}"[:300]


def calibrated(found: Event) -> str:
    """A fresh calibration in one sentence."""
    ends = [found[side]["detectors"].values() for side in ("alice", "bob")]
    widest = max(d["delay_uncertainty_ps"] for end in ends for d in end)
    low = min(d["efficiency"]["low"] for end in ends for d in end)
    high = max(d["efficiency"]["high"] for end in ends for d in end)
    return (
        f"{found['digest'][:12]}, delays ± {widest:.0f} ps, "
        f"relative efficiencies within {low:.3f} and {high:.3f}"
    )
