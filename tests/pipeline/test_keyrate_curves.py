"""Key rates of described links: curves, channel models, detectors, refused files."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.cli.main import app
from photonlink.pipeline.planning import channel, curve, model
from photonlink.pipeline.planning.expected import hardware_of
from photonlink.pipeline.planning.rates import Planned, key_rate

LINK = """
name = "a test link"
[source]
rate_hz = 1e8
mus = [0.5, 0.12, 0.0]
ps = [0.7, 0.2, 0.1]
key_basis = 0.8
[channel]
length_km = 40
[receiver]
misalignment = 0.01
[[receiver.detectors]]
count = 2
efficiency = 0.2
dark_per_gate = 1e-6
[protocol]
kind = "three_intensities"
[security]
block_bits = 1e7
"""


def _rate(text: str) -> float:
    return key_rate(Planned.of(model.parse_link(text, "test"))).bits_per_s


@pytest.mark.parametrize("name", model.preset_names())
def test_every_preset_is_a_link_with_a_name_and_its_doubts(name: str) -> None:
    link = model.load_link(name)
    result = key_rate(Planned.of(link))
    assert link.name
    assert math.isfinite(result.bits_per_s)
    assert result.asymptotic_bits_per_s >= result.bits_per_s
    assert 0 < result.qber < 0.1
    assert link.from_memory or name == "lim2014"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("misalignment = 0.01", "misalignment = 0.02"),
        ("dark_per_gate = 1e-6", "dark_per_gate = 1e-5"),
        ("dark_per_gate = 1e-6", "dark_per_gate = 1e-6\nafterpulse = 0.05"),
        ("dark_per_gate = 1e-6", "dark_per_gate = 1e-6\ndead_time_s = 1e-5"),
        ("length_km = 40", "length_km = 50"),
        ("length_km = 40", "length_km = 40\nconnectors_db = 1"),
        ("length_km = 40", 'length_km = 40\nband = "O"'),
        ("length_km = 40", "length_km = 40\nbackground_hz = 1e6"),
        ("length_km = 40", "length_km = 40\nraman = { co_dbm = -25 }"),
        ("length_km = 40", "length_km = 40\nraman = { counter_dbm = -25 }"),
        ("misalignment = 0.01", "misalignment = 0.01\nmax_rate_hz = 1e5"),
        ("[security]", "f = 1.3\n[security]"),
        ("[security]", 'bound = "hoeffding"\n[security]'),
        ("[security]", 'guard = "strict"\n[security]'),
        ("block_bits = 1e7", "block_bits = 1e6"),
        ("block_bits = 1e7", "block_bits = 1e7\neps_sec = 1e-15"),
    ],
)
def test_whatever_makes_a_link_worse_costs_key(wrong: str, right: str) -> None:
    assert wrong in LINK
    assert 0 < _rate(LINK.replace(wrong, right)) < _rate(LINK)


def test_a_pixel_is_dead_alone() -> None:
    dead = "dark_per_gate = 1e-6\ndead_time_s = 1e-5"
    one = _rate(LINK.replace("dark_per_gate = 1e-6", dead))
    many = _rate(LINK.replace("dark_per_gate = 1e-6", dead + "\npixels = 14"))
    assert many > 2 * one


def test_afterpulses_are_the_same_for_every_intensity() -> None:
    """Afterpulses at vacuum follow the average click rate, not that of the vacuum."""
    with_it = LINK.replace("dark_per_gate = 1e-6", "dark_per_gate = 1e-6\nafterpulse = 0.05")
    counts = Planned.of(model.parse_link(with_it, "test")).expected()
    clean = Planned.of(model.parse_link(LINK, "test")).expected()
    ps = (0.7, 0.2, 0.1)
    added = [(a - b) / p for a, b, p in zip(counts.n_key, clean.n_key, ps, strict=True)]
    assert added[0] == pytest.approx(added[2], rel=0.02)
    assert added[2] > 100 * clean.n_key[2]


def test_raman_is_that_of_the_closed_forms() -> None:
    """0 dBm, 50 km, 0.2 nm, rho 2e-9: 2.0e-12 W, 1.6e7 photons per second forward."""
    raman = channel.Raman(1e-3, 2e-9, 0.2, 1550.0)
    assert raman.power_w(50, 0.2, counter=False) == pytest.approx(2.0e-12, rel=0.02)
    assert raman.photons_per_s(50, 0.2, counter=False) == pytest.approx(1.6e7, rel=0.03)
    short = [raman.power_w(1e-3, 0.2, counter=c) for c in (False, True)]
    assert short[0] == pytest.approx(short[1], rel=1e-3)
    far = [raman.power_w(200, 0.2, counter=c) for c in (False, True)]
    assert far[1] > 100 * far[0]


def test_a_pass_from_table_and_from_geometry() -> None:
    assert channel.table_loss_db(0) == 27.0
    assert channel.table_loss_db(-60) == pytest.approx(29.6)
    assert channel.table_loss_db(1e9) == 41.0
    sky = channel.SatelliteGeometry(500e3, 10e-6, 0.5, 0.8, 1.0)
    assert sky.range_m(math.pi / 2) == pytest.approx(500e3)
    assert math.degrees(sky.elevation_rad(0)) == pytest.approx(90)
    for seconds, degrees in ((40, 58), (80, 38), (120, 26), (160, 18), (200, 12), (240, 8)):
        assert math.degrees(sky.elevation_rad(seconds)) == pytest.approx(degrees, abs=1.5)
    losses = [sky.loss_db(sky.elevation_rad(t)) for t in (0, 80, 160)]
    assert losses == sorted(losses)


def test_a_curve_falls_and_stays_below_the_asymptotic_one() -> None:
    link = model.parse_link(LINK, "test")
    blocks = [curve.BlockLength.of(bits=1e6), curve.BlockLength.of(bits=1e9)]
    points = curve.curve(link, "distance", curve.steps(0, 200, 21), blocks)
    for block in {p.block for p in points}:
        rates = [p.bits_per_s for p in points if p.block == block]
        assert rates == sorted(rates, reverse=True)
    assert all(p.bits_per_s <= p.asymptotic_bits_per_s for p in points)
    assert all((p.bits_per_s == 0) == (p.reason is not None) for p in points)
    assert points[-1].bits_per_s == 0


def test_optimising_never_costs_key() -> None:
    link = model.parse_link(LINK, "test")
    xs = curve.steps(0, 120, 7)
    given = curve.curve(link, "distance", xs)
    best = curve.curve(link, "distance", xs, optimise=True)
    assert all(b.bits_per_s >= 0.999 * g.bits_per_s for b, g in zip(best, given, strict=True))


@pytest.mark.leaks("matplotlib keeps its fonts open")
def test_the_command_writes_what_it_shows(tmp_path: Path) -> None:
    file = tmp_path / "link.toml"
    file.write_text(LINK, encoding="utf-8")
    table, picture = tmp_path / "c.csv", tmp_path / "c.png"
    arguments = ["keyrate", str(file), "boaron2018", "--against", "loss", "--points", "5", "--json"]
    arguments += ["--block-bits", "1e6", "--block-s", "3600", "--csv", str(table)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.strip().splitlines()[-1])
    with table.open(encoding="utf-8", newline="") as written:
        rows = list(csv.DictReader(written))
    assert len(told) == len(rows) == 2 * 2 * 5
    for one, other in zip(told, rows, strict=True):
        assert float(other["bits_per_s"]) == pytest.approx(one["bits_per_s"])
    pytest.importorskip("matplotlib", reason="needs the extra: plot")
    curve.write_png([curve.Point(**(t | {"mus": (), "ps": ()})) for t in told], picture)
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.row("the picture has no marker at the link's own distance")
@pytest.mark.parametrize("axis", ["distance", "loss"])
def test_the_picture_marks_where_each_link_stands(axis: curve.Axis) -> None:
    here = model.parse_link(LINK, "test")
    mark = curve.own_point(here, axis)
    assert mark is not None
    place = {"distance": 40.0, "loss": 40.0 * here.channel.attenuation}[axis]
    assert mark.x == pytest.approx(place)
    assert mark.bits_per_s == _rate(LINK)
    again = curve.curve(here, axis, [mark.x])[0]
    assert again.bits_per_s == pytest.approx(mark.bits_per_s), "the dot lies on the curve"
    assert curve.own_point(model.load_link("micius2017"), axis) is None, "a pass has no one place"


class Drawn:
    """Stands in for matplotlib's axes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any]] = []

    def plot(self, xs: Any, ys: Any, *_: Any, label: str, **__: Any) -> None:
        self.calls.append((label, xs, ys))

    def axvline(self, x: float, *, label: str, **_: Any) -> None:
        self.calls.append((label, [x], None))


