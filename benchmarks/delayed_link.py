"""A stream between two processes, with a delay added in user space.

Data are sent at once, preceded by the time; the receiver releases them when the delay has passed
since that time (both processes read the same monotonic clock). Buffers have a fixed size.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections import deque

BUFFER_BYTES = 1 << 23
LONGEST_WAIT_S = 20.0
_CHUNK = struct.Struct("<dI")


class LinkClosed(Exception):
    """The other end has gone."""


class DelayedLink:
    """``delay_s``: None for no delay and no times on the wire."""

    def __init__(self, connection: socket.socket, delay_s: float | None = None) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._delay_s = connection, delay_s
        self._in, self._out = (memoryview(bytearray(BUFFER_BYTES)) for _ in range(2))
        self._first, self._ready = 0, 0  # released bytes in _in
        self._begin, self._end = 0, 0
        self._late: deque[tuple[float, int]] = deque()  # due time, bytes
        self._head = 0 if delay_s is None else _CHUNK.size
        self._raw = memoryview(bytearray(BUFFER_BYTES)) if delay_s is not None else self._in
        self._raw_end = 0
        self.sent = self.received = 0

    # ---- out ----

    def room(self) -> memoryview:
        """The buffer for the bytes to send next."""
        if self._begin and self._end > BUFFER_BYTES // 2:
            left = self._end - self._begin
            self._out[:left] = self._out[self._begin : self._end]
            self._begin, self._end = 0, left
        return self._out[self._end + self._head :]

    def commit(self, n_bytes: int) -> None:
        """Send the first ``n_bytes`` of ``room()``."""
        if not n_bytes:
            return
        if self._head:
            _CHUNK.pack_into(self._out, self._end, time.monotonic(), n_bytes)
        self._end += self._head + n_bytes
        self.sent += n_bytes
        self._flush()

    @property
    def waiting_out(self) -> int:
        return self._end - self._begin

    def _flush(self) -> None:
        while self._begin < self._end:
            try:
                self._begin += self._socket.send(self._out[self._begin : self._end])
            except BlockingIOError:
                return
            except OSError as error:
                raise LinkClosed from error
        self._begin = self._end = 0

    # ---- in ----

    def data(self) -> memoryview:
        """Released bytes that are not yet used."""
        return self._in[self._first : self._ready]

    def use(self, n_bytes: int) -> None:
        self._first += n_bytes
        self.received += n_bytes
        if self._first == self._ready:
            self._first = self._ready = 0

    def pump(self, wait: bool, wake: int = -1) -> None:
        """Send and receive what is possible; ``wait`` blocks until something can be done.

        wake: an eventfd; a write to it ends the wait.
        """
        if wait:
            self._wait(wake)
        if self._begin < self._end:
            self._flush()
        self._receive()
        if self._delay_s is not None:
            self._release()

    def _wait(self, wake: int) -> None:
        timeout = LONGEST_WAIT_S
        if self._late:
            timeout = max(0.0, self._late[0][0] - time.monotonic())
        socket_fd = self._socket.fileno()
        readers = [socket_fd] if wake < 0 else [socket_fd, wake]
        writers = [socket_fd] if self._begin < self._end else []
        readable, writable, _ = select.select(readers, writers, [], timeout)
        if timeout == LONGEST_WAIT_S and not readable and not writable:
            raise LinkClosed(f"nothing for {timeout:g} s")
        if wake in readable:
            os.eventfd_read(wake)

    def _compact(self) -> None:
        left = self._ready - self._first
        self._in[:left] = self._in[self._first : self._ready]
        self._first, self._ready = 0, left

    def _receive(self) -> None:
        if self._delay_s is None:
            if self._first > BUFFER_BYTES // 2:
                self._compact()
            at = self._ready
        else:
            at = self._raw_end
        if at == BUFFER_BYTES:
            return
        try:
            n = self._socket.recv_into(self._raw[at:], min(1 << 18, BUFFER_BYTES - at))
        except BlockingIOError:
            return
        except OSError as error:
            raise LinkClosed from error
        if n == 0:
            raise LinkClosed
        if self._delay_s is None:
            self._ready = at + n
        else:
            self._raw_end = at + n

    def _release(self) -> None:
        """Release the chunks whose delay has passed."""
        at, now = 0, time.monotonic()
        self._late.clear()
        if self._first and self._ready > BUFFER_BYTES // 2:
            self._compact()
        while self._raw_end - at >= _CHUNK.size:
            sent, size = _CHUNK.unpack_from(self._raw, at)
            due = sent + (self._delay_s or 0.0)
            if due > now:
                self._late.append((due, size))
                break
            if self._raw_end - at - _CHUNK.size < size or BUFFER_BYTES - self._ready < size:
                break
            body = at + _CHUNK.size
            self._in[self._ready : self._ready + size] = self._raw[body : body + size]
            self._ready += size
            at = body + size
        if at:
            left = self._raw_end - at
            self._raw[:left] = self._raw[at : self._raw_end]
            self._raw_end = left

    def close(self) -> None:
        self._socket.close()
