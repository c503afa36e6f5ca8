"""The registry: every driver is declared in one place, and is complete or listed as a problem."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from photonlink.hal import pages, registry
from photonlink.hal.errors import LimitError, StationError
from photonlink.hal.facets import Emits, Facet, Instrument, facets_of
from photonlink.hal.opening import open_bench
from photonlink.hal.params import UNITS, expand
from photonlink.hal.registry import Registration, check_driver, declaration, load_driver
from photonlink.hal.settings import DriverSettings
from photonlink.hal.station import BenchStation, parse_station

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = registry.registry().drivers
ALL = pytest.mark.parametrize("entry", DRIVERS.values(), ids=list(DRIVERS))
EXAMPLE = {
    "tcp": "tcp://host:1998", "serial": "serial:///dev/x", "lib": "lib:///opt/x.so",
    "visa": "visa:USB0::0x1313::0x8078::P1::INSTR", "zmq": "zmq://host:5555",
    "udp": "udp://host:10502", "http": "http://host:8050/json-rpc", "package": "package:vendor",
    "program": "program:///usr/bin/x",
}  # fmt: skip


RECORDED = {"chrony.chronyd", "linuxptp.ptp4l"}
"""What was asked of the thing itself, with a recording in its test: programs, which anybody has."""


def make(entry: Registration, **more: Any) -> Any:
    driver = load_driver(entry.id)
    settings = driver.Settings.model_validate(entry.settings)
    return driver(entry.id, EXAMPLE[entry.transports[0]], settings, **more)


def test_listing_imports_no_driver() -> None:
    code = (
        "import sys; from photonlink.hal.registry import registry; found = registry();"
        "assert found.drivers; bad = [m for m in sys.modules if m.startswith('photonlink.drivers.')"
        " or m in ('serial', 'cffi', 'pyvisa', 'zmq')]; print(bad); sys.exit(bool(bad))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _driver_modules() -> set[str]:
    """Modules below drivers/ with a class that descends from Driver, found by parsing the source.
    Names of base classes without a registration end in ``Driver``."""
    classes = [
        (path, node.name, {base.id for base in node.bases if isinstance(base, ast.Name)})
        for room in ("hal", "drivers")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    known, before = {"Driver"}, set[str]()
    while known != before:
        before = set(known)
        known |= {name for _, name, bases in classes if bases & known}
    return {
        ".".join(("photonlink", *path.relative_to(ROOT).with_suffix("").parts))
        for path, name, _ in classes
        if name in known and not name.endswith("Driver")
    }


def _emulators() -> set[str]:
    """Model names of all emulators in the emulator program."""
    from photonlink.firmware_sim.kit.registration import models

    return set(models())


def test_every_place_has_every_driver_and_nothing_else() -> None:
    """Registration, driver modules, emulators, pages, contract cases: ``==``, not ``>=``."""
    from contract_cases import CASES

    entries = DRIVERS.values()
    assert registry.registry().problems == ()
    assert {e.module for e in entries} == _driver_modules()
    assert {e.emulator for e in entries} == _emulators()
    written = {p.name for p in (ROOT / "docs" / "instruments").glob("*.md")}
    assert {e.page_name for e in entries} == written - {"README.md", "emulators.md"}
    assert {e.id for e in CASES.values()} == set(DRIVERS)
    assert len(CASES) == len(DRIVERS)


def test_a_driver_that_is_missing_somewhere_is_noticed() -> None:
    modules = _driver_modules()
    one = next(iter(DRIVERS.values()))
    assert {e.module for e in DRIVERS.values() if e is not one} != modules
    found = registry.registry(frozenset({one.emulator}))
    assert set(found.drivers) == {one.id}
    assert len(found.problems) == len(DRIVERS) - 1
    assert all("does not exist" in problem.what for problem in found.problems)


def test_what_is_written_from_the_registration_is_up_to_date() -> None:
    for path, text in pages.files(ROOT, DRIVERS):
        assert path.read_text(encoding="utf-8") == text, "run: python -m photonlink.hal.pages ."


def test_what_it_was_proved_against_is_read_from_the_tests(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text(
        '[project.optional-dependencies]\npeers = ["theirs==1.2", "loose>=1"]\n'
    )
    (tmp_path / "tests" / "test_one.py").write_text(
        '@pytest.mark.proves("acme-one", by="theirs")\n'
        '@pytest.mark.proves("acme-one", by="loose")\n'
        'def test_it(): ...\npytestmark = pytest.mark.proves("acme-two", by="a recording")\n'
    )
    found = pages.proofs(tmp_path)
    assert found == {"acme-one": ["loose", "theirs 1.2"], "acme-two": ["a recording"]}


def test_every_proof_is_of_an_emulator_by_a_package_or_a_recording() -> None:
    """At least sixteen clients of others, one for every kind of wire that a client can have."""
    found = pages.proofs(ROOT)
    by_emulator = {entry.emulator: entry for entry in DRIVERS.values()}
    assert set(found) <= set(by_emulator)
    clients = {c for said in found.values() for c in said if not c.startswith(("a ", "printed"))}
    assert len({c.partition(" ")[0] for c in clients}) >= 16, clients
    wires = {wire for model in found for wire in by_emulator[model].transports}
    assert {"tcp", "serial", "lib", "http", "package", "program", "visa"} <= wires


@ALL
def test_every_driver_is_like_the_others(entry: Registration) -> None:
    assert check_driver(entry) == []
    driver: Any = load_driver(entry.id)
    assert issubclass(driver, Instrument)
    assert issubclass(driver.Settings, DriverSettings)
    assert entry.evidence == ("transcript" if entry.id in RECORDED else "manual")
    before = make(entry)  # no I/O, no event loop
    assert before.name == entry.id
    with pytest.raises(LimitError):
        make(entry, limits={"no_such_parameter": (0, 1)})
    for member in (driver, driver.Settings, inspect.getmodule(driver)):
        assert (member.__doc__ or "").strip()
    for name, field in driver.Settings.model_fields.items():
        assert field.description or name in DriverSettings.model_fields, f"{name} has no meaning"


@ALL
def test_every_parameter_is_declared_with_unit_and_meaning(entry: Registration) -> None:
    for param in expand(getattr(load_driver(entry.id), "PARAMS", ())):
        assert param.doc
        assert param.name.endswith(UNITS.get(param.unit, ""))


@ALL
def test_every_page_says_what_it_was_proved_against(entry: Registration) -> None:
    page = ROOT / "docs" / "instruments" / entry.page_name
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert f"Evidence: `{entry.evidence}`" in text
    assert entry.id in RECORDED or "has not met hardware" in text


def test_unknown_driver_names_the_nearest() -> None:
    with pytest.raises(StationError, match=r"Did you mean 'toptica\.dlc_pro'"):
        load_driver("toptica.dlcpro")
    with pytest.raises(StationError, match="Known: "):
        load_driver("zzz")


GOOD = """
from photonlink.hal.facets import Emits, Identity, Instrument
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="acme.one", title="Acme One: laser", driver="One", facets=("Emits",),
    transports=("tcp",), evidence="manual", emulator="acme-one",
)

