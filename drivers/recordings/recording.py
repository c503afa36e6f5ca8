"""A recording as a time tagger: its bytes go through the same decoders as those of a live wire."""

from __future__ import annotations

import asyncio
import contextlib
import math
import stat
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from photonlink.drivers.recordings import container, detect, ptu, session
from photonlink.drivers.recordings.words import swabian_channels, text_words, with_codes
from photonlink.hal.decoders import (
    ABSOLUTE,
    DecodeError,
    DecoderInfo,
    NativeDecoder,
    decoder_for,
    record_size,
)
from photonlink.hal.errors import PhotonlinkError, RecordingError
from photonlink.hal.facets import Identity
from photonlink.hal.recordings import BLOCK_RECORDS, Recording, Summary
from photonlink.hal.tags import (
    AcquisitionStart,
    LostInterval,
    Provenance,
    TagBlock,
    TaggerCapabilities,
    WireChunk,
    WireFormat,
)

_LOST_KEPT = 10_000
_FINE_RECORDS = 512
_RESOLUTION_PS = {"tdc1": 2000.0, "a0": 3.90625, "a1": 3.90625, "a2": 3.90625, "s15_fast": 3.90625,
                  "swabian16": 1.0,
                  "nox": 3125 / 1664, "fpga_link": 1 / 3}  # fmt: skip
"""Of formats that know their own unit."""
_FORCED_START = {"qutag": detect.QUTAG_HEADER, "qutag_compressed": detect.QUTAG_HEADER}


@dataclass(slots=True)
class _Layout:
    """The place of a file's records, and the data of its header."""

    description: str
    wire_format: WireFormat
    data_start: int = 0
    data_end: int | None = None
    cut_off: RecordingError | None = None
    header: container.Header | None = None
    text: str | None = None
    session: bool = False  # the inputs of a recorded session
    codes: Mapping[int, int] = field(default_factory=dict)  # number of a channel → its code
    warnings: tuple[str, ...] = ()
    identity: Identity = field(default_factory=lambda: Identity("", "recording", ""))


