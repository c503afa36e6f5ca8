"""The demo's watchdog: when the demo was killed, it ends the nodes and removes the folder with the
PSK.

Run as ``python -I -S watchdog.py FOLDER|- EMULATORS``, on the standard library alone. Standard
input tells it the nodes to end (``node 4711``); ``done`` says that the demo has cleaned up itself.
The end of the input without it means that the demo was killed. EMULATORS is the other end of the
emulators' standard input, held open here as well: they last until the nodes have read back that
their light is off, and end when this program closes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

END_S = 10.0  # for the nodes to read back that their light is off


def main() -> None:
    for name in ("SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    nodes: list[int] = []
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "done":
            return
        if word == "node":
            nodes.append(int(rest))
    end(nodes)
    if len(sys.argv) > 1 and sys.argv[1] != "-":
        shutil.rmtree(sys.argv[1], ignore_errors=True)


def end(pids: list[int]) -> None:
    """Ask the processes to end, wait, and kill those that remain."""
    for pid in pids:
        tell(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_S
    while any(runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in pids:
        if runs(pid):
            tell(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def tell(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def runs(pid: int) -> bool:
    """False when the process has ended; a zombie has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return not os.path.isdir("/proc/self")


if __name__ == "__main__":
    main()
