"""An intensity without clicks (row F2): legal where the bounds hold, refused if contradictory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from photonlink.pipeline.claim import blocks
from photonlink.pipeline.stages import finite_key as fk
from photonlink.pipeline.stages.finite_key import counts
from photonlink.pipeline.stages.finite_key.three_intensities import lim2014_bounds

QUIET: dict[str, Any] = {
    "mus": [0.5, 0.1, 0], "ps": [0.7, 0.2, 0.1], "n_key": [679_180, 38_908, 0],
    "n_test": [8524, 517, 0], "m_test": [83, 0, 0], "leak_ec": 67_299, "eps_sec": 1e-10,
    "eps_cor": 1e-15, "thresholds": fk.OBSERVED,
}  # fmt: skip


def test_f2_quiet_detectors_and_vacuum_make_key() -> None:
    assert fk.lim2014(**QUIET, bound="chernoff").length == 121_777
    assert fk.lim2014(**QUIET, bound="hoeffding").reason is not None  # legal, but no key


def test_f2_one_decoy_may_be_silent_too() -> None:
    r = fk.rusca2018(
        [0.5, 0.01], [0.9, 0.1], [5_000_000, 9000], [50_000, 100], [60_000, 0], [600, 0], 0,
        1e-9, 1e-15, thresholds=fk.OBSERVED,
    )  # fmt: skip
    assert 0 <= r.length <= 5_009_000


@pytest.mark.parametrize("bound", ["chernoff", "hoeffding"])
def test_f2_bounds_hold_where_the_vacuum_is_silent(bound: Any) -> None:
    """Blocks with so few dark counts that the vacuum intensity often has no click."""
    rng = np.random.default_rng(11)
    source = counts.Source.of((0.5, 0.1, 0.0), (0.7, 0.2, 0.1))
    quiet = blocks.honest(0.1, 3e-8, 0.01)
    eps, silent, violated = 1e-2, 0, np.zeros(4)
    runs = 400
    for draw in blocks.draws(quiet, source, 20_000_000, runs, rng):
        n_key, n_test, m_test = (
            [int(c) for c in part.sum(axis=1)] for part in (draw.n_key, draw.n_test, draw.m_test)
        )
        silent += n_key[2] == 0 or n_test[2] == 0
        for name, detections in (("n_key", n_key), ("n_test", n_test)):
            counts.check_silence(name, source, detections)
        b = lim2014_bounds(source, n_key, n_test, m_test, eps, bound)
        truth = (draw.n_key[:, 0], draw.n_key[:, 1], draw.n_test[:, 1], draw.m_test[:, 1])
        lower, upper = (b.s_key_0, b.s_key_1, b.s_test_1), b.v_raw
        bad = [x > t.sum() for x, t in zip(lower, truth, strict=False)] + [upper < truth[3].sum()]
        violated += np.array(bad)
    assert silent > runs / 3
    # 2, 5, 5 and 2 terms of 0.01 each
    assert np.all(violated <= runs * np.array([0.02, 0.05, 0.05, 0.02]))


def test_f2_honest_small_blocks_are_hardly_ever_called_contradictory() -> None:
    """Equal yields are the worst case: only dark counts, at every intensity."""
    rng = np.random.default_rng(5)
    source = counts.Source.of((0.5, 0.1, 0.0), (0.7, 0.2, 0.1))
    shares = np.array([1 / s for s in source.scales])
    refused = 0
    for mean in (1, 3, 10, 30):
        for _ in range(1000):
            detections = [int(x) for x in rng.poisson(mean * shares / shares.sum())]
            try:
                counts.check_silence("n", source, detections)
            except fk.ParameterError:
                refused += 1
    assert refused <= 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"n_key": [0, 38_908, 0]}, "n_key"), ({"n_test": [8524, 0, 40]}, "n_test"),
        ({"m_test": [83, 0, 1]}, "m_test"), ({"n_key": [0, 0, 12]}, "n_key"),
    ],
)  # fmt: skip
def test_f2_contradictions_remain_refused(change: dict[str, Any], named: str) -> None:
    for bound in ("chernoff", "hoeffding"):
        with pytest.raises(fk.ParameterError) as caught:
            fk.lim2014(**(QUIET | change), bound=bound)
        assert caught.value.parameter == named
