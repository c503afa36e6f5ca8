"""``docs/alarms.md``, from the catalogue: ``python -m photonlink.pipeline.status.alarm_page .``"""

from __future__ import annotations

import sys
from pathlib import Path

from photonlink.pipeline.status.alarms import CATALOGUE, OF_INSTRUMENTS, OF_WATCHERS, AlarmKind

PAGE = "docs/alarms.md"
_HEAD = """\
# Alarms

Generated from the catalogue in `pipeline/status/alarms.py`:
`python -m photonlink.pipeline.status.alarm_page .`

Each is raised once and cleared once, and ends with the node at the latest. `major` stops key,
`minor` does not. A node publishes an alarm as `alarm/{code}` with this severity, cause and action,
its own `text` with the figures of the case, and `since_ts` ([mqtt.md](mqtt.md)).
`[node] system_log = true` writes it to the journal (fields `PHOTONLINK_NODE`, `PHOTONLINK_ALARM`,
`PHOTONLINK_STATE`) or to syslog; `photonlink watch --system-log` does so for all nodes it hears.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, _table("Of a node", CATALOGUE)]
    named = {f"INSTRUMENT_{code}": kind for code, kind in OF_INSTRUMENTS.items()}
    parts.append(_table("Of an instrument, named after it", named))
    parts.append(_table("Of `photonlink watch`", OF_WATCHERS))
    return "\n".join(parts)


def _table(title: str, kinds: dict[str, AlarmKind]) -> str:
    lines = [f"## {title}", "", "| code | severity | cause | what to do | ends with |"]
    lines.append("|---|---|---|---|---|")
    for code, kind in sorted(kinds.items(), key=lambda item: (item[1].severity.value, item[0])):
        action = kind.action.replace("|", "\\|")
        lines.append(
            f"| `{code}` | {kind.severity.value} | {kind.cause} | {action} | {kind.clears.value} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    (Path(sys.argv[1]) / PAGE).write_text(page(), encoding="utf-8")
