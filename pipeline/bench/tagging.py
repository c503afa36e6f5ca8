"""A time tagger without key making: live rates, live correlation, a recording.

A tagger that is making key is refused: its process holds it, and the node's store is locked.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.hal.decoders import decoder_for
from photonlink.hal.errors import AcquisitionError, LimitError, LinkBusy
from photonlink.hal.facets import Biased, Emits, StreamsTags
from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.safety import Guard, guard
from photonlink.hal.tags import AcquisitionStart, TagBlock, WireChunk
from photonlink.pipeline.bench.reading import owner_of_entry
from photonlink.pipeline.bench.target import Target
from photonlink.pipeline.keys.locking import lock_node
from photonlink.pipeline.native.correlate import StreamCorrelator
from photonlink.pipeline.node.emitting import GuardedLight, emitting
from photonlink.pipeline.node.station import NodeStation

_RECORDINGS = "photonlink.drivers.recordings"  # found by name: pipeline imports no driver
MAX_BINS = 100_000
SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class OpenTagger:
    """An opened bench with its tagger; ``state.signal`` says what ended the body early."""

    bench: Bench
    name: str
    tagger: StreamsTags
    state: Guard


@contextlib.asynccontextmanager
async def open_tagger(target: Target, *, light: str = "") -> AsyncIterator[OpenTagger]:
    """The tagger for the body; the bench is left safe.

    light: a reason; then the whole bench is opened, bias goes on and the lasers emit under a
    lease. Without one the tagger alone is opened. LinkBusy: another process has it; InUseError:
    a node makes key with it.
    """
    name, entry = target.tagger()
    owner = owner_of_entry(entry)
    if owner is not None:
        raise LinkBusy(
            f"{owner} has this time tagger open", where=name,
            hint="Its tags may become key: stop that process first",
        )  # fmt: skip
    with contextlib.ExitStack() as locks:
        if isinstance(target.station, NodeStation):
            lock_node(target.station.node.state_dir, locks)
        wanted = target.station if light else target.only()
        if not light:
            wanted = wanted.model_copy(update={"instruments": {name: entry}})
        bench = await open_bench(wanted)
        async with guard(bench) as state:
            tagger = bench.having(StreamsTags)[name]
            if light:
                async with lit(bench, light):
                    yield OpenTagger(bench, name, tagger, state)
            else:
                yield OpenTagger(bench, name, tagger, state)


@contextlib.asynccontextmanager
async def lit(
    bench: Bench, reason: str, max_s: float = float("inf")
) -> AsyncIterator[GuardedLight]:
    """Bias on, then emission under a lease with a reason, watched by the light guard."""
    async with emitting(bench, reason, max_s) as light:
        await asyncio.sleep(SETTLE_S if bench.having(Emits) or bench.having(Biased) else 0)
        yield light


async def blocks(opened: OpenTagger, seconds: float) -> AsyncGenerator[TagBlock, None]:
    """Decoded blocks until the tagger's own clock has run for ``seconds``."""
    decoder = decoder_for(opened.tagger.wire_format)
    begin: int | None = None
    async with contextlib.aclosing(chunks(opened, seconds)) as stream:
        async for _, chunk in stream:
            block = decoder.feed(chunk)
            begin = block.start_ps if begin is None else begin
            yield block
            if block.end_ps - begin >= seconds * 1e12:
                return


async def chunks(
    opened: OpenTagger, seconds: float
) -> AsyncGenerator[tuple[AcquisitionStart, WireChunk], None]:
    """The tagger's chunks, for at most ``seconds`` (and 2 s) of the host's time."""
    start = await opened.tagger.start()
    end = time.monotonic() + seconds + 2.0
    stream: Any = opened.tagger.chunks()
    try:
        async for chunk in stream:
            yield start, chunk
            if time.monotonic() >= end:
                return
    finally:
        if hasattr(stream, "aclose"):
            await stream.aclose()
        await opened.tagger.stop()


