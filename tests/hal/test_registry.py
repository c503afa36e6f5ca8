"""The registry: all drivers are uniform, listing imports none, third parties join by name."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from photonlink.hal import registry
from photonlink.hal.errors import LimitError, StationError
from photonlink.hal.instruments import Instrument
from photonlink.hal.params import Param, describe
from photonlink.hal.registry import DriverSettings, driver_targets, load_driver

ADDRESS = {
    "toptica.dlc_pro": "tcp://host:1998",
    "sfifteen.tdc1": "serial:///dev/x",
    "sfifteen.irspd1": "serial:///dev/x",
    "picoquant.multiharp150": "lib:///opt/libmh150.so",
}
SETTINGS = {"sfifteen.irspd1": {"bias_v": 60.0}}
DOCS = Path(__file__).resolve().parents[2] / "docs" / "instruments"


def test_listing_imports_no_driver() -> None:
    code = (
        "import sys; from photonlink.hal.registry import driver_targets; names = driver_targets();"
        "assert names; bad = [m for m in sys.modules if m.startswith('photonlink.drivers.')"
        " or m in ('serial', 'cffi', 'pyvisa')]; print(bad); sys.exit(bool(bad))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(ADDRESS))
def test_every_driver_is_like_the_others(name: str) -> None:
    driver = load_driver(name)
    assert issubclass(driver, Instrument)
    assert not inspect.isabstract(driver)
    assert issubclass(driver.Settings, DriverSettings)
    assert driver.evidence == "manual", "nothing here has met hardware"
    settings = driver.Settings.model_validate(SETTINGS.get(name, {}))
    before = driver(name, ADDRESS[name], settings)  # no I/O, no event loop
    assert before.name == name
    with pytest.raises(LimitError):
        driver(name, ADDRESS[name], settings, limits={"no_such_parameter": (0, 1)})
    for member in (driver, driver.open, driver.Settings):
        text = member.__doc__ or Instrument.__doc__
        assert text
        assert text.strip()


@pytest.mark.parametrize("name", sorted(ADDRESS))
def test_every_driver_has_a_page_that_says_what_it_was_proved_against(name: str) -> None:
    page = DOCS / f"{name.split('.')[1]}.md"
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert "Evidence: `manual`" in text
    assert "has not met hardware" in text
    assert name in text
    for key in load_driver(name).Settings.model_fields:
        assert f"`{key}`" in text, f"{page.name} does not mention {key}"


@pytest.mark.parametrize("name", ["toptica.dlc_pro", "sfifteen.tdc1", "sfifteen.irspd1"])
def test_the_page_s_parameters_are_those_of_the_driver(name: str) -> None:
    settings = load_driver(name).Settings.model_validate(SETTINGS.get(name, {}))
    parameters = load_driver(name)(name, ADDRESS[name], settings)._params
    page = (DOCS / f"{name.split('.')[1]}.md").read_text(encoding="utf-8")
    assert describe(list(parameters.table.values())) in page, "regenerate with params.describe()"


@pytest.mark.parametrize("name", ["toptica.dlc_pro", "sfifteen.tdc1", "sfifteen.irspd1"])
def test_every_parameter_is_declared_with_unit_and_meaning(name: str) -> None:
    settings = load_driver(name).Settings.model_validate(SETTINGS.get(name, {}))
    parameters = load_driver(name)(name, ADDRESS[name], settings)._params
    for param in parameters.table.values():
        assert isinstance(param, Param)
        assert param.doc
        suffixes = {"mA": "_ma", "V": "_v", "°C": "_c", "ms": "_ms", "s": "_s", "": ""}
        assert param.name.endswith(suffixes[param.unit])


def test_the_table_is_complete() -> None:
    assert set(driver_targets()) >= set(ADDRESS)


def test_unknown_driver_names_the_nearest() -> None:
    with pytest.raises(StationError, match=r"Did you mean 'toptica\.dlc_pro'"):
        load_driver("toptica.dlcpro")
    with pytest.raises(StationError, match="Known: "):
        load_driver("zzz")


def test_third_parties_join_but_do_not_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        [
            EntryPoint("acme.tagger", "json:JSONDecoder", registry.GROUP),
            EntryPoint("acme.gone", "no_such_module:X", registry.GROUP),
            EntryPoint("toptica.dlc_pro", "json:JSONDecoder", registry.GROUP),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    assert load_driver("acme.tagger").__name__ == "JSONDecoder"
    assert load_driver("toptica.dlc_pro").__name__ == "DlcPro"
    with pytest.raises(StationError, match="cannot be loaded"):
        load_driver("acme.gone")