class FileRecording(Recording):
    """A recording in a file of one of the known kinds; see :class:`Recording`."""

    def __init__(self, path: Path, layout: _Layout) -> None:
        self.path = path
        self.error = None
        self._layout = layout
        self.warnings = layout.warnings
        self.numbers = {code: number for number, code in layout.codes.items()}
        self._stopped = False
        self._latest = 0, b""  # byte position and whole records of the chunk just decoded

    @property
    def description(self) -> str:
        return self._layout.description

    @property
    def wire_format(self) -> WireFormat:
        return self._layout.wire_format

    def told(self, parameters: Mapping[str, float]) -> FileRecording:
        if not parameters:
            return self
        known = self.wire_format.parameters
        unknown = sorted(set(parameters) - set(known))
        if unknown or self._layout.header is not None:
            raise RecordingError(
                f"{' and '.join(unknown or parameters)} cannot be told: "
                f"{self.description} has its own", where=str(self.path),
            )  # fmt: skip
        wire_format = WireFormat(self.wire_format.name, {**known, **parameters})
        decoder_for(wire_format)
        answered = {detect.UNIT_ASSUMED} | (
            {detect.UNITS_ASSUMED} if len(parameters) > 1 else set()
        )
        kept = tuple(w for w in self.warnings if w not in answered)
        return FileRecording(
            self.path, replace(self._layout, wire_format=wire_format, warnings=kept)
        )

    @property
    def header(self) -> container.Header | None:
        """The header of one of our own recordings, else None."""
        return self._layout.header

    @property
    def provenance(self) -> Provenance:
        return Provenance.REPLAYED

    @property
    def resolution_ps(self) -> float:
        name = self.wire_format.name
        return _RESOLUTION_PS.get(name) or float(self.wire_format.parameters["resolution_ps"])

    @property
    def capabilities(self) -> TaggerCapabilities:
        header = self._layout.header
        if header is not None and header.capabilities is not None:
            return header.capabilities
        four = self.wire_format.name in ("tdc1", "a0", "a1", "a2", "s15_fast")
        return TaggerCapabilities(
            tuple(range(1, 5)) if four else tuple(range(256)), self.resolution_ps, math.inf
        )

    def _frames(self, records: int) -> Generator[tuple[int, WireChunk], None, None]:
        """(byte position, chunk); raises RecordingError where the file is damaged."""
        with self.path.open("rb") as file:
            if self._layout.session:
                yield from session.read_chunks(file, str(self.path))
            elif self._layout.header is not None:
                container.read_header(file, str(self.path))
                yield from container.read_chunks(file, str(self.path))
            elif self._layout.text is not None:
                for position, data in text_words(file, self._layout.text, records, str(self.path)):
                    yield position, WireChunk(data)
            else:
                yield from self._slices(file, records)

    def _slices(self, file: BinaryIO, records: int) -> Iterator[tuple[int, WireChunk]]:
        layout = self._layout
        size = record_size(layout.wire_format)
        position = layout.data_start
        file.seek(position)
        while True:
            want = records * size
            if layout.data_end is not None:
                want = min(want, layout.data_end - position)
            data = file.read(want)
            if not data:
                break
            yield position, WireChunk(with_codes(data, layout.codes) if layout.codes else data)
            position += len(data)
        if layout.cut_off is not None:
            raise layout.cut_off
        if (position - layout.data_start) % size:
            raise RecordingError(
                "the recording ends in the middle of a record",
                where=str(self.path),
                position=position - (position - layout.data_start) % size,
                hint="What comes before it has been read",
            )

    def blocks(
        self, max_records: int = BLOCK_RECORDS, *, max_jump_ps: int | None = None
    ) -> Iterator[TagBlock]:
        last: int | None = None
        for block, _ in self._decoded(max_records):
            if max_jump_ps is not None:
                jump = _jump(block, last, max_jump_ps)
                if jump is not None:
                    self._jumped(jump[1], max_jump_ps)
                    yield _cut(block, jump[0])
                    return
                last = int(block.time_ps[-1]) if len(block) else last
            yield block

    def _jumped(self, by_ps: int, max_jump_ps: int) -> None:
        def noticed(block: TagBlock, _: DecoderInfo) -> bool:
            return block.end_ps - block.start_ps > max_jump_ps

        position = self._first(noticed)
        if self.wire_format.name in ABSOLUTE:  # a leap is accepted at the second record
            position -= record_size(self.wire_format)
        self.error = RecordingError(
            f"time jumps ahead by {by_ps / 1e12:.0f} s",
            where=str(self.path),
            position=position,
            hint="What comes before it has been read",
        )

    def _first(self, noticed: Callable[[TagBlock, DecoderInfo], bool]) -> int:
        """Byte of the record in the latest chunk from which on a fresh decoder notices it."""
        start, data = self._latest
        size = record_size(self.wire_format)
        at = 0
        for step in (_FINE_RECORDS * size, size):
            decoder = decoder_for(self.wire_format, Provenance.REPLAYED)
            with contextlib.suppress(DecodeError):
                decoder.feed(WireChunk(data[:at]))
                while not noticed(decoder.feed(WireChunk(data[at : at + step])), decoder.info):
                    at += step
                    if at >= len(data):  # it began before this chunk
                        return start
        return start + at

    def _decoded(self, max_records: int) -> Iterator[tuple[TagBlock, NativeDecoder]]:
        decoder = decoder_for(self.wire_format, Provenance.REPLAYED)
        self.error = self.damage_at = None
        frames = self._frames(max_records)
        record = record_size(self.wire_format)
        offset = 0  # from the decoder's count of bytes to the file's
        try:
            for position, chunk in frames:
                info = decoder.info
                offset = position - info.position - info.pending_bytes
                block = decoder.feed(chunk)
                skip = -info.pending_bytes % record
                self._latest = position + skip, bytes(chunk.data[skip:])
                if self.damage_at is None and decoder.info.damaged:
                    self.damage_at = self._first(lambda _, seen: seen.damaged > 0)
                yield block, decoder
                if decoder.info.failed:  # the next feed raises the reason
                    decoder.feed(WireChunk(b""))
        except RecordingError as error:
            self.error = error
        except DecodeError as error:
            self.error = RecordingError(
                error.what,
                where=str(self.path),
                hint=error.hint,
                position=offset + error.position,
            )
        finally:
            frames.close()
        yield decoder.finish(), decoder

    def scan(self) -> Summary:
        tally = _Tally()
        info = DecoderInfo(0, 0, 0, 0, 0, 0, 0, False)
        for block, decoder in self._decoded(BLOCK_RECORDS):
            tally.add(block)
            info = decoder.info
        if self.wire_format.name in ABSOLUTE:
            tally.start = tally.first if tally.first is not None else tally.start
        return tally.summary(info, self.error)

    async def open(self) -> Identity:
        return self._layout.identity

    async def close(self) -> None:
        self._stopped = True

    async def snapshot(self) -> Mapping[str, float | int | bool | str]:
        return {
            "recording": str(self.path),
            "recording_format": self.description,
            "resolution_ps": self.resolution_ps,
        }

    async def start(self) -> AcquisitionStart:
        """The recorded stamp of our own recordings; others have none: uncertainty infinite."""
        self._stopped = False
        header = self._layout.header
        if header is not None and header.start is not None:
            return header.start
        return AcquisitionStart(0.0, math.inf)

    async def chunks(self) -> AsyncIterator[WireChunk]:
        """The recorded bytes, as fast as they are taken; ends with the recording.

        Raises RecordingError at the damaged byte, after everything before it was handed out.
        """
        frames = self._frames(BLOCK_RECORDS)
        while not self._stopped:
            item = await asyncio.to_thread(next, frames, None)
            if item is None:
                return
            yield item[1]

    async def stop(self) -> None:
        self._stopped = True