@dataclass
class Rates:
    """Events per input. window_s: of the tagger's time since the last ``take``."""

    inputs: tuple[int, ...]
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    total: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    window_ps: int = 0
    lost_ps: int = 0

    def add(self, block: TagBlock) -> None:
        """One block; lost time is taken out of the window."""
        found = np.bincount(block.channel, minlength=256)
        self.counts += found
        self.total += found
        lost = sum(gap.end_ps - gap.start_ps for gap in block.lost)
        self.lost_ps += lost
        self.window_ps += max(block.end_ps - block.start_ps - lost, 0)

    def take(self) -> dict[int, float]:
        """Rates in 1/s over the window, which then begins anew; {} when it is empty."""
        if self.window_ps <= 0:
            return {}
        seen = set(self.inputs) | {int(i) for i in np.flatnonzero(self.total)}
        rates = {i: float(self.counts[i]) / self.window_ps * 1e12 for i in sorted(seen)}
        self.counts[:] = 0
        self.window_ps = 0
        return rates


class LiveHistogram:
    """Correlation of two inputs as it grows: b - a from ``low_ps`` on, ``bins`` of ``bin_ps``."""

    def __init__(self, a: int, b: int, low_ps: int, high_ps: int, bin_ps: int) -> None:
        bins = -(-(high_ps - low_ps) // bin_ps) if bin_ps > 0 else 0
        if not 1 <= bins <= MAX_BINS or bin_ps * bins >= 1 << 32:
            raise LimitError(
                f"{bins} bins of {bin_ps} ps", hint=f"1 to {MAX_BINS} bins, 4 ms together at most"
            )
        self.a, self.b = a, b
        self.low_ps, self.bin_ps = low_ps, bin_ps
        self.counts = {a: 0, b: 0}
        self.seconds = 0.0
        self._correlator = StreamCorrelator(low_ps, bin_ps, bins)

    def add(self, block: TagBlock) -> None:
        """One block."""
        a = block.time_ps[block.channel == self.a]
        b = a if self.b == self.a else block.time_ps[block.channel == self.b]
        self.counts[self.a] += len(a)
        if self.b != self.a:
            self.counts[self.b] += len(b)
        self.seconds += (block.end_ps - block.start_ps) / 1e12
        self._correlator.feed(a, b, block.end_ps)

    @property
    def hist(self) -> npt.NDArray[np.uint64]:
        """Pairs per bin so far. An input with itself has each event with itself at 0."""
        return self._correlator.hist

    def peak(self) -> tuple[float, int, float]:
        """(delay of the highest bin in ps, its pairs, mean of all bins)."""
        at = int(np.argmax(self.hist))
        centre = self._correlator.low_ps + (at + 0.5) * self._correlator.bin_ps
        return centre, int(self.hist[at]), float(self.hist.mean())


def check_inputs(opened: OpenTagger, inputs: tuple[int, ...]) -> None:
    """LimitError when the tagger has no such input."""
    known = opened.tagger.capabilities.channels
    for each in inputs:
        if each not in known:
            text = ", ".join(str(c) for c in known)
            raise LimitError(f"there is no input {each}", where=opened.name, hint=f"It has {text}")


async def record(opened: OpenTagger, path: Path, seconds: float) -> int:
    """Write the tagger's bytes into a new file that ``analyze`` reads. Returns its bytes.

    FileExistsError when there is one. The file is whole however the recording ends.
    """
    library = importlib.import_module(_RECORDINGS)
    resolution = opened.bench.resolutions[opened.name]
    writer: Any = None
    n_bytes = 0
    try:
        async with contextlib.aclosing(chunks(opened, seconds)) as stream:
            async for start, chunk in stream:
                if writer is None:
                    writer = library.RecordingWriter(
                        path, opened.tagger.wire_format, identity=resolution.identity, start=start,
                        provenance=resolution.provenance, capabilities=opened.tagger.capabilities,
                    )  # fmt: skip
                    end = time.monotonic() + seconds
                writer.write(chunk)
                n_bytes += len(chunk.data)
                if time.monotonic() >= end:
                    break
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise AcquisitionError("the tagger gave nothing", where=opened.name)
    return n_bytes
