"""A command-line program as the cable: an executable file that a client runs.

Each run connects to the emulator, sends its arguments, and prints the replies until it gets its
exit status. SIGUSR1 and SIGUSR2 travel to the emulator; any other end of the program is the end of
the connection.

To the emulator: one line of JSON (the arguments), then ``1`` or ``2`` for each signal. From it:
frames ``u8 kind, u32 n, n bytes``: kind 1 standard output, 2 standard error, 0 the end (n is the
status, no bytes follow).
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.wires.local import LocalWire
from photonlink.firmware_sim.wires.session import Session

FRAME = struct.Struct("<BI")
END, OUT, ERR = 0, 1, 2
ARGUMENTS_BYTES = 1 << 16
_PROGRAM = """#!{python} -IS
import json, os, signal, socket, sys
os.chdir(os.path.dirname(os.path.abspath(__file__)))
line = socket.socket(socket.AF_UNIX)
try:
    line.connect({socket!r})
except OSError:
    os.write({kind}, {missing!r}.encode() + b"\\n")
    sys.exit(1)
line.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
for number, word in ((signal.SIGUSR1, b"1"), (signal.SIGUSR2, b"2")):
    signal.signal(number, lambda *_, word=word: line.send(word))
heard = line.makefile("rb", 1 << 18)
while head := heard.read(5):
    kind, n = head[0], int.from_bytes(head[1:5], "little")
    if kind == 0:
        sys.exit(n)
    data = memoryview(heard.read(n))
    while data:
        try:
            data = data[os.write(kind, data):]
        except BrokenPipeError:
            sys.exit(1)
sys.exit({missing!r})
"""


class ProgramWire(LocalWire):
    """The program.

    missing: its message without the instrument, and the output it goes to.
    """

    scheme = "program"

    def __init__(
        self, serve: Any, folder: Path, name: str, missing: str, missing_kind: int = ERR
    ) -> None:
        socket_name = f"{name}.socket"
        text = _PROGRAM.format(
            python=sys.executable, socket=socket_name, missing=missing, kind=missing_kind
        )
        super().__init__(serve, folder / name, text.encode(), socket_name, 0o755)


class Run:
    """The emulator's side of one run of the program."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._heard = b""

    async def arguments(self) -> list[str] | None:
        """Its arguments; None when it is gone or is another program."""
        while b"\n" not in self._heard:
            more = await self._session.read()
            if more is None or len(self._heard) > ARGUMENTS_BYTES:
                return None
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        try:
            found = json.loads(line)
        except ValueError:
            return None
        return [str(part) for part in found] if isinstance(found, list) else None

    async def signal(self) -> int | None:
        """1 or 2 when SIGUSR1 or SIGUSR2 came, 0 for anything else; None: it is gone."""
        if not self._heard:
            self._heard = await self._session.read() or b""
        first, self._heard = self._heard[:1], self._heard[1:]
        return None if not first else {b"1": 1, b"2": 2}.get(first, 0)

    @property
    def free(self) -> int:
        """Bytes of output that :meth:`send` would take now."""
        return self._session.free - FRAME.size

    def send(self, data: bytes) -> bool:
        """Output, whole or not at all. Never waits."""
        return self._session.send(FRAME.pack(OUT, len(data)) + data)

    async def write(self, data: bytes, kind: int = OUT) -> None:
        await self._session.write(FRAME.pack(kind, len(data)) + data)

    async def end(self, status: int) -> None:
        await self._session.write(FRAME.pack(END, status & 0xFF))