def _jump(block: TagBlock, last: int | None, longest: int) -> tuple[int, int] | None:
    """(events before it, ps) of the first time longer than ``longest`` without an event."""
    if last is None:
        if not len(block):
            return None
        last = int(block.time_ps[0])
    if block.end_ps - last <= longest:
        return None
    steps = np.diff(block.time_ps, prepend=last, append=block.end_ps)
    at = int(np.argmax(steps > longest))
    return (at, int(steps[at])) if steps[at] > longest else None


def _cut(block: TagBlock, events: int) -> TagBlock:
    """The block up to and with its first ``events`` events."""
    end = int(block.time_ps[events - 1]) + 1 if events else block.start_ps
    return TagBlock(
        block.time_ps[:events],
        block.channel[:events],
        block.start_ps,
        end,
        tuple(
            replace(gap, end_ps=min(gap.end_ps, end)) for gap in block.lost if gap.start_ps < end
        ),
        block.provenance,
    )


@dataclass(slots=True)
class _Tally:
    """Running totals over the blocks of a recording."""

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    lost: list[LostInterval] = field(default_factory=list)
    lost_intervals: int = 0
    lost_ps: int = 0
    start: int | None = None
    horizon: int = 0
    first: int | None = None
    last: int | None = None
    gap: int = 0
    gap_at: int | None = None

    def add(self, block: TagBlock) -> None:
        self.counts += np.bincount(block.channel, minlength=256)
        self.lost.extend(block.lost[: _LOST_KEPT - len(self.lost)])
        self.lost_intervals += len(block.lost)
        self.lost_ps += sum(gap.end_ps - gap.start_ps for gap in block.lost)
        self.horizon = block.end_ps
        if self.start is None and (len(block) or block.end_ps):
            self.start = block.start_ps
        if not len(block):
            return
        times = block.time_ps
        if self.last is None:
            self.first = int(times[0])
        else:
            self._gap(int(times[0]) - self.last, self.last)
        if len(times) > 1:
            steps = np.diff(times)
            at = int(np.argmax(steps))
            self._gap(int(steps[at]), int(times[at]))
        self.last = int(times[-1])

    def _gap(self, length: int, at: int) -> None:
        if length > self.gap:
            self.gap, self.gap_at = length, at

    def summary(self, info: DecoderInfo, error: RecordingError | None) -> Summary:
        return Summary(
            counts={int(c): int(self.counts[c]) for c in np.flatnonzero(self.counts)},
            start_ps=self.start if self.start is not None else self.horizon,
            horizon_ps=self.horizon,
            first_ps=self.first,
            last_ps=self.last,
            longest_gap_ps=self.gap,
            longest_gap_at_ps=self.gap_at,
            lost=tuple(self.lost),
            lost_intervals=self.lost_intervals,
            lost_ps=self.lost_ps,
            decoder=info,
            error=error,
        )


