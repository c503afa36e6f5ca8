"""CPU time of ``photonlink histogram`` per second of a tagger's stream, without a terminal.

``python benchmarks/bench_live_histogram.py [tags per second]``: TDC1 records of two inputs in
chunks of 50 ms, decoded and correlated as the command does. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from photonlink.hal.decoders import decoder_for
from photonlink.hal.tags import WireChunk, WireFormat
from photonlink.pipeline.bench.tagging import LiveHistogram

RATE_HZ = float(sys.argv[1]) if len(sys.argv) > 1 else 2e6
SECONDS, CHUNK_S = 5.0, 0.05


def chunks() -> list[bytes]:
    """TDC1 words: 2 ns units, 27 bits, one pattern bit; two inputs at random."""
    rng = np.random.default_rng(1)
    n = int(RATE_HZ * SECONDS)
    ticks = np.sort(rng.integers(0, int(SECONDS / 2e-9), n)).astype(np.uint64)
    word = (ticks & ((1 << 27) - 1)) << np.uint64(5)
    word |= (1 << rng.integers(0, 2, n)).astype(np.uint64)
    edges = np.searchsorted(ticks, np.arange(0, SECONDS, CHUNK_S) / 2e-9)
    return [part.astype("<u4").tobytes() for part in np.split(word, edges[1:])]


def main() -> None:
    """Decode and correlate all of it; CPU seconds per second of stream."""
    data = chunks()
    decoder, found = decoder_for(WireFormat("tdc1")), LiveHistogram(1, 2, -20_000, 20_000, 500)
    begin = time.process_time()
    for chunk in data:
        found.add(decoder.feed(WireChunk(chunk)))
        found.peak()
    used = time.process_time() - begin
    print(json.dumps({
        "tags_per_s": RATE_HZ, "cpu_share": round(used / SECONDS, 4),
        "tags": sum(found.counts.values()), "pairs": int(found.hist.sum()),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
