"""The present state of all links in ``photonlink watch``. Pure: no socket, no clock.

Nodes publish; two nodes of opposite roles with one link name form a link. The board keeps the last
state of each, the active alarms, and a sentence on whether key is made and why not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from photonlink.pipeline.status.alarms import OF_WATCHERS
from photonlink.pipeline.watch.intake import Flat, NodeMessage, Refused, number, text

MAX_NODES = 2_000
MAX_ALARMS = 64
MAX_INSTRUMENTS = 64
KEPT_BLOCKS = 64
STALE_S = 30.0
CLOCK_OFF_S = 30.0
NO_KEY_AFTER_S = 600.0


@dataclass
class WatchedNode:
    """One publisher. ``skew_s``: its clock minus ours, from its newest message."""

    site: str
    node: str
    status: str = "unknown"
    meta: Flat = field(default_factory=dict)
    state: Flat = field(default_factory=dict)
    link: str = ""
    blocks: deque[Flat] = field(default_factory=lambda: deque(maxlen=KEPT_BLOCKS))
    alarms: dict[str, Flat] = field(default_factory=dict)
    instruments: dict[str, Flat] = field(default_factory=dict)
    readiness: Flat = field(default_factory=dict)
    histogram: Flat = field(default_factory=dict)
    seen_s: float = 0.0
    state_s: float = 0.0
    key_s: float | None = None
    skew_s: float = 0.0
    refused: int = 0
    refused_why: str = ""

    @property
    def id(self) -> str:
        return f"{self.site}/{self.node}"

    @property
    def role(self) -> str:
        return text(self.meta, "role") or text(self.state, "role")

    @property
    def holding(self) -> dict[str, Flat]:
        """The active alarms: none for a node that is offline."""
        return {} if self.status == "offline" else self.alarms

    @property
    def emulated(self) -> bool:
        return bool(self.state.get("emulated") or self.meta.get("emulated"))


@dataclass(frozen=True, slots=True)
class Change:
    """The change made by a message, for history and viewers. kind: state, block, alarm, node."""

    node: WatchedNode
    kind: str
    body: Flat
    code: str = ""
    raised: bool | None = None


class Board:
    """``feed`` takes messages; ``links`` gives the links."""

    def __init__(self) -> None:
        self.nodes: dict[str, WatchedNode] = {}
        self.refused = 0
        self.refused_elsewhere: str = ""
        self.changed: set[str] = set()
        self._grouped: dict[str, list[WatchedNode]] | None = None

    def refuse(self, why: Refused, now_s: float) -> None:
        """Count a refused message, for the node that its topic names."""
        self.refused += 1
        node = self.nodes.get(f"{why.site}/{why.node}")
        if node is None:
            self.refused_elsewhere = f"{why.site}/{why.node}: {why.reason}"[:200]
            return
        node.refused += 1
        node.refused_why = why.reason
        self.changed.add(node.id)

    def feed(self, message: NodeMessage, now_s: float) -> list[Change]:
        """Take one message. Refused when there are more nodes or names than the bounds."""
        key = f"{message.site}/{message.node}"
        node = self.nodes.get(key)
        if node is None:
            if message.body is None:
                return []
            if len(self.nodes) >= MAX_NODES:
                raise Refused(f"more than {MAX_NODES} nodes", message.site, message.node)
            node = self.nodes[key] = WatchedNode(message.site, message.node)
        node.seen_s = now_s
        place = node.link, node.role
        ts = number(message.body, "ts")
        if ts is not None and message.kind in ("state", "block"):
            node.skew_s = ts - now_s
        self.changed.add(key)
        changes = list(getattr(self, f"_on_{message.kind}")(node, message, now_s))
        if (node.link, node.role) != place:
            self._grouped = None
        return changes

    def _on_status(self, node: WatchedNode, message: NodeMessage, now_s: float) -> Iterable[Change]:
        before, node.status = node.status, text(message.body, "status") or "offline"
        if before != node.status:
            yield Change(node, "node", {"status": node.status})
        if node.status == "offline":  # its earlier messages are no longer valid
            for code in list(node.alarms):
                yield Change(node, "alarm", node.alarms.pop(code), code, raised=False)

    def _on_meta(self, node: WatchedNode, message: NodeMessage, now_s: float) -> Iterable[Change]:
        node.meta = message.body or {}
        node.link = text(node.meta, "link") or node.link
        return ()

    def _on_state(self, node: WatchedNode, message: NodeMessage, now_s: float) -> Iterable[Change]:
        if message.body is None:
            node.state = {}
            return
        node.state, node.link, node.state_s = message.body, message.name, now_s
        if node.status == "unknown":
            node.status = "online"
        yield Change(node, "state", message.body)

    def _on_block(self, node: WatchedNode, message: NodeMessage, now_s: float) -> Iterable[Change]:
        if message.body is None:
            return
        node.blocks.append(message.body)
        if (number(message.body, "net_bits") or 0) > 0:
            node.key_s = now_s
        yield Change(node, "block", message.body)

    def _on_alarm(self, node: WatchedNode, message: NodeMessage, now_s: float) -> Iterable[Change]:
        code = message.name
        if message.body is None or message.body.get("active") is False:
            gone = node.alarms.pop(code, None)
            if gone is not None and node.status != "offline":
                yield Change(node, "alarm", gone, code, raised=False)
            return
        if code not in node.alarms and len(node.alarms) >= MAX_ALARMS:
            raise Refused(f"more than {MAX_ALARMS} alarms", node.site, node.node)
        new = code not in node.alarms
        node.alarms[code] = message.body
        if new and node.status != "offline":  # else retained by a run that has ended
            yield Change(node, "alarm", message.body, code, raised=True)

    def _on_instrument(
        self, node: WatchedNode, message: NodeMessage, now_s: float
    ) -> Iterable[Change]:
        if message.body is None:
            node.instruments.pop(message.name, None)
        elif message.name in node.instruments or len(node.instruments) < MAX_INSTRUMENTS:
            node.instruments[message.name] = message.body
        else:
            raise Refused(f"more than {MAX_INSTRUMENTS} instruments", node.site, node.node)
        return ()

    def _on_readiness(
        self, node: WatchedNode, message: NodeMessage, now_s: float
    ) -> Iterable[Change]:
        node.readiness = message.body or {}
        return ()

    def _on_histogram(
        self, node: WatchedNode, message: NodeMessage, now_s: float
    ) -> Iterable[Change]:
        node.histogram = message.body or {}
        return ()

    # ---- links ----

    def links(self) -> dict[str, list[WatchedNode]]:
        """Link key → its nodes. Two links of one name (same role twice) are told apart by site."""
        if self._grouped is None:
            self._grouped = self._group()
        return self._grouped

    def _group(self) -> dict[str, list[WatchedNode]]:
        by_name: dict[str, list[WatchedNode]] = {}
        for node in self.nodes.values():
            if node.link:
                by_name.setdefault(node.link, []).append(node)
        found: dict[str, list[WatchedNode]] = {}
        for name, nodes in by_name.items():
            roles = [node.role for node in nodes]
            if len(set(roles)) == len(roles):
                found[name] = nodes
            else:
                for node in nodes:
                    found.setdefault(f"{name}@{node.site}", []).append(node)
        return found


def live(node: WatchedNode, now_s: float) -> bool:
    """Online, with a message within the last ``STALE_S``."""
    return node.status == "online" and now_s - node.state_s <= STALE_S


def words(nodes: list[WatchedNode], now_s: float) -> tuple[str, str, float | None]:
    """(level, sentence, since when) of a link; levels: ``ok``, ``busy``, ``bad``, ``off``."""
    up = [node for node in nodes if live(node, now_s)]
    if not up:
        return "off", "offline", max((n.seen_s for n in nodes if n.seen_s), default=None)
    worst = _worst_alarm(up)
    phases = {text(node.state, "phase") for node in up}
    key_s = max((node.key_s for node in nodes if node.key_s is not None), default=None)
    making = phases & {"sifting", "distilling"}
    if making and key_s is not None and now_s - key_s < NO_KEY_AFTER_S and not _blocking(worst):
        return "ok", "making key", None
    if worst is not None:
        since = number(worst, "since_ts") or number(worst, "ts")
        return "bad", f"no key: {text(worst, 'text') or text(worst, 'code')}", since
    abort = next((text(n.state, "last_abort") for n in up if text(n.state, "last_abort")), "")
    if making:
        return ("bad", f"no key: {abort}", None) if abort and key_s is None else _SIFTING
    for phase, sentence in _PHASES.items():
        if phase in phases:
            return ("off" if phase == "closed" else "busy"), sentence, None
    return "busy", "starting", None


def noticed(node: WatchedNode, now_s: float) -> dict[str, Flat]:
    """Alarms that watch itself raises about a node, in the form that a node would publish."""
    found = {}
    if live(node, now_s) and abs(node.skew_s) > CLOCK_OFF_S:
        where = "ahead of" if node.skew_s > 0 else "behind"
        found["host_clock_off"] = f"its clock is {abs(node.skew_s):.0f} s {where} ours"
    if node.status == "online" and node.state_s and now_s - node.state_s > STALE_S:
        found["node_silent"] = f"nothing for {now_s - node.state_s:.0f} s"
    return {code: _body(code, text) for code, text in found.items()}


def _body(code: str, text: str) -> Flat:
    kind = OF_WATCHERS[code]
    return {
        "code": code, "severity": kind.severity.value, "text": text, "cause": kind.cause,
        "action": kind.action,
    }  # fmt: skip


_SIFTING = ("busy", "collecting photons for the next block", None)
_PHASES = {
    "refused": "refused by the peer",
    "connecting": "waiting for the peer",
    "handshake": "handshake with the peer",
    "acquiring": "looking for the clock",
    "closed": "stopped",
}


def _worst_alarm(nodes: list[WatchedNode]) -> Flat | None:
    alarms = [alarm for node in nodes for alarm in node.holding.values()]
    alarms.sort(key=lambda a: (text(a, "severity") != "major", number(a, "ts") or 0.0))
    return alarms[0] if alarms else None


def _blocking(alarm: Flat | None) -> bool:
    return alarm is not None and text(alarm, "severity") == "major"


def tile(key: str, nodes: list[WatchedNode], now_s: float) -> dict[str, Any]:
    """The fields of a link on the first screen."""
    level, sentence, since = words(nodes, now_s)
    alice = next((n for n in nodes if n.role == "alice"), nodes[0])
    state = alice.state
    hv, da = number(state, "qber_hv"), number(state, "qber_da")
    rates = [x for x in (hv, da) if x is not None]
    return {
        "key": key,
        "sites": sorted({n.site for n in nodes}),
        "nodes": [n.id for n in nodes],
        "level": level,
        "words": sentence,
        "since": since,
        "skr_bps": number(state, "skr_bps") if level in ("ok", "busy") else None,
        "qber": max(rates) if rates else None,
        "buffer_bits": number(state, "key_stored_bits"),
        "emulated": any(n.emulated for n in nodes),
        "alarms": sum(len(n.holding) for n in nodes),
        "seen_s": max(n.seen_s for n in nodes),
        "clock_off_s": next((n.skew_s for n in nodes if abs(n.skew_s) > CLOCK_OFF_S), None),
        "refused": sum(n.refused for n in nodes),
    }


def detail(key: str, nodes: list[WatchedNode], now_s: float) -> dict[str, Any]:
    """All present data of a link."""
    return {
        **tile(key, nodes, now_s),
        "ends": [
            {
                "id": n.id, "site": n.site, "node": n.node, "role": n.role, "status": n.status,
                "live": live(n, now_s), "state": n.state, "meta": n.meta, "skew_s": n.skew_s,
                "alarms": [{"code": c, **a} for c, a in n.holding.items()],
                "instruments": [{"name": i, **b} for i, b in n.instruments.items()],
                "readiness": n.readiness, "histogram": n.histogram,
                "blocks": list(n.blocks)[-20:], "refused": n.refused,
                "refused_why": n.refused_why,
            }
            for n in nodes
        ],
    }  # fmt: skip
