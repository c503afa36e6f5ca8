"""Published links: every target is met; figures that the model does not reproduce are marked."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from photonlink.pipeline.claim import published
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.planning import ma2005
from photonlink.pipeline.planning.model import load_link


@pytest.fixture(scope="module")
def rows() -> list[published.Row]:
    return published.published_links()


def test_every_target_is_met(rows: list[published.Row]) -> None:
    missed = [f"{r.name}: {r.ours:.4g} {r.unit}" for r in rows if r.required and not r.met]
    assert not missed, "\n".join(missed)


def test_the_list_is_complete(rows: list[published.Row]) -> None:
    names = " ".join(r.name for r in rows)
    for link in (
        "infinitely many decoys", "vacuum and weak", "Lim et al.", "Lucamarini et al. 2013, 35",
        "Lucamarini et al. 2013, 80", "Yuan", "Boaron et al. 2018, 252", "Boaron et al. 2018, 405",
        "Boaron et al. 2018, 421", "Micius", "Yin", "NEC", "Nice", "Neumann", "Grünenfelder", "Li ",
    ):  # fmt: skip
        assert link in names


def test_what_is_not_reproduced_says_why(rows: list[published.Row]) -> None:
    shown = {r.name: r for r in rows if not r.required and "Not reproduced" in r.note}
    assert len(shown) == 2
    for row in shown.values():
        assert not row.met
        assert row.from_memory


def test_saturation_costs_key_where_detectors_are_busy(rows: list[published.Row]) -> None:
    for who in ("Grünenfelder", "Li "):
        with_it, without = (r for r in rows if r.name.startswith(who))
        assert with_it.ours < 0.85 * without.ours


def test_distance_is_where_the_rate_changes_sign() -> None:
    setup = ma2005.Setup.of(load_link("gys2004"))
    far = ma2005.longest_km(setup)
    assert ma2005.rate_per_pulse(setup, far - 0.01) > 0 > ma2005.rate_per_pulse(setup, far + 0.01)


def test_the_command_prints_one_json_list(rows: list[published.Row]) -> None:
    result = CliRunner().invoke(app, ["keyrate", "--published", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.strip().splitlines()[-1])
    assert [t["name"] for t in told] == [r.name for r in rows]
    for t in told:
        assert {
            "published",
            "ours",
            "unit",
            "tolerance",
            "met",
            "parameters",
            "from_memory",
        } <= t.keys()
