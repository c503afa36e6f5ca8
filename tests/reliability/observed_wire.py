"""A relay between the two nodes that passes every frame to an observer and can change it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

HEAD = 4  # one byte type, three bytes length (docs/protocol.md)


class ObservedWire:
    """``port``: for the connecting node. ``frame(kind, payload)``: called by one thread at a time.
    ``harm``: returns the bytes that replace the next frame; None breaks the line."""

    def __init__(self, frame: Callable[[int, bytes], None]) -> None:
        self._frame, self._lock = frame, threading.Lock()
        self.harm: Callable[[bytes], bytes | None] | None = None
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._target = 0
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def to(self, port: int) -> None:
        """Set the port of the listening node."""
        self._target = port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        self._thread.join(5)

    def cut(self) -> None:
        """Close all present connections; their data are lost."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            self._open |= {near, far}
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        waiting = bytearray()
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                waiting += data
                while len(waiting) >= HEAD:
                    end = HEAD + int.from_bytes(waiting[1:HEAD], "big")
                    if len(waiting) < end:
                        break
                    arriving = self._take(bytes(waiting[:end]))
                    if arriving is None:
                        raise ConnectionResetError
                    target.sendall(arriving)
                    del waiting[:end]
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()

    def _take(self, frame: bytes) -> bytes | None:
        with self._lock:
            self._frame(frame[0], frame[HEAD:])
            if self.harm is None:
                return frame
            return self.harm(frame)
