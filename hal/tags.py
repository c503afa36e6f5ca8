"""TagBlock: the common form of every time tagger's events; and its parts.

A tagger hands out the bytes of its wire (:class:`WireChunk`) and the name of the decoder that reads
them (:class:`WireFormat`), kept apart so that a session can be recorded and replayed bit for bit.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from photonlink.hal.errors import TagBlockError

if TYPE_CHECKING:  # commands that read no tags start without it
    import numpy as np
    import numpy.typing as npt


class Provenance(enum.StrEnum):
    """Where light, tags or randomness came from. Data: compared in one policy, shown elsewhere."""

    REAL = "real"
    EMULATED = "emulated"
    REPLAYED = "replayed"
    SEEDED = "seeded"
    """Of a virtual run: its seed determines every random bit."""


@dataclass(frozen=True, slots=True)
class LostInterval:
    """A stretch of time in which events may be missing: ``[start_ps, end_ps)``.

    ``count`` is the number of events lost when the instrument says it, else None.
    """

    start_ps: int
    end_ps: int
    count: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TagBlock:
    """Events of one tagger over ``[start_ps, end_ps)``, in its own clock.

    time_ps: int64 (n,), picoseconds since the start of the acquisition, not decreasing.
    channel: uint8 (n,), the input each event arrived on, numbered as the instrument does.
    end_ps:  no later block holds an event earlier than this: the recorded horizon.
    lost:    intervals with missing events.

    Tags of a key-making run are raw key: they are never printed or logged (``repr`` shows
    counts only), and :meth:`wipe` overwrites them once they have been sifted.
    """

    time_ps: npt.NDArray[np.int64]
    channel: npt.NDArray[np.uint8]
    start_ps: int
    end_ps: int
    lost: tuple[LostInterval, ...] = ()
    provenance: Provenance = Provenance.REAL

    def __post_init__(self) -> None:
        time_ps, channel = self.time_ps, self.channel
        if time_ps.dtype != "int64" or channel.dtype != "uint8":
            raise TagBlockError(
                f"time_ps must be int64 and channel uint8, got {time_ps.dtype} and {channel.dtype}"
            )
        if time_ps.ndim != 1 or time_ps.shape != channel.shape:
            raise TagBlockError(
                f"time_ps and channel must be one-dimensional and of one length, got "
                f"{time_ps.shape} and {channel.shape}"
            )
        if not (time_ps.flags.c_contiguous and channel.flags.c_contiguous):
            raise TagBlockError("time_ps and channel must be contiguous")
        if self.end_ps < self.start_ps:
            raise TagBlockError(f"block ends ({self.end_ps} ps) before it starts ({self.start_ps})")

    def __len__(self) -> int:
        return len(self.time_ps)

    def __repr__(self) -> str:
        return (
            f"TagBlock({len(self)} tags, {self.start_ps}..{self.end_ps} ps, "
            f"{len(self.lost)} lost intervals, {self.provenance})"
        )

    def wipe(self) -> None:
        """Overwrite the events. The arrays must be writable and owned by this block."""
        self.time_ps.fill(0)
        self.channel.fill(0)


@dataclass(frozen=True, slots=True)
class TaggerCapabilities:
    """channels: numbers a TagBlock may carry. resolution_ps: size of one time bin."""

    channels: tuple[int, ...]
    resolution_ps: float
    max_rate_hz: float


@dataclass(frozen=True, slots=True)
class WireFormat:
    """Names a decoder of ``hal.decode`` and its parameters: enough to read the bytes again."""

    name: str
    parameters: Mapping[str, float | int | bool | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WireChunk:
    """Bytes from the tagger, with additional data of the driver.

    lost: gaps known from other sources than the records (FIFO flags, reconnects), in the tagger's
    clock;
          a gap whose end is not known yet ends at -1 and is closed by the next decoded record.
    """

    data: bytes | memoryview = field(repr=False)  # of a key-making run: raw key
    lost: tuple[LostInterval, ...] = ()


@dataclass(frozen=True, slots=True)
class AcquisitionStart:
    """host_time_s: UNIX time at which the tagger's time zero lies, with uncertainty
    ``uncertainty_s``.
    """

    host_time_s: float
    uncertainty_s: float

    @classmethod
    def between(cls, before_s: float, after_s: float, more_s: float) -> AcquisitionStart:
        """Time zero lies between two UNIX times; ``more_s``: further uncertainty of the
        instrument.
        """
        return cls((before_s + after_s) / 2, max(0.0, after_s - before_s) / 2 + more_s)


class TagDecoder(abc.ABC):
    """Wire bytes in, TagBlocks out; rollovers and loss are kept between calls."""

    @abc.abstractmethod
    def feed(self, chunk: WireChunk) -> TagBlock:
        """Decode a chunk (a record may be split over chunks). The block may be empty."""
