"""The interface of recorded runs, and how the pipeline opens one without importing a driver."""

from __future__ import annotations

import abc
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

from photonlink.hal.decoders import DecoderInfo
from photonlink.hal.errors import RecordingError
from photonlink.hal.facets import Instrument, StreamsTags
from photonlink.hal.tags import LostInterval, TagBlock, WireFormat

BLOCK_RECORDS = 1 << 17
_READERS = "photonlink.drivers.recordings"  # found by name: hal imports no driver


@dataclass(frozen=True, slots=True)
class Summary:
    """What one pass over a recording finds. Times are of the recording's own clock."""

    counts: Mapping[int, int]  # events per channel
    start_ps: int
    horizon_ps: int
    first_ps: int | None
    last_ps: int | None
    longest_gap_ps: int  # between two successive events on any channel
    longest_gap_at_ps: int | None  # where it starts
    lost: tuple[LostInterval, ...]
    lost_intervals: int  # how many there were: ``lost`` is bounded
    lost_ps: int  # their total length
    decoder: DecoderInfo
    error: RecordingError | None

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(sorted(self.counts))

    @property
    def events(self) -> int:
        return sum(self.counts.values())

    @property
    def duration_s(self) -> float:
        """Recorded time, from the start of the clock (or the first record) to the last record."""
        return (self.horizon_ps - self.start_ps) / 1e12

    @property
    def span_s(self) -> float:
        """From the first to the last event."""
        if self.first_ps is None or self.last_ps is None:
            return 0.0
        return (self.last_ps - self.first_ps) / 1e12


class Recording(Instrument, StreamsTags):
    """A recorded run. ``blocks`` reads it plainly; as a StreamsTags it can sit in a station.

    In a damaged file the readable part is returned first, then ``error`` names the fault and its
    byte (``chunks`` raises it at that point).
    """

    path: Path
    error: RecordingError | None = None
    warnings: tuple[str, ...] = ()
    """What was assumed, and where the header contradicts itself."""
    numbers: Mapping[int, int] = MappingProxyType({})
    """Channel of the blocks → its number in the recording, where the two differ."""
    letters: Mapping[str, int] = MappingProxyType({})
    """Channel per detector letter, where the recording says so; else empty."""
    damage_at: int | None = None
    """Byte of the first damaged record, once reading has come there."""

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """Format in words, such as ``PTU (HydraHarp 400, t2)``."""

    @property
    @abc.abstractmethod
    def resolution_ps(self) -> float:
        """Size of one time bin, ps."""

    @abc.abstractmethod
    def told(self, parameters: Mapping[str, float]) -> Recording:
        """The same recording with parameters of its wire format that the file does not contain.

        RecordingError for one that the format does not have.
        """

    def channel(self, number: int) -> int:
        """The blocks' channel of a number as the recording has it."""
        return next((c for c, n in self.numbers.items() if n == number), number)

    @abc.abstractmethod
    def blocks(
        self, max_records: int = BLOCK_RECORDS, *, max_jump_ps: int | None = None
    ) -> Iterator[TagBlock]:
        """The events from the beginning, from at most ``max_records`` records of the wire each.

        Provenance is REPLAYED and the clock is the recording's own: nothing is moved to zero.
        When the file is damaged, iteration ends after what was readable and ``error`` is set.
        ``max_jump_ps``: a longer time without any event, after the first one, is damage too.
        """

    @abc.abstractmethod
    def scan(self) -> Summary:
        """Decode everything once."""


def open_recording(path: str | Path, *, wire_format: WireFormat | None = None) -> Recording:
    """Open a recording of any known kind; ``wire_format`` forces how bare records are read.

    Raises RecordingError (kind unknown, header damaged, file missing).
    """
    readers = importlib.import_module(_READERS)
    return cast(Recording, readers.open_recording(path, wire_format=wire_format))
