"""The coincidence histogram that a node publishes: computed only from times and from public data
of the protocol.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from jsonschema import validate
from link import SMALL, Wire, feed, message_of, pair

from photonlink.pipeline.protocol.messages import Sift
from photonlink.pipeline.protocol.sifting.figures import alignment_histogram, disclosed_histogram
from photonlink.pipeline.status.model import CoincidenceHistogram
from photonlink.pipeline.status.payload import encode, schema
from photonlink.pipeline.status.topics import Speaker

WINDOW_PS = 2_000


def test_every_disclosed_time_is_counted_in_its_bin() -> None:
    step = 17
    steps = np.arange(-127, 128)
    found = disclosed_histogram(step * steps, step, WINDOW_PS)
    middle = len(found.counts) // 2
    assert len(found.counts) <= 64
    assert len(found.counts) * found.bin_ps > 2 * WINDOW_PS
    assert found.pairs == sum(found.counts)
    assert found.bin_ps % step == 0
    assert found.counts == found.counts[::-1]  # zero lies in the middle of the middle bin
    for at in (0, 500, -WINDOW_PS):
        one = disclosed_histogram(np.array([at]), step, WINDOW_PS)
        where = int(np.flatnonzero(one.counts)[0]) - middle
        assert abs(where * found.bin_ps - at) <= found.bin_ps / 2


def test_no_bit_and_no_basis_is_asked_for() -> None:
    """No argument contains key data."""
    for made in (disclosed_histogram, alignment_histogram):
        names = set(inspect.signature(made).parameters)
        assert all(n.endswith("_ps") for n in names), names


def test_in_alignment_the_peak_stands_on_its_background() -> None:
    generator = np.random.default_rng(4)
    alice = np.sort(generator.integers(0, 10**10, 40_000))
    bob = np.sort(np.concatenate([alice[::4] + 300, generator.integers(0, 10**10, 30_000)]))
    found = alignment_histogram(alice, bob, WINDOW_PS)
    at = (np.arange(len(found.counts)) - len(found.counts) // 2) * found.bin_ps
    peak = at[int(np.argmax(found.counts))]
    assert abs(peak - 300) <= found.bin_ps
    assert max(found.counts) >= 9_000
    outside = [n for n, x in zip(found.counts, at, strict=True) if abs(x) > WINDOW_PS]
    assert min(outside) > 0
    assert abs(at[0]) > 2.5 * WINDOW_PS


@pytest.mark.parametrize("empty", [alignment_histogram, disclosed_histogram])
def test_without_events_it_is_empty(empty: object) -> None:
    none = np.empty(0, np.int64)
    arguments = (none, none) if empty is alignment_histogram else (none, 10)
    assert empty(*arguments, WINDOW_PS).pairs == 0  # type: ignore[operator]


def _from_the_line(wire: Wire, window_ps: int) -> list[CoincidenceHistogram]:
    """The histogram that an eavesdropper can compute from the times in each Sift and the agreed
    step.
    """
    found = []
    for _, frame in wire.log:
        message = message_of(frame)
        if isinstance(message, Sift):
            mask, flags = (message.pairs + 7) // 8, (message.disclosed + 7) // 8
            steps = np.frombuffer(message.body[mask + flags :], np.int8).astype(np.int64)
            found.append(disclosed_histogram(-steps * _step(wire), _step(wire), window_ps))
    return found


def _step(wire: Wire) -> int:
    from photonlink.pipeline.protocol.sifting.pair_row import disclosure_step_ps
    from photonlink.pipeline.stages.agreed_times import agreed_times
    from photonlink.pipeline.stages.bench_constants import ideal

    return disclosure_step_ps(agreed_times(SMALL, ideal()).rule)


def test_both_ends_publish_what_an_eavesdropper_has_anyway() -> None:
    alice, bob = pair()
    wire = Wire(alice, bob)
    wire.connect()
    feed(wire)
    told = [h for h in alice.histograms if h.source == "disclosed"]
    assert told
    assert told == [h for h in bob.histograms if h.source == "disclosed"]
    public = _from_the_line(wire, told[0].window_ps)
    assert all(h in public for h in told)
    assert sum(told[0].counts) > 1_000
    aligned = [h for h in alice.histograms if h.source == "alignment"]
    assert len(aligned) == 1  # one per lock
    assert not [h for h in bob.histograms if h.source == "alignment"]
    # bounded: at most one per status message
    assert len(alice.histograms) <= len(alice.states)


def test_a_payload_is_small_and_of_its_schema() -> None:
    import json

    largest = CoincidenceHistogram("disclosed", (2**31,) * 51, 10**6, 10**6, 51 * 2**31)
    payload = encode(largest, Speaker("lab", "a", "l0", "alice"), ts=1.0, seq=1)
    assert len(payload) < 1_024
    validate(json.loads(payload), schema("histogram"))
