"""The light guard's program: switches every instrument off when its node is gone or does not run.

Run as ``python -I -S light_guard_program.py``, on the standard library alone, so that it starts
within milliseconds and does not depend on the code it guards. JSON lines on standard input:

    {"lease_s": 5.0, "node": 4711, "dark": [
     {"name": "pump", "scheme": "tcp", "host": "…", "port": 1998, "data": "hex"},
     {"name": "spd", "scheme": "serial", "path": "…", "baud": 115200, "data": "hex"},
     {"name": "voa", "scheme": "program", "argv": ["python", "-m", "photonlink.hal.dark", …]}]}
    {"add": [{"name": …}]}   further instruments, or new commands for known ones
    {"beat": 1}      the node lives: at least one within every lease
    {"done": 1}      the node has made the bench safe itself: end without doing anything

The end of the input without "done" means that the node is gone. No heartbeat for ``lease_s`` means
that it is stopped or gets no CPU time. In both cases every instrument is switched off; each action
is one JSON line on standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import threading
import time
from typing import Any

TRY_S = 0.3  # for one connection, one write, one reply
RETRY_S = 0.05
GIVE_UP_S = 30.0  # an instrument that cannot be reached for this long has lost power or network
REFUSED_S = 5.0  # nothing listens at its address, no such port: it is off or unplugged
ABSENT = (ConnectionRefusedError, FileNotFoundError)
KILL_AFTER_S = 0.3  # a stopped node that still holds the port is ended after this
PROGRAM_S = 20.0  # for one attempt of an instrument's driver
FAREWELL_S = 2.0  # replies of instruments are awaited so long before the port is given back


def say(**fields: Any) -> None:
    """Write one line for the node and for people, if anybody still reads."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(fields).encode() + b"\n")


def tell(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} light guard: {text}\n".encode())


def send_tcp(target: dict[str, Any]) -> None:
    """Over a connection of its own, so that a command that the node left half-sent does no harm."""
    with socket.create_connection((target["host"], target["port"]), TRY_S) as sock:
        sock.settimeout(TRY_S)
        with contextlib.suppress(TimeoutError):
            sock.recv(4096)  # a banner, where there is one
        sock.sendall(bytes.fromhex(target["data"]))
        with contextlib.suppress(TimeoutError):
            sock.recv(4096)  # the reply: the command has been carried out


def send_serial(target: dict[str, Any]) -> None:
    flags = os.O_RDWR | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_NONBLOCK", 0)
    line = os.open(target["path"], flags)
    try:
        set_raw(line, int(target.get("baud", 115200)))
        os.write(line, bytes.fromhex(target["data"]))
        # closing at once would throw away what the port has not sent yet
        select.select([line], [], [], TRY_S)
    finally:
        os.close(line)


def set_raw(line: int, baud: int) -> None:
    """Eight bits, no echo, no translation; without termios the port keeps its settings."""
    try:
        import termios
    except ImportError:
        return
    mode = termios.tcgetattr(line)
    speed = getattr(termios, f"B{baud}", termios.B115200)
    mode[0], mode[1], mode[3] = 0, 0, 0
    mode[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    mode[4] = mode[5] = speed
    termios.tcsetattr(line, termios.TCSANOW, mode)


def send_udp(target: dict[str, Any]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes.fromhex(target["data"]), (target["host"], target["port"]))


def run_program(target: dict[str, Any]) -> None:
    """For instruments behind a vendor's library: their driver, in a process of its own."""
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - the node told it, before any light
            target["argv"], stdin=subprocess.DEVNULL, capture_output=True, timeout=PROGRAM_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise OSError(f"its driver did not end within {PROGRAM_S:g} s") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"]
        raise OSError(words[-1])


SENDERS = {"tcp": send_tcp, "serial": send_serial, "udp": send_udp, "program": run_program}


class NodeWatch:
    """Watches one node."""

    def __init__(self) -> None:
        self.targets: list[dict[str, Any]] = []
        self.lease_s = 5.0
        self.node = 0
        self.gone = False  # the node has ended: its ports are free

    def make_dark(self, reason: str) -> None:
        """Switch all instruments off concurrently; returns when each is off or given up."""
        tell(f"{reason}: switching off {', '.join(t['name'] for t in self.targets) or 'nothing'}")
        say(fired=reason)
        threads = [threading.Thread(target=self._off, args=(t,)) for t in self.targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _off(self, target: dict[str, Any]) -> None:
        begin = time.monotonic()
        error, patience_s = "", GIVE_UP_S
        while time.monotonic() - begin < patience_s:
            try:
                SENDERS[target["scheme"]](target)
            except OSError as failure:
                error = failure.strerror or str(failure)
                patience_s = REFUSED_S if isinstance(failure, ABSENT) else GIVE_UP_S
                if not self.gone and time.monotonic() - begin > KILL_AFTER_S:
                    self._end_node(target["name"], error)
                time.sleep(RETRY_S)
            else:
                ms = round((time.monotonic() - begin) * 1e3)
                say(dark=target["name"], ms=ms)
                tell(f"{target['name']}: off was sent ({ms} ms)")
                return
        say(failed=target["name"], reason=error)
        tell(f"{target['name']}: COULD NOT BE SWITCHED OFF: {error}. Use its key switch")

    def _end_node(self, name: str, error: str) -> None:
        """Kill a stopped node, since it holds the port that is needed to switch off."""
        self.gone = True
        if self.node > 0 and os.getppid() == self.node:
            tell(f"{name} cannot be reached ({error}) while the node stands still: ending the node")
            with contextlib.suppress(OSError):
                os.kill(self.node, getattr(signal, "SIGKILL", signal.SIGTERM))

    def watch(self) -> None:
        """Watch until the node is done or gone."""
        rest, due, fired = b"", time.monotonic() + self.lease_s, False
        while True:
            wait = None if fired or not self.targets else max(0.0, due - time.monotonic())
            ready, _, _ = select.select([0], [], [], wait)
            if not ready:
                fired = True
                self.make_dark(f"the node has given no sign of life for {self.lease_s:g} s")
                continue
            data = os.read(0, 65536)
            if not data:
                self.gone = True
                self.make_dark("the node is gone")
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if self.take(json.loads(line)):
                    return
            due, fired = time.monotonic() + self.lease_s, False

    def take(self, message: dict[str, Any]) -> bool:
        """One message; True when it was the node's ``done``."""
        if "dark" in message:
            self.targets = list(message["dark"])
            self.lease_s = float(message["lease_s"])
            self.node = int(message["node"])
        if "add" in message:
            names = {target["name"] for target in message["add"]}
            self.targets = [t for t in self.targets if t["name"] not in names] + message["add"]
        if "dark" in message or "add" in message:
            say(watching=[t["name"] for t in self.targets])
        return "done" in message


def main() -> None:
    # signals that end a terminal, a session or a service must not end the guard before its node
    for name in ("SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT", "SIGPIPE"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    NodeWatch().watch()


if __name__ == "__main__":
    main()