def _ptu_layout(path: Path) -> _Layout:
    with path.open("rb") as file:
        header = ptu.read_header(file, str(path))
    size = path.stat().st_size
    cut_off = None
    end = None
    if header.records is not None:
        end = header.data_start + 4 * header.records
        if size < end:
            readable = (size - header.data_start) // 4
            cut_off = RecordingError(
                f"the recording is cut off: {readable} of {header.records} records are there",
                where=str(path),
                position=header.data_start + 4 * readable,
                hint="What is there has been read",
            )
    model = header.text("HW_Type") or "unknown instrument"
    return _Layout(
        f"PTU ({model}, {header.wire_format.name})",
        header.wire_format,
        header.data_start,
        end,
        cut_off,
        warnings=ptu.contradictions(header, size),
        identity=Identity(
            "PicoQuant", model, header.text("HW_SerialNo"), header.text("HW_Version")
        ),
    )


def _own_layout(path: Path) -> _Layout:
    with path.open("rb") as file:
        return _with_header(path, container.read_header(file, str(path)))


def _with_header(path: Path, header: container.Header) -> _Layout:
    try:
        decoder_for(header.wire_format)
    except PhotonlinkError as error:
        raise RecordingError(
            f"the recording's wire format cannot be read: {error.what}",
            where=str(path),
            position=16,
        ) from error
    model = header.identity.model or "unknown tagger"
    return _Layout(
        f"photonlink ({model}, {header.wire_format.name})",
        header.wire_format,
        header=header,
        identity=header.identity,
    )


def open_recording(path: str | Path, *, wire_format: WireFormat | None = None) -> FileRecording:
    """Find out what kind of recording ``path`` is and open it.

    Known: PTU (T2 and T3 of all record types), quTAG binary, S-Fifteen a1 in both word orders,
    raw TDC1 and Swabian 16-byte dumps, cronologic packets, our own, and the folder of a recorded
    session. ``wire_format`` forces the reading of a file of bare records (for the quTAG formats:
    after their 40-byte header) when its kind cannot be told or is told wrongly. Raises
    RecordingError: kind unknown, header damaged, file not readable.
    """
    path = Path(path)
    inputs = session.inputs_of(path)
    if inputs is not None and wire_format is None:
        layout = _with_header(inputs, session.read_header(inputs))
        layout.session, layout.description = True, f"a session's {layout.wire_format.name}"
        recording = FileRecording(inputs, layout)
        recording.letters = session.read_letters(inputs)
        return recording
    head = _head(path)
    if wire_format is not None:
        return FileRecording(path, _told_layout(path, wire_format))
    kind = detect.kind_of(head)
    if kind == "ptu":
        return FileRecording(path, _ptu_layout(path))
    if kind == "photonlink":
        return FileRecording(path, _own_layout(path))
    raw = detect.detect_raw(head, str(path))
    layout = _Layout(raw.description, raw.wire_format, raw.data_start, text=raw.text)
    layout.warnings = (raw.assumed,) if raw.assumed else ()
    if raw.wire_format.name == "swabian16":
        layout.codes = swabian_channels(path)
    return FileRecording(path, layout)


def _head(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no file but a pipe or a device"
            raise RecordingError(
                f"this is {kind}", where=str(path),
                hint="A recording is read more than once: write it to a file first",
            )  # fmt: skip
        head = detect.head_of(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RecordingError(f"cannot be read: {reason}", where=str(path)) from error
    if not head:
        raise RecordingError("the file is empty", where=str(path))
    return head


def _nox_start(path: Path) -> int:
    """Where a NOX file's first configuration record lies: earlier bytes belong to an older run."""
    head = detect.head_of(path)
    return next((at for at in range(0, len(head), 8) if head[at] == detect.NOX_CONFIGURATION), 0)


def _told_layout(path: Path, wire_format: WireFormat) -> _Layout:
    """The layout that the user has given. ``a0`` and ``a2`` are a1 as text."""
    text = wire_format.name if wire_format.name in ("a0", "a2") else None
    if text is not None:
        wire_format = WireFormat("a1", {"word_order": "low_first"})
    decoder_for(wire_format)
    start = _FORCED_START.get(wire_format.name, 0)
    if wire_format.name == "nox":
        start = _nox_start(path)
    layout = _Layout(f"{text or wire_format.name} (as told)", wire_format, start, text=text)
    if wire_format.name == "swabian16":
        layout.codes = swabian_channels(path)
    return layout
