"""Decoding of time tags as a link hands them out, in pieces (256 KiB or 1 MiB), and merging."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Effort, Row, against, medians, peer
from benchmarks.streams import OTHERS, Format, Tags, channels, poissonian, ptu_file, t2_records
from photonlink.hal.decoders import NativeDecoder, decoder_for, merge
from photonlink.hal.tags import WireChunk, WireFormat

PIECE = 1 << 18  # bytes
T2_RESOLUTION_PS, T2_TIMES = 5, 8
GENERIC_T2 = 66055  # TTResultFormat_TTTRRecType


def pieces(data: bytes, record_bytes: int = 1, size: int = PIECE) -> list[bytes]:
    size = size // record_bytes * record_bytes
    return [data[at : at + size] for at in range(0, len(data), size)]


def read(decoder: NativeDecoder, chunks: list[WireChunk]) -> None:
    for chunk in chunks:
        decoder.feed(chunk)


def repeated(wire: WireFormat, chunks: list[WireChunk]) -> Callable[[], None]:
    """A fresh decoder for every run, because each run starts the stream again."""
    return lambda: read(decoder_for(wire), chunks)


def whole(wire: WireFormat, chunks: list[WireChunk]) -> Tags:
    decoder = decoder_for(wire)
    blocks = [decoder.feed(chunk) for chunk in chunks]
    blocks.append(decoder.finish())
    time_ps = np.concatenate([block.time_ps for block in blocks])
    return time_ps, np.concatenate([block.channel for block in blocks])


def require_equal(ours: Tags, theirs: Tags, what: str) -> None:
    if not (np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])):
        raise AssertionError(f"{what}: the two decoders disagree")


def t2(name: str, effort: Effort) -> Row:
    """Peer: ptufile's decode_records on all records at once, as it is meant to be used; and for
    the note its kernel alone, piece by piece into a buffer that is used again.
    """
    records = t2_records(effort.scaled(10_000_000, 10_000), T2_RESOLUTION_PS)
    wire = WireFormat("t2", {"resolution_ps": T2_RESOLUTION_PS})
    chunks = [WireChunk(piece) for piece in pieces(records.tobytes(), size=1 << 20)]
    ours, theirs, note = repeated(wire, chunks), None, "in pieces of 1 MiB"
    ptufile = peer("ptufile")
    if ptufile is not None:
        ptu = ptufile.PtuFile(ptu_file(records, GENERIC_T2, T2_RESOLUTION_PS))
        require_equal(whole(wire, chunks), from_ptufile(ptu.decode_records(records)), "T2")
        parts = [np.frombuffer(chunk.data, np.uint32) for chunk in chunks]
        out = np.zeros(max(len(part) for part in parts), ptufile.T2_RECORD_DTYPE)
        kernel = importlib.import_module("ptufile._ptufile").decode_t2_records

        def alone() -> None:
            for part in parts:
                kernel(out[: len(part)], part, GENERIC_T2)

        def theirs() -> None:
            ptu.decode_records(records)

        (spent,) = medians([alone], effort.repeats)
        note += f"; ptufile's kernel alone {len(records) / spent / 1e6:.0f} M records/s"
    row = against(
        name, "M records/s", len(records) / 1e6, ours, theirs,
        baseline="ptufile", least=10, effort=effort, times=T2_TIMES,
    )  # fmt: skip
    row.note = note + (f"; {row.note}" if row.note else "")
    return row


def from_ptufile(decoded: npt.NDArray[np.void]) -> Tags:
    """ptufile's events and markers, with photonlink's channel numbers."""
    channel, marker = decoded["channel"], decoded["marker"]
    kept = (channel >= 0) | (marker > 0)
    time_ps = decoded["time"][kept].astype(np.int64) * T2_RESOLUTION_PS
    numbers = np.where(channel >= 0, channel, 100 + marker.astype(np.int16))[kept]
    return time_ps, numbers.astype(np.uint8)


def other(name: str, effort: Effort) -> Row:
    """The figure is that of the format with the smallest ratio to its goal."""
    rates: dict[str, dict[str, float]] = {}
    for label, form in OTHERS.items():
        ours, theirs = one_format(form, effort, label)
        goal = 500 if form.record_bytes == 4 else 300
        rates[label] = {"figure": ours, "baseline_figure": theirs, "goal": goal}
    worst = min(rates, key=lambda label: rates[label]["figure"] / rates[label]["goal"])
    figure, baseline = rates[worst]["figure"], rates[worst]["baseline_figure"]
    return Row(
        name,
        figure,
        "M records/s",
        "≥ 500 M records/s of 4 bytes, ≥ 300 M/s of more",
        all(rate["figure"] >= rate["goal"] for rate in rates.values()),
        f"numpy ({worst})",
        baseline,
        figure / baseline,
        f"{worst} has the least to spare; M records/s (numpy): "
        + ", ".join(
            f"{label} {rate['figure']:.0f} ({rate['baseline_figure']:.0f})"
            for label, rate in rates.items()
        ),
        {"formats": rates},
    )


def one_format(form: Format, effort: Effort, label: str) -> tuple[float, float]:
    """Million records per second, ours and numpy's."""
    n = effort.scaled(4_000_000, 10_000)
    data = form.make(n)
    chunks = [WireChunk(piece) for piece in pieces(data, form.record_bytes)]
    require_equal(whole(form.wire, chunks), form.numpy(data), label)

    def theirs() -> None:
        for chunk in chunks:
            form.numpy(bytes(chunk.data))

    mine, numpys = medians([repeated(form.wire, chunks), theirs], effort.repeats)
    records = len(data) / form.record_bytes / 1e6
    return records / mine, records / numpys


def merging(name: str, effort: Effort) -> Row:
    """Four taggers at 25 M tags/s each, in blocks of 1 ms."""
    n, blocks = effort.scaled(25_000, 1000), 8
    streams = [poissonian(n * blocks, seed) for seed in range(20, 24)]
    numbers = channels(n * blocks, 24)
    last = min(int(stream[-1]) for stream in streams)
    edges = [last * k // blocks for k in range(1, blocks + 1)]
    cuts = [[0, *np.searchsorted(stream, edges).tolist()] for stream in streams]
    work = [
        [
            (stream[cut[k] : cut[k + 1]], numbers[cut[k] : cut[k + 1]])
            for stream, cut in zip(streams, cuts, strict=True)
        ]
        for k in range(blocks)
    ]
    room = max(sum(len(t) for t, _ in block) for block in work)
    out = np.empty(room, np.int64), np.empty(room, np.uint8)

    def ours() -> None:
        for block in work:
            merge(block, out=out)

    def theirs() -> None:
        for block in work:
            by_numpy(block)

    for block in work:
        require_equal(merge(block), by_numpy(block), "merge")
    total = sum(len(t) for block in work for t, _ in block) / 1e6
    row = against(
        name, "M tags/s", total, ours, theirs,
        baseline="numpy concatenate + stable argsort", least=5, effort=effort,
    )  # fmt: skip
    row.note = "blocks of 1 ms, in cache; our output buffer is used again"
    return row


def by_numpy(block: list[Tags]) -> Tags:
    times = np.concatenate([t for t, _ in block])
    order = np.argsort(times, kind="stable")
    return times[order], np.concatenate([c for _, c in block])[order]
