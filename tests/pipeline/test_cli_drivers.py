"""``photonlink drivers`` lists all registered drivers and marks broken ones."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from typer.testing import CliRunner

from photonlink.hal import registry
from photonlink.pipeline.cli.main import app

RUN = CliRunner()


def test_the_list_is_the_registry_s() -> None:
    listed = json.loads(RUN.invoke(app, ["drivers", "--json"]).stdout)
    assert {row["id"] for row in listed["drivers"]} == set(registry.registry().drivers)
    assert listed["problems"] == []
    text = RUN.invoke(app, ["drivers"]).stdout
    assert "toptica.dlc_pro" in text
    assert "emulator toptica-dlc-pro" in text


def test_one_driver_with_its_settings() -> None:
    text = RUN.invoke(app, ["drivers", "sfifteen.irspd1"]).stdout
    assert "| `bias_v` | required |" in text
    assert "0…300" in text


def test_a_broken_one_is_named_and_the_others_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("acme.gone", "no_such_module_at_all", registry.GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    result = RUN.invoke(app, ["drivers"])
    assert result.exit_code == 0
    assert "toptica.dlc_pro" in result.stdout
    assert "not usable: no_such_module_at_all" in result.stderr
    assert RUN.invoke(app, ["drivers", "--check"]).exit_code == 1