class One(Instrument, Emits):
    async def open(self): return Identity("acme", "one", "1")
    async def close(self): ...
    async def snapshot(self): return {}
    async def set_emission(self, on): ...
    async def emission(self): return False
    async def safe_state(self): return ()
"""


def others(monkeypatch: pytest.MonkeyPatch, folder: Path, **sources: str) -> registry.Registry:
    """The registry with third-party modules in it, each with an entry point."""
    monkeypatch.syspath_prepend(str(folder))
    points = []
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        points.append(EntryPoint(f"acme.{name}", name, registry.GROUP))
    points.append(EntryPoint("acme.gone", "no_such_module_at_all", registry.GROUP))
    group = EntryPoints(points)
    monkeypatch.setattr(registry, "entry_points", lambda group: group_of(group))

    def group_of(name: str) -> EntryPoints:
        return group.select(group=name)

    return registry.registry()


def test_third_parties_join_but_do_not_replace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    thief = GOOD.replace("acme.one", "toptica.dlc_pro")
    found = others(monkeypatch, tmp_path, good=GOOD, thief=thief)
    assert set(found.drivers) == {*DRIVERS, "acme.one"}
    assert load_driver("acme.one").__name__ == "One"
    assert load_driver("toptica.dlc_pro").__name__ == "DlcPro"
    texts = [str(problem) for problem in found.problems]
    assert any(t.startswith("thief: id 'toptica.dlc_pro' is already that of") for t in texts)
    assert any(t.startswith("no_such_module_at_all: cannot be read") for t in texts)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("import Registration", "import Registration ((", "line 3: "),
        ('id="acme.one"', 'id="Acme One"', "is not vendor.model"),
        ('"tcp",', '"tpc",', "unknown transport 'tpc'"),
        ('evidence="manual"', 'evidence="trust me"', "'trust me' is none of manual"),
        ('emulator="acme-one"', 'emulator=""', "no emulator"),
        ('facets=("Emits",)', "facets=()", "no facets"),
        ("facets=", "fascets=", "unknown key 'fascets'; did you mean 'facets'?"),
        ('title="Acme One: laser"', "title=TITLE", "title is no literal"),
        ('evidence="manual", ', "", "missing 1 required positional argument: 'evidence'"),
        ('emulator="acme-one"', 'emulator="acme-one", usb=("0403",)', "unreadable usb entry"),
    ],
)
def test_a_broken_registration_is_named_and_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert old in GOOD
    found = others(monkeypatch, tmp_path, broken=GOOD.replace(old, new, 1))
    assert set(found.drivers) == set(DRIVERS)
    told = [problem.what for problem in found.problems if problem.where == "broken"]
    assert told
    assert any(words in what for what in told), told


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('facets=("Emits",)', 'facets=("Emits", "Biased")', "declares Biased, which"),
        ("One(Instrument, Emits)", "One(Instrument)", "declares Emits, which"),
        ("async def emission(self)", "async def emision(self)", "does not implement emission"),
        ("    async def safe_state(self): return ()\n", "", "how it is switched off"),
        ("class One", "class Two", "no attribute 'One'"),
        ("class One(", "1 / 0\nclass One(", "ZeroDivisionError"),
        ("class One(Instrument, Emits):", "class One:", "is no Instrument"),
    ],
)
def test_what_only_importing_shows_is_named_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert old in GOOD
    name = f"wrong_{abs(hash(new))}"
    found = others(monkeypatch, tmp_path, **{name: GOOD.replace(old, new, 1)})
    problems = check_driver(found.drivers["acme.one"])
    assert any(words in what for what in problems), problems


def test_a_module_without_a_registration_is_no_driver() -> None:
    assert declaration("x = 1", "m") is None
    assert declaration("# INSTRUMENT", "m") is None


def test_a_facet_that_nobody_has_heard_of_is_walked_like_the_others() -> None:
    class Glows(Facet):
        safety_rank = 5

    class Lamp(Instrument, Glows, Emits): ...  # type: ignore[misc]

    assert [facet.__name__ for facet in facets_of(Lamp)] == ["Emits", "Glows"]
    assert Lamp.safety_rank == 5, "the earliest of its facets"


FACET = (
    GOOD.replace(
        "class One(Instrument, Emits):",
        """class Glows(Facet):
    safety_rank = 5
    needs_off = True

    @abc.abstractmethod
    async def glow(self): ...


