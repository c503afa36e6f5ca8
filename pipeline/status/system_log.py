"""Writes alarms to the system's log: the journal where there is one, else syslog; never waits.

Journal: its native protocol, one datagram of ``FIELD=value`` lines (systemd, "Native Journal
Protocol"). Syslog: RFC 3164 to /dev/log, facility daemon.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from photonlink.pipeline.status.model import Alarm, Severity

JOURNAL, SYSLOG = Path("/run/systemd/journal/socket"), Path("/dev/log")
DAEMON = 3
ERROR, WARNING, NOTICE = 3, 4, 5  # priorities of both


class SystemLog:
    """``alarm`` writes one line. ``where``: which log was found, "" when there is none."""

    def __init__(self, journal: Path = JOURNAL, syslog: Path = SYSLOG) -> None:
        self.where, self.lost = "", 0
        self._path = ""
        self._socket: socket.socket | None = None
        for name, path in (("journal", journal), ("syslog", syslog)):
            if self._open(path):
                self.where = name
                return

    def _open(self, path: Path) -> bool:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            found.connect(str(path))
        except OSError:
            found.close()
            return False
        self._socket, self._path = found, str(path)
        return True

    def alarm(self, node: str, alarm: Alarm) -> None:
        """Log an alarm that was raised or cleared. Entries that the log refuses are counted."""
        if self._socket is None:
            return
        major = alarm.severity is Severity.MAJOR
        priority = NOTICE if not alarm.active else ERROR if major else WARNING
        verb = "raised" if alarm.active else "cleared"
        text = " ".join(f"{node}: {verb} {alarm.code}: {alarm.text}".split())
        fields = {
            "MESSAGE": text, "PRIORITY": priority, "SYSLOG_IDENTIFIER": "photonlink",
            "PHOTONLINK_NODE": node, "PHOTONLINK_ALARM": alarm.code, "PHOTONLINK_STATE": verb,
        }  # fmt: skip
        if self.where == "journal":
            line = "".join(f"{name}={value}\n" for name, value in fields.items())
        else:
            line = f"<{8 * DAEMON + priority}>photonlink: {text}"
        try:
            self._socket.send(line.encode()[:2048])
        except OSError:  # full, or the log was restarted: the next alarm connects again
            self.lost += 1
            with contextlib.suppress(OSError):
                self._socket.connect(self._path)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