def test_a_link_without_key_is_marked_by_a_line() -> None:
    axes, far = Drawn(), model.parse_link(LINK, "test").at_length(400)
    for link in (model.parse_link(LINK, "test"), far):
        mark = curve.own_point(link, "distance")
        assert mark is not None
        curve._mark(axes, mark, "C0", "it")
    assert [call[0] for call in axes.calls] == ["it", "it: no key"]


@pytest.mark.row("the picture's range comes from the first link")
def test_the_curves_of_several_links_share_a_range_that_holds_all() -> None:
    far = CliRunner().invoke(
        app,
        ["keyrate", "neumann2022", "gys2004", "--against", "distance", "--points", "3", "--json"],
    )
    told = json.loads(far.stdout.strip().splitlines()[-1])
    assert {p["x"] for p in told if p["link"].startswith("GYS")} == {
        p["x"] for p in told if p["link"].startswith("Neumann")
    }
    assert max(p["x"] for p in told) == 2 * 100, "the first link alone would end at 100 km"


@pytest.mark.row("traceback: --png x.bmpx")
@pytest.mark.leaks("matplotlib keeps its fonts open")
def test_a_picture_of_any_name_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: plot")
    picture = tmp_path / "x.bmpx"
    done = CliRunner().invoke(app, ["keyrate", "gys2004", "--points", "2", "--png", str(picture)])
    assert done.exit_code == 0, done.output
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("wrong", "right", "named"),
    [
        ("ps = [0.7, 0.2, 0.1]", "ps = [0.7, 0.2, 0.2]", "source.ps"),
        ("mus = [0.5, 0.12, 0.0]", "mus = [0.5, 0.6, 0.0]", "source.mus"),
        ("mus = [0.5, 0.12, 0.0]", "mus = [0.5, 0.12]", "source.mus"),
        ("rate_hz = 1e8", "rate_hz = nan", "source.rate_hz"),
        ("rate_hz = 1e8", "rate_hertz = 1e8", "source.rate_h"),
        ("length_km = 40", "length_km = -1", "channel.length_km"),
        ("length_km = 40", "length_km = 40\nloss_db = 3", "channel"),
        ("efficiency = 0.2", "efficiency = 1.2", "efficiency"),
        ("block_bits = 1e7", "block_bits = 1e7\nblock_s = 3", "security"),
        ('kind = "three_intensities"', 'kind = "e91"', "protocol.kind"),
        ("[channel]", "[channel", "not TOML"),
    ],
)
def test_a_link_that_cannot_be_is_refused_by_key(
    wrong: str, right: str, named: str, tmp_path: Path
) -> None:
    assert wrong in LINK
    file = tmp_path / "link.toml"
    file.write_text(LINK.replace(wrong, right), encoding="utf-8")
    with pytest.raises(model.LinkFileError) as caught:
        model.load_link(file)
    assert named in str(caught.value)
    assert "link.toml" in str(caught.value)