class One(Instrument, Emits, Glows):
    async def glow(self): ...
    async def safe_state(self): return (SafetyStep(self.name, True, "dark"),)
    def __init__(self, name, address, settings, **more): self.name = name
    provenance = Provenance.REAL
""",
    )
    .replace("    async def safe_state(self): return ()\n", "")
    .replace('facets=("Emits",)', 'facets=("Emits", "Glows")')
    .replace("import Emits, Identity, Instrument", "import Emits, Facet, Identity, Instrument")
    .replace(
        "\nINSTRUMENT",
        """
from photonlink.hal.facets import SafetyStep
from photonlink.hal.settings import DriverSettings
from photonlink.hal.station import BenchStation, parse_station
from photonlink.hal.tags import Provenance
import abc

INSTRUMENT""",
        1,
    )
    + "\n    Settings = DriverSettings\n"
)


async def test_a_facet_of_a_drivers_own_package_costs_no_change_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is registered, checked, opened by a station, found on the bench, made safe, listed."""
    found = others(monkeypatch, tmp_path, glowing=FACET)
    entry = found.drivers["acme.one"]
    assert check_driver(entry) == []
    assert check_driver(replace(entry, facets=("Emits",))) == [
        "is Glows, which it does not declare"
    ]
    text = (
        'schema = 2\nname = "t"\n[instruments.lamp]\ndriver = "acme.one"\naddress = "tcp://h:1"\n'
    )
    bench = await open_bench(parse_station(text, BenchStation))
    try:
        glows = sys.modules["glowing"].Glows
        assert list(bench.having(glows)) == ["lamp"]
        assert bench.instruments["lamp"].safety_rank == 5
        assert [step.action for step in await bench.safe_state()] == ["lamp"]
        assert "Glows" in pages.instrument_table([entry])
    finally:
        await bench.close()
