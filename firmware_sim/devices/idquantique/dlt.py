"""The service "DataLinkTargetService" that ID Quantique runs on the host: text in, JSON out.

Verbs, replies and the PAIR stream as in the vendor's Python examples (``utils/common.py``,
``utils/acquisitions.py``). Unverified, chosen here: that an acquisition without a tag sends no
message (an empty one would end the stream), and the words of errors.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DATA_PORT = 5555
DEAD_PS = 40_000
WAITING = 256  # messages that a PAIR socket holds back before they are lost
Times = npt.NDArray[np.int64]


class Stream:
    """A PAIR socket: each acquisition is one message, an empty one is the end."""

    def __init__(self, port: int) -> None:
        import zmq

        self._zmq = zmq
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, WAITING)
        try:
            self._socket.bind(f"tcp://127.0.0.1:{port}")
        except zmq.ZMQError as error:
            self.close()
            raise ValueError(f"cannot bind port {port}: {error}") from None

    def put(self, data: bytes) -> bool:
        try:
            self._socket.send(data, self._zmq.NOBLOCK)
        except self._zmq.Again:
            return False
        return True

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


class File:
    """``bin``: uint64; ``ascii``: a time per line."""

    def __init__(self, path: str, form: str) -> None:
        self._ascii = form == "ascii"
        try:
            self._file = Path(path).open("wb")  # noqa: SIM115 - closed by stop
        except OSError as error:
            raise ValueError(f"cannot open {path}: {error.strerror}") from None

    def put(self, data: bytes) -> bool:
        if self._ascii:
            data = "".join(f"{t}\n" for t in np.frombuffer(data, "<u8").tolist()).encode()
        self._file.write(data)
        self._file.flush()
        return True

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class _Target:
    channel: int
    sink: Stream | File
    with_index: bool = False
    acquisitions: int = 0
    tags: int = 0
    error: str = ""

    def status(self) -> dict[str, Any]:
        return {
            "acquisitions_count": self.acquisitions,
            "inactivity": 0,
            "timestamps_count": self.tags,
            "errors": [{"description": self.error}] if self.error else [],
        }


class Service:
    """Every requested target."""

    def __init__(self) -> None:
        self.targets: dict[str, _Target] = {}

    def answer(self, message: bytes) -> bytes:
        """The reply to one request."""
        try:
            reply = self._answer(shlex.split(message.decode("utf-8", "replace")))
        except (ValueError, KeyError) as error:
            reply = {"error": {"description": str(error).strip("'\"")}}
        return json.dumps(reply).encode() if reply is not None else b""

    def _answer(self, words: list[str]) -> Any:
        verb, *rest = words or [""]
        if verb in ("activate", "disactivate"):  # the verbs of older versions
            return self._older(verb, rest)
        options = _options(rest)
        if verb == "list":
            return list(self.targets)
        if verb in ("start-save", "start-stream"):
            channel = int(options["channel"])
            if verb == "start-stream":
                sink: Stream | File = Stream(int(options["stream-port"]))
            else:
                sink = File(options["filename"], options.get("format", "bin"))
            return {"id": self._add(options["address"], channel, sink, "with-ref-index" in options)}
        if verb in ("status", "stop"):
            target = self.targets.get(options["id"])
            if target is None:
                raise ValueError(f"no acquisition {options['id']}")
            if verb == "status":
                return target.status()
            self._end(options["id"])
            return {"status": target.status()}
        raise ValueError(f"unknown command {verb!r}")

    def _older(self, verb: str, rest: list[str]) -> None:
        if verb == "activate" and len(rest) == 5:
            channel, address, _, path, form = rest
            self._add(address, int(channel), File(path, form), False)
        elif verb == "disactivate" and rest:
            for name in [n for n, t in self.targets.items() if t.channel == int(rest[0])]:
                self._end(name)
        else:
            raise ValueError(f"{verb}: wrong arguments")

    def _add(self, address: str, channel: int, sink: Stream | File, with_index: bool) -> str:
        name = f"{address}:{DATA_PORT + channel}"
        if not 1 <= channel <= 4 or name in self.targets:
            sink.close()
            raise ValueError(f"channel {channel} is {'taken' if name in self.targets else 'none'}")
        self.targets[name] = _Target(channel, sink, with_index)
        return name

    def _end(self, name: str) -> None:
        target = self.targets.pop(name)
        target.sink.put(b"")
        target.sink.close()

    def deliver(self, channel: int, times: Times) -> None:
        """One acquisition of one channel is over."""
        for target in self.targets.values():
            if target.channel != channel:
                continue
            target.acquisitions += 1
            if not len(times):
                continue
            data = times.astype("<u8")
            if target.with_index:
                data = np.stack([data, np.arange(len(data), dtype="<u8")], axis=1)
            if target.sink.put(data.tobytes()):
                target.tags += len(times)
            else:
                target.error = "the stream is not read: timestamps were lost"

    def finish(self) -> None:
        """The recording is over: an empty message ends each stream."""
        for target in self.targets.values():
            target.sink.put(b"")

    def close(self) -> None:
        """The service itself ends."""
        for name in list(self.targets):
            self.targets.pop(name).sink.close()


def _options(words: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            raise ValueError(f"unknown argument {word!r}")
        options[word[2:]] = "" if word == "--with-ref-index" else next(rest, "")
    return options


class DltRecording:
    """The acquisitions of one recording, one after the other, handed to the service."""

    MOST_AT_ONCE = 100  # shorter ones cannot keep up

    def __init__(self, service: Service) -> None:
        self.service, self.playing, self.acquisitions = service, False, 0
        self._held: list[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]] = []

    def play(self) -> None:
        self.playing, self.acquisitions, self._held = True, 0, []

    def stop(self) -> None:
        if self.playing:
            self.service.finish()
        self.playing = False

    def came(self, times_ps: npt.NDArray[np.int64], inputs: npt.NDArray[Any]) -> None:
        """Events of the table, inputs from 0, in order of time since ``play``."""
        if len(times_ps):
            self._held.append((times_ps, inputs))

    def advance(
        self,
        until_ps: int,
        width: int,
        period: int,
        most: int,
        delays: Mapping[int, int],
        unit: int,
    ) -> None:
        """Deliver the acquisitions that ended by ``until_ps``: windows of ``width`` every
        ``period``, ``most`` of them. delays: of the channels that are sent, in ps. unit: of their
        times, in ps."""
        for _ in range(self.MOST_AT_ONCE):
            start = self.acquisitions * period
            if not self.playing or until_ps < start + width:
                return
            times = np.concatenate([np.empty(0, np.int64), *(t for t, _ in self._held)])
            inputs = np.concatenate([np.empty(0, np.int64), *(c for _, c in self._held)])
            later = times >= start + period
            self._held = [(times[later], inputs[later])]
            inside = (times >= start) & (times < start + width)
            for n, delay in delays.items():
                own = times[inside & (inputs == n - 1)] - start
                self.service.deliver(n, own // unit * unit + delay)
            self.acquisitions += 1
            if self.acquisitions >= most:
                self.stop()