def test_unreadable_files_and_impossible_axes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(model.LinkFileError):
        model.load_link(tmp_path / "binary")
    with pytest.raises(model.LinkFileError, match="lucamarini2013"):
        model.load_link(tmp_path / "missing.toml")
    bad: list[dict[str, Any]] = [{"bits": 0.0}, {"bits": math.nan}, {"seconds": -1.0}]
    for each in bad:
        with pytest.raises(PhotonlinkError):
            curve.BlockLength.of(**each)
    with pytest.raises(PhotonlinkError):
        curve.steps(5, 2, 10)
    with pytest.raises(PhotonlinkError):
        curve.steps(math.nan, 2, 10)


def test_noise_of_the_fibre_stays_when_only_the_loss_is_asked_for() -> None:
    noisy = model.parse_link(
        LINK.replace("length_km = 40", "length_km = 40\nraman={co_dbm=0}"), "t"
    )
    at = noisy.at_loss(8.0)
    assert hardware_of(at).dark == pytest.approx(hardware_of(noisy).dark)
    assert hardware_of(at).etas == pytest.approx(hardware_of(noisy).etas)


def test_the_example_of_the_page_is_a_link() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "planning.md").read_text("utf-8")
    example = page.split("```toml\n")[1].split("```")[0]
    assert key_rate(Planned.of(model.parse_link(example, "docs/planning.md"))).length > 0
    for line in (part for part in example.splitlines() if part.startswith("# pass")):
        shown = example.replace("length_km = 40\n", line[2:].split("}")[0] + "}\n")
        shown = "".join(x for x in shown.splitlines(True) if not x.startswith(("raman", "band")))
        assert model.parse_link(shown, "docs/planning.md").channel.losses_db()
