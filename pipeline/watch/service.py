"""The running ``watch``: messages into the board and the history, changes out to viewers."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from photonlink.pipeline.status.model import Alarm, Severity
from photonlink.pipeline.status.system_log import SystemLog
from photonlink.pipeline.watch.board import Board, Change, WatchedNode, detail, live, noticed, tile
from photonlink.pipeline.watch.history import History
from photonlink.pipeline.watch.intake import Flat, Refused, number, parse, text
from photonlink.pipeline.watch.sparks import Sparks

log = logging.getLogger(__name__)

PUSH_S = 0.1
FLUSH_S = 2.0
DETAIL_S = 0.5  # between two pictures of an opened link
MAX_FLAPS, MAX_COUNTED, MAX_LOGGED = 100, 10_000, 1_000
VIEWER_QUEUE = 64
MAX_VIEWERS = 256


class Viewer:
    """One open page. A viewer that is too slow loses updates, is notified, and starts again with a
    snapshot.
    """

    def __init__(self, link: str) -> None:
        self.link = link
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(VIEWER_QUEUE)
        self.behind = False

    def offer(self, data: bytes) -> None:
        try:
            self.queue.put_nowait(data)
        except asyncio.QueueFull:
            self.behind = True


class Watch:
    """State of one watch process. ``clock`` gives UNIX seconds."""

    def __init__(self, history: History, *, clock: Callable[[], float] = time.time) -> None:
        self.board = Board()
        self.history = history
        self.viewers: set[Viewer] = set()
        self.clock = clock
        self.messages = 0
        self._sparks = Sparks(history)
        self._detail_s: dict[str, float] = {}
        self._logged: set[str] = set()
        self._levels: dict[str, tuple[str, float]] = {}
        self.trouble: Callable[[], str] = lambda: ""
        self.system_log: SystemLog | None = None
        self._noticed: dict[tuple[str, str], Flat] = {}
        self._raised: dict[tuple[str, str], deque[float]] = {}

    # ---- from the broker ----

    def feed(self, topic: str, payload: bytes) -> None:
        """One message of the broker; never raises for its content."""
        now = self.clock()
        self.messages += 1
        try:
            message = parse(topic, payload)
            changes = self.board.feed(message, now)
        except Refused as why:
            self.board.refuse(why, now)
            self._log_once(f"{why.site}/{why.node}: message refused: {why.reason}")
            return
        for change in changes:
            self._keep(change, now)

    def _log_once(self, said: str) -> None:
        """Log a text once, so that a repetitive publisher does not fill the log."""
        if said not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(said)
            log.warning("%s", said)

    def _keep(self, change: Change, now: float) -> None:
        node = change.node
        if change.kind == "state":
            self.history.state(node.site, node.node, node.link, now, change.body)
            rate = number(change.body, "skr_bps")
            if rate is not None:
                self._sparks.of(node.site, node.node, now).add(now, rate)
            return
        code = change.code
        kind = change.kind
        if kind == "alarm":
            kind = "raised" if change.raised else "cleared"
            self._count(change, now)
        self.history.event(
            node.site, node.node, now, kind, change.body,
            code=code, severity=text(change.body, "severity"),
        )  # fmt: skip

    def _count(self, change: Change, now: float) -> None:
        """Count how often an alarm is raised; write it to the system's log."""
        node, body = change.node, change.body
        if change.raised:
            if len(self._raised) > MAX_COUNTED:
                self._raised.clear()
            times = self._raised.setdefault((node.id, change.code), deque(maxlen=MAX_FLAPS))
            times.append(now)
        if self.system_log is not None:
            severity = Severity.MAJOR if text(body, "severity") == "major" else Severity.MINOR
            alarm = Alarm(change.code, severity, text(body, "text"), active=bool(change.raised))
            self.system_log.alarm(node.id, alarm)

    def flaps(self, node: str, code: str, now: float) -> int:
        """How often an alarm was raised in the last day, as far as watch has received it."""
        return sum(now - t < 86_400 for t in self._raised.get((node, code), ()))

    def look(self) -> None:
        """Alarms that no node can raise about itself: raised once, cleared once."""
        now = self.clock()
        holds = {
            (node.id, code): (node, body)
            for node in self.board.nodes.values()
            for code, body in noticed(node, now).items()
        }
        for key, (node, body) in holds.items():
            if key not in self._noticed:
                self._noticed[key] = body | {"since_ts": now, "ts": now}
                log.warning("%s: %s: %s", node.id, key[1], text(body, "text"))
                self._keep(Change(node, "alarm", body, key[1], raised=True), now)
        for key in [k for k in self._noticed if k not in holds]:
            body = self._noticed.pop(key)
            held = self.board.nodes.get(key[0])
            if held is not None:
                self._keep(Change(held, "alarm", body, key[1], raised=False), now)

    # ---- to viewers ----

    def snapshot(self) -> dict[str, Any]:
        """All data of the first screen."""
        now = self.clock()
        links = self.board.links()
        return {
            "now": now,
            "trouble": self.trouble(),
            "history": self.history.failure,
            "history_damaged": self.history.damaged,
            "refused": self.board.refused,
            "refused_elsewhere": self.board.refused_elsewhere,
            "links": [
                self._tile(key, nodes, now, whole=True) for key, nodes in sorted(links.items())
            ],
        }

    def _tile(
        self, key: str, nodes: list[WatchedNode], now: float, *, whole: bool = False
    ) -> dict[str, Any]:
        """A tile; with its spark only when that is new or with ``whole``."""
        found = tile(key, nodes, now)
        held = self._levels.get(key)
        if held is None or held[0] != found["words"]:
            held = self._levels[key] = (found["words"], now)
        found["since"] = found["since"] or held[1]
        shown = next((n for n in nodes if n.role == "alice"), nodes[0])
        spark = self._sparks.of(shown.site, shown.node, now)
        minute = int(now // 60)
        if whole or spark.sent != minute:
            found["spark"] = spark.points(now)
            spark.sent = spark.sent if whole else minute
        return found

    def detail(self, key: str) -> dict[str, Any] | None:
        nodes = self.board.links().get(key)
        return self._detail(key, nodes, self.clock()) if nodes else None

    def _detail(self, key: str, nodes: list[WatchedNode], now: float) -> dict[str, Any]:
        """With the time since when the state has held."""
        found = detail(key, nodes, now)
        held = self._levels.get(key)
        if held is not None and held[0] == found["words"]:
            found["since"] = found["since"] or held[1]
        return found

    def alarms(self) -> list[dict[str, Any]]:
        """Active alarms with the operators' notes, worst and oldest first."""
        now, notes = self.clock(), self.history.notes()
        found = []
        for key, nodes in self.board.links().items():
            for node in nodes:
                noticed = {c: b for (n, c), b in self._noticed.items() if n == node.id}
                for code, body in {**node.holding, **noticed}.items():
                    name = f"{node.id}/{code}"
                    note = notes.get(name)
                    shelved = note is not None and note["what"] == "shelve" and note["until"] > now
                    found.append(
                        {"id": name, "link": key, "node": node.id, "code": code, **body,
                         "note": note, "shelved": shelved, "live": live(node, now),
                         "raised_in_a_day": self.flaps(node.id, code, now)}
                    )  # fmt: skip
        found.sort(
            key=lambda a: (a["shelved"], text(a, "severity") != "major", number(a, "ts") or 0.0)
        )
        return found

    def graph(self) -> dict[str, Any]:
        """Sites and links between them, for the network view."""
        now = self.clock()
        sites: dict[str, dict[str, Any]] = {}
        edges = []
        for key, nodes in self.board.links().items():
            for node in nodes:
                site = sites.setdefault(node.site, {"site": node.site, "nodes": 0})
                site["nodes"] += 1
                for axis in ("latitude", "longitude"):
                    value = number(node.meta, axis)
                    if value is not None:
                        site[axis] = value
            ends = sorted({n.site for n in nodes})
            found = tile(key, nodes, now)
            edges.append(
                {"key": key, "from": ends[0], "to": ends[-1], "level": found["level"],
                 "words": found["words"]}
            )  # fmt: skip
        return {"sites": list(sites.values()), "links": edges}

    def join(self, link: str) -> Viewer | None:
        """A new viewer, or None when there are too many."""
        if len(self.viewers) >= MAX_VIEWERS:
            return None
        viewer = Viewer(link)
        viewer.offer(_event("snapshot", self.snapshot()))
        if link and (found := self.detail(link)):
            viewer.offer(_event("detail", found))
        self.viewers.add(viewer)
        return viewer

    async def push(self) -> None:
        """Send changes to viewers, at most ten times a second; encode once for all."""
        quiet = 0.0
        while True:
            await asyncio.sleep(PUSH_S)
            changed, self.board.changed = self.board.changed, set()
            quiet += PUSH_S
            if self.viewers and (changed or quiet >= 2.0):
                self._push(changed if quiet < 2.0 else set(self.board.nodes))
                quiet = 0.0 if quiet >= 2.0 else quiet

    def _push(self, changed: set[str]) -> None:
        now = self.clock()
        tiles, details = [], {}
        wanted = {
            viewer.link
            for viewer in self.viewers
            if viewer.link and now - self._detail_s.get(viewer.link, 0.0) >= DETAIL_S
        }
        for key, nodes in self.board.links().items():
            if not changed.isdisjoint(n.id for n in nodes):
                tiles.append(self._tile(key, nodes, now))
                if key in wanted:
                    self._detail_s[key] = now
                    details[key] = _event("detail", self._detail(key, nodes, now))
        head = {"now": now, "trouble": self.trouble(), "history": self.history.failure,
                "history_damaged": self.history.damaged, "refused": self.board.refused,
                "refused_elsewhere": self.board.refused_elsewhere}  # fmt: skip
        data = _event("tiles", {**head, "links": tiles})
        for viewer in self.viewers:
            if viewer.behind and viewer.queue.empty():
                viewer.behind = False
                viewer.offer(_event("snapshot", self.snapshot()))
            else:
                viewer.offer(data)
            if viewer.link in details:
                viewer.offer(details[viewer.link])

    async def keep(self) -> None:
        """Write the history every two seconds."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                self.look()
                before = self.history.failure
                self.history.flush(self.clock())
                if self.history.failure and not before:
                    log.warning("history is not written: %s", self.history.failure)
                elif before and not self.history.failure:
                    log.warning("history is written again")
        finally:
            self.history.close(self.clock())


def _event(kind: str, body: dict[str, Any]) -> bytes:
    """One server-sent event."""
    data = json.dumps(body, separators=(",", ":"), allow_nan=False, default=str)
    return f"event: {kind}\ndata: {data}\n\n".encode()
