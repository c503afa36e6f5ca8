"""A recorded session: the bytes of a node's wires and its randomness, enough to run it again.

``node --record DIR`` writes, into a folder only its owner can read:

    session.json    role, parameters, detector map, wire format, provenance: how to build it again
    initial/        the store as it was at the start, and a key made for this copy
    inputs.bin      every input of the session in order: tagger bytes, peer bytes, ticks, ends
    sent.bin        what the session sent to its peer, to compare with
    randomness.bin  every random byte it drew
    instruments.jsonl   what went over the wires of the other instruments, for people
    result.json     the summary, and a keyed check of the key blocks

All of it together is as secret as the key it made: such a key is marked and refused for delivery.

inputs.bin: records of ``u32 header length | header JSON | u32 payload length | payload | u32
CRC-32 of all before``, little-endian.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from photonlink.hal.errors import PhotonlinkError, RecordingError
from photonlink.hal.regular_file import FileError, read_bytes, require_regular
from photonlink.hal.tags import Provenance
from photonlink.pipeline.keys.node_store import NodeStore
from photonlink.pipeline.keys.psk import PreSharedKey

_LENGTH = struct.Struct("<I")
MAX_HEADER_BYTES = 1 << 16
MAX_PAYLOAD_BYTES = 1 << 26
MAX_RANDOMNESS_BYTES = 1 << 32


def recorded_as(light: Provenance) -> Provenance:
    """How the key of a recorded session is marked: its randomness lies on a disk."""
    return Provenance.REPLAYED if light is Provenance.REAL else light


@dataclass(frozen=True, slots=True)
class RecordedInput:
    """One call of the session: ``name(…, now_s)``; ``meta`` and ``payload`` are its arguments."""

    name: str
    now_s: float
    meta: dict[str, Any]
    payload: bytes

    def __repr__(self) -> str:
        return f"RecordedInput({self.name} at {self.now_s:.3f} s, {len(self.payload)} bytes)"


def pack_input(item: RecordedInput) -> bytes:
    header = json.dumps({"name": item.name, "now_s": item.now_s, "meta": item.meta}).encode()
    body = b"".join(
        (_LENGTH.pack(len(header)), header, _LENGTH.pack(len(item.payload)), item.payload)
    )
    return body + _LENGTH.pack(zlib.crc32(body))


def read_inputs(path: Path) -> Iterator[RecordedInput]:
    """Inputs in order; RecordingError with the byte position where the file is damaged."""
    try:
        require_regular(path)
    except FileError as error:
        raise RecordingError(error.what, where=error.where) from None
    with path.open("rb") as file:
        while True:
            position = file.tell()
            start = file.read(_LENGTH.size)
            if not start:
                return
            try:
                yield _read_input(file, start)
            except (ValueError, KeyError, struct.error) as error:
                raise RecordingError(
                    f"the recording is damaged at byte {position}: {error}",
                    where=str(path),
                    hint="what stands before was read",
                    position=position,
                ) from error


def _read_input(file: BinaryIO, start: bytes) -> RecordedInput:
    (n_header,) = _LENGTH.unpack(start)
    if n_header > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {n_header} bytes")
    header = file.read(n_header)
    size = file.read(_LENGTH.size)
    (n_payload,) = _LENGTH.unpack(size)
    if n_payload > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {n_payload} bytes")
    payload = file.read(n_payload)
    (crc,) = _LENGTH.unpack(file.read(_LENGTH.size))
    if zlib.crc32(b"".join((start, header, size, payload))) != crc:
        raise ValueError("the checksum does not match")
    fields = json.loads(header)
    return RecordedInput(fields["name"], float(fields["now_s"]), fields["meta"], payload)


class SessionRecorder:
    """Writes a session as it runs. Every file is created 0600 in a folder 0700."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise PhotonlinkError(
                "this folder is not empty", where=str(folder), hint="record into a new folder"
            )
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        self.folder = folder
        self._inputs = _private(folder / "inputs.bin")
        self._sent = _private(folder / "sent.bin")
        self._randomness = _private(folder / "randomness.bin")
        self._transcript = _private(folder / "instruments.jsonl")

    def initial_state(self, store: NodeStore, psk: PreSharedKey) -> None:
        """A copy of the store before the session touches it, sealed with a key made for it."""
        target = self.folder / "initial"
        target.mkdir(mode=0o700)
        store.copy_to(target, psk)

    def describe(self, session: dict[str, Any]) -> None:
        """How the session is built: written once the tagger is known."""
        self._write_json("session.json", session)

    def input(self, name: str, now_s: float, meta: dict[str, Any], payload: bytes = b"") -> None:
        self._inputs.write(pack_input(RecordedInput(name, now_s, meta, payload)))

    def sent(self, data: bytes) -> None:
        self._sent.write(data)

    def randomness(self, source: Callable[[int], bytes]) -> Callable[[int], bytes]:
        """The same source, with every byte recorded."""

        def recorded(n_bytes: int) -> bytes:
            data = source(n_bytes)
            self._randomness.write(data)
            return data

        return recorded

    def tap(self, instrument: str, direction: str, data: bytes) -> None:
        """Record an instrument's wire (not the tagger's records: those are inputs)."""
        line = {"instrument": instrument, "direction": direction, "bytes": data.decode("latin-1")}
        self._transcript.write(json.dumps(line).encode() + b"\n")

    def close(self, result: dict[str, Any] | None = None) -> None:
        if result is not None:
            self._write_json("result.json", result)
        for file in (self._inputs, self._sent, self._randomness, self._transcript):
            with contextlib.suppress(OSError):
                file.close()

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        with _private(self.folder / name) as file:
            file.write(json.dumps(content, indent=2).encode() + b"\n")


def _private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


class RecordedRandomness:
    """Returns the bytes of a recording in order; a named error when there are no more."""

    def __init__(self, path: Path) -> None:
        try:
            self._data = memoryview(read_bytes(path, at_most=MAX_RANDOMNESS_BYTES))
        except FileError as error:
            raise RecordingError(error.what, where=error.where, hint=error.hint) from error
        self._path = path
        self._position = 0

    def __call__(self, n_bytes: int) -> bytes:
        end = self._position + n_bytes
        if end > len(self._data):
            raise RecordingError(
                "the recorded randomness is used up: this is not the session it was drawn for",
                where=str(self._path),
                position=self._position,
            )
        piece = bytes(self._data[self._position : end])
        self._position = end
        return piece
