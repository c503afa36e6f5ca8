"""Yield account of a run: costs that add up, at both ends, and the command that shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from link import BENCH, SMALL, Node, narrow_clock_search, run_link
from typer.testing import CliRunner

from photonlink.drivers.recordings import write_ptu
from photonlink.hal.errors import RecordingError
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.protocol.setup import Role
from photonlink.pipeline.recordings.yields import NAMES, run_yield
from photonlink.pipeline.stages import finite_key as fk
from photonlink.pipeline.stages.window_choice import best_window_ps
from photonlink.pipeline.status import model

BRIGHT = replace(BENCH, duration_s=1.6, pairs_hz=40_000, singles_a_hz=60_000, singles_b_hz=60_000)


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


def test_stages_and_status_name_the_same_costs() -> None:
    assert fk.COSTS == model.COSTS
    assert set(NAMES) == set(fk.COSTS)


@pytest.mark.parametrize("bases", ["both", "one"])
def test_costs_of_every_block_add_up_to_its_net_key_at_both_ends(bases: str) -> None:
    parameters = replace(SMALL, bases=bases, block_sifted_bits=8_000, q_tol=0.03)
    wire = run_link(BRIGHT, parameters=parameters)
    alice, bob = wire.nodes[Role.ALICE], wire.nodes[Role.BOB]
    assert alice.reports
    for node in (alice, bob):
        for r in node.reports:
            assert r.asymptotic_bits is not None
            assert r.asymptotic_bits - sum(r.costs.values()) == pytest.approx(r.net_bits, abs=1e-6)
            assert all(cost >= -1.0 for cost in r.costs.values()), r.costs
            assert (r.costs["test"] > 0) == (bases == "one")
    charged = ("threshold", "finite_size", "mismatch", "correction", "multi_clicks")
    for name in charged:
        assert alice.reports[0].costs[name] == pytest.approx(bob.reports[0].costs[name], rel=0.05)
    _alice_alone_knows_the_way(alice, bob)
    found = run_yield(alice.reports, parameters, 1.0, "alice")
    total = found.asymptotic_bits - sum(row.cost_bits for row in found.rows)
    assert total == pytest.approx(found.net_bits, abs=1e-6)
    assert 0 < found.share < 1


def _alice_alone_knows_the_way(alice: Node, bob: Node) -> None:
    way = ("window", "quiet", "accidentals")
    assert all(bob.reports[0].costs[name] == 0 for name in way)
    seen = alice.reports[0]
    assert seen.asymptotic_bits is not None
    assert 0 < seen.costs["window"] < 0.05 * seen.asymptotic_bits
    assert 0 <= seen.costs["accidentals"] < 0.05 * seen.asymptotic_bits


def test_pairs_outside_of_a_narrow_window_are_counted() -> None:
    """About half of the noised pairs lie outside a window of one scale of the noise."""
    costs = []
    for window_ps in (0.0, 1_600.0):
        parameters = replace(SMALL, block_sifted_bits=8_000, window_ps=window_ps)
        report = run_link(BRIGHT, parameters=parameters).nodes[Role.ALICE].reports[0]
        assert report.asymptotic_bits is not None
        costs.append(report.costs["window"] / report.asymptotic_bits)
    assert costs[0] < 0.03 < 0.2 < costs[1] < 0.6


def test_a_refused_block_loses_all_its_key_by_name() -> None:
    wire = run_link(BRIGHT, parameters=replace(SMALL, block_sifted_bits=8_000, q_tol=0.007))
    report = wire.nodes[Role.ALICE].reports[0]
    assert str(report.abort).startswith("qber_above_threshold")
    assert report.asymptotic_bits is not None
    assert report.costs["refused"] > 0
    found = run_yield([report], SMALL, 1.0, "alice")
    hint = next(row.hint for row in found.rows if row.name == "refused")
    assert hint == "look at qber_above_threshold"


def test_the_best_window_against_a_plain_search() -> None:
    """Time differences are drawn with numpy and the key of each window width is counted."""
    rng = np.random.default_rng(2)
    sigma, noise, density, rate = 180.0, 400.0, 3e-6, 0.02
    x = np.abs(rng.normal(0, sigma, 10**6) + rng.laplace(0, noise, 10**6)
               + rng.laplace(0, noise, 10**6))  # fmt: skip
    widths = np.arange(200, 6000, 50)

    def key(half: float) -> float:
        true, chance = float((x <= half).mean()), 2 * half * density
        e = (true * rate + chance / 2) / (true + chance)
        return (true + chance) * (1 - 2 * fk.binary_entropy(e))

    found = best_window_ps(sigma, noise, accidentals_per_ps=density, error_rate=rate)
    assert key(found) == pytest.approx(max(key(w) for w in widths), rel=1e-3)
    assert best_window_ps(sigma, accidentals_per_ps=1e-5) < best_window_ps(sigma)


def test_the_command_shows_where_the_key_of_two_files_went(tmp_path: Path) -> None:
    from clicks import generate

    made = generate(replace(BRIGHT, duration_s=3.0, offset_s=0.0, frequency_ppm=0.0))
    files = []
    for name, block in (("a.ptu", made.alice), ("b.ptu", made.bob)):
        path = tmp_path / name
        files.append(path)
        wraps, words = block.time_ps >> 25, block.time_ps & ((1 << 25) - 1)
        words = words | block.channel.astype(np.int64) << 25
        steps = np.diff(wraps, prepend=0)
        at = np.flatnonzero(steps)
        records = np.insert(words, at, (1 << 31 | 63 << 25) + steps[at]).astype("<u4")
        write_ptu(path, records, resolution_ps=1.0)
    asked = ["yield", "--alice", str(files[0]), "--bob", str(files[1]), "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    left = found["asymptotic_bits"] - sum(row["cost_bits"] for row in found["rows"])
    assert left == pytest.approx(found["net_bits"], abs=1e-6)
    shown = CliRunner().invoke(app, asked[:-1])
    assert "coincidence window" in shown.stdout
    assert "next best setting" in shown.stdout


def test_a_session_of_another_wire_version_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text(json.dumps({"wire": 2, "role": "alice"}))
    for command in ("replay", "yield"):
        result = CliRunner().invoke(app, [command, str(tmp_path)])
        assert isinstance(result.exception, RecordingError)
        assert "wire version 2" in str(result.exception)
