"""A node's reports: JSON lines for programs, a live view for people, MQTT for all."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from photonlink.hal import machine
from photonlink.pipeline.status.model import (
    Alarm,
    BlockReport,
    CoincidenceHistogram,
    InstrumentState,
    LinkState,
    Readiness,
    SessionRecord,
)
from photonlink.pipeline.status.mqtt import MqttPublisher
from photonlink.pipeline.status.payload import flatten
from photonlink.pipeline.status.system_log import SystemLog

if TYPE_CHECKING:  # aiohttp takes time to import, and few nodes have a page of their own
    from photonlink.pipeline.status.web import StatusPage

_EVENT_OF = {
    LinkState: "state",
    BlockReport: "block",
    Alarm: "alarm",
    Readiness: "readiness",
    CoincidenceHistogram: "histogram",
}


class Reporter:
    """One sink for all reports of a node; it is given no secret.

    json_lines: one JSON object a line on ``out``. Otherwise ``show`` takes every event, or where
    there is none plain lines of all but states.
    """

    def __init__(
        self,
        node: str,
        *,
        json_lines: bool,
        out: TextIO | None = None,
        show: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._node = node
        self._json = json_lines
        self._out = out or sys.stdout
        self._show = show
        self.mqtt: MqttPublisher | None = None
        self.page: StatusPage | None = None
        self.system_log: SystemLog | None = None

    def record(self, record: SessionRecord | Readiness) -> None:
        """A status record of the session: to MQTT and to the terminal."""
        if self.mqtt is not None:
            self.mqtt.offer(record)
        if self.page is not None:
            self.page.offer(record)
        if self.system_log is not None and isinstance(record, Alarm):
            self.system_log.alarm(self._node, record)
        self.event(_EVENT_OF[type(record)], **flatten(record))

    def describe(self, *, emulated: bool) -> None:
        """Publish what is known once the bench is open."""
        for told in (self.mqtt, self.page):
            if told is not None:
                told.describe(emulated=emulated)

    def instrument(self, state: InstrumentState) -> None:
        """One instrument as it was last read: to MQTT and to a view; not as lines, which would be
        too many.
        """
        if self.mqtt is not None:
            self.mqtt.offer(state)
        if self.page is not None:
            self.page.offer(state)
        if self._show is not None:
            self._show({"event": "instrument", "node": self._node, **flatten(state)})

    def event(self, kind: str, **fields: Any) -> None:
        now = machine.wall_s()
        event = {"event": kind, "ts": round(now, 3), "node": self._node, **fields}
        if self._json:
            self._line(json.dumps(event, allow_nan=False))
        elif self._show is not None:
            self._show(event)
        elif kind not in ("state", "readiness", "histogram"):
            stamp = dt.datetime.fromtimestamp(now).astimezone().isoformat(timespec="milliseconds")
            self._line("\n".join(f"{stamp} {line}" for line in _plain(kind, fields)))

    def light(self, steps: Iterable[dict[str, Any]]) -> None:
        """The steps that made the bench safe, read back: ``instrument``, ``action``, ``ok``,
        ``readback``.
        """
        self.event("light", steps=list(steps))

    def _line(self, text: str) -> None:
        try:
            print(text, file=self._out, flush=True)
        except (OSError, ValueError):  # a closed pipe, a closed terminal, a full disk
            self._json = False  # the output has no reader any more; key making goes on


def _plain(kind: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """An event as one line to read; one line for each item where it is a list of items."""
    tables = {k: v for k, v in fields.items() if v and isinstance(v, list | tuple)}
    rest = {k: v for k, v in fields.items() if k not in tables}
    if rest or not tables:
        yield f"{kind}: {_pairs(rest)}".rstrip()
    for name, rows in tables.items():
        for row in rows:
            yield f"{kind} {name}: " + (_pairs(row) if isinstance(row, Mapping) else str(row))


def _pairs(fields: Mapping[str, Any]) -> str:
    shown = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in fields.items()}
    return ", ".join(f"{k}={v}" for k, v in shown.items() if v not in ("", None, []))
