"""Faulty files of every kind give one sentence: what is wrong, where, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from photonlink.hal.errors import PhotonlinkError, StationError
from photonlink.hal.regular_file import FileError
from photonlink.hal.station import BenchStation, load_station
from photonlink.hal.toml_file import MAX_BYTES, parse_toml
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.node.station import load_node_station
from photonlink.pipeline.planning.model import LinkFileError, load_link, preset_names
from photonlink.pipeline.status.password import read_password

CASES = Path(__file__).parents[1] / "cases"
Load = Callable[[Path], object]


@pytest.fixture(params=["link", "station"])
def load(request: pytest.FixtureRequest) -> Load:
    return load_link if request.param == "link" else load_node_station


@pytest.fixture
def station(tmp_path: Path) -> Path:
    return write_demo_files(tmp_path, 1883, 7101, seed=None, block_bits=None).stations["alice"]


def _refused(load: Load, path: Path) -> str:
    with pytest.raises((LinkFileError, StationError)) as caught:
        load(path)
    text = str(caught.value)
    assert "pydantic" not in text
    assert "Errno" not in text
    return text


@pytest.mark.row("TOML with a byte order mark")
def test_a_byte_order_mark_is_read_over(station: Path) -> None:
    assert load_link(CASES / "link_with_bom.toml")
    station.write_bytes(b"\xef\xbb\xbf" + station.read_bytes())
    assert load_node_station(station).name == "alice"


def test_lines_of_a_windows_editor_are_read(station: Path) -> None:
    station.write_bytes(station.read_bytes().replace(b"\n", b"\r\n"))
    assert load_node_station(station).name == "alice"


@pytest.mark.row('a directory or a symlink loop is "no such station file"')
def test_what_is_no_file_is_named_as_what_it_is(tmp_path: Path, load: Load) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "circle.toml").symlink_to(tmp_path / "circle.toml")
    (tmp_path / "folder.toml").mkdir()
    for name, word in (
        ("pipe.toml", "a pipe, not a file"),
        ("circle.toml", "symbolic links go in a circle"),
        ("folder.toml", "a folder, not a file"),
        ("missing.toml", "no such file"),
    ):
        text = _refused(load, tmp_path / name)
        assert word in text
        assert name in text


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path, load: Load) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes("# a\n# caf\xe9\n".encode("latin-1"))
    text = _refused(load, path)
    assert "latin.toml:2" in text
    assert "UTF-8" in text
    path.write_bytes("schema = 1\n".encode("utf-16"))
    assert "UTF-16" in _refused(load, path)


@pytest.mark.row("5,000 nested brackets, 30 million comment lines")
def test_a_huge_file_is_refused_unread(tmp_path: Path, load: Load) -> None:
    path = tmp_path / "huge.toml"
    path.write_bytes(b"# a comment\n" * (MAX_BYTES // 12 + 10))
    assert "bytes" in _refused(load, path)
    path.write_bytes(b"# a comment\n" * (MAX_BYTES // 12 - 10))
    assert "missing" in _refused(load, path), "as much as may be read is read soon"


@pytest.mark.row("5,000 nested brackets, 30 million comment lines")
@pytest.mark.parametrize("opening", ["[", "{ a = "])
def test_deep_nesting_is_refused_by_line(tmp_path: Path, load: Load, opening: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("# first\nx = " + opening * 5000)
    text = _refused(load, path)
    assert "deep.toml:2" in text
    assert "nested" in text


def test_brackets_in_text_and_comments_are_no_nesting() -> None:
    many = "[" * 200
    assert parse_toml(f"a = \"{many}\"  # {many}\nb = '{many}'\n", "x")["a"] == many
    with pytest.raises(FileError, match="x:2"):
        parse_toml("a = 1\nb = \n", "x")


def _preset(tmp_path: Path, old: str, new: str) -> Path:
    from importlib import resources

    folder = resources.files("photonlink.pipeline.planning") / "presets"
    for name in preset_names():
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        if old in text:
            path = tmp_path / "link.toml"
            lines = [new if line.startswith(old) else line for line in text.splitlines()]
            path.write_text("\n".join(lines) + "\n")
            return path
    raise AssertionError(f"no preset has {old}")


@pytest.mark.row('[chanel] reports "channel: Field required"')
@pytest.mark.row('rate_hz = true, "1e9", mu = 500')
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rate_hz", "rate_hz = true", ("source.rate_hz", "number", "true")),
        ("rate_hz", 'rate_hz = "1e9"', ("source.rate_hz", "number", '"1e9"')),
        ("rate_hz", "rate_hz = nan", ("source.rate_hz", "finite", "nan")),
        ("rate_hz", "rate_hz = inf", ("source.rate_hz", "finite", "inf")),
        ("mus", "mus = [500.0, 0.1, 0.0]", ("source.mus", "at most 20", "500")),
        ("mus", "mus = [true, 0.1, 0.0]", ("source.mus", "number", "true")),
        ("length_km", "loss_db = 1e9", ("channel.loss_db", "at most 1000")),
        ("[channel]", "[chanel]", ("unknown key 'chanel'", "did you mean 'channel'")),
    ],
)
def test_what_is_wrong_with_a_link_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, says: tuple[str, ...]
) -> None:
    path = _preset(tmp_path, old, new)
    line = path.read_text().splitlines().index(new) + 1
    with pytest.raises(LinkFileError) as caught:
        load_link(path)
    text = str(caught.value)
    assert f"link.toml:{line}" in text
    for word in says:
        assert word in text, text


@pytest.mark.row("tracebacks: co_dbm = 4000, block_s = 1e15")
@pytest.mark.parametrize(
    ("section", "line", "says"),
    [
        ("raman", "co_dbm = 4000", "at most 60"),
        ("security", "block_s = 1e15", "at most 1e+09"),
    ],
)
def test_numbers_beyond_any_link_are_refused(
    tmp_path: Path, section: str, line: str, says: str
) -> None:
    path = _preset(tmp_path, "length_km", "length_km = 50.0")
    text = path.read_text()
    table = "channel.raman" if section == "raman" else section
    if f"[{table}]" in text:
        text = "\n".join(x for x in text.splitlines() if not x.startswith("block_"))
        text = text.replace(f"[{table}]", f"[{table}]\n{line}")
    else:
        text += f"\n[{table}]\n{line}\n"
    path.write_text(text)
    with pytest.raises(LinkFileError, match=r"link\.toml:\d+") as caught:
        load_link(path)
    assert says in str(caught.value)


@pytest.mark.row("parameters found wrong only after the bench was opened")
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("q_tol = nan", "finite"),
        ("q_tol = true", "number"),
        ("q_tol = 0.5", "0.15"),
        ("block_max_s = inf", "finite"),
        ('eps_sec = "1e-10"', "number"),
    ],
)
def test_parameters_are_checked_before_anything_is_opened(
    station: Path, line: str, says: str
) -> None:
    name = line.partition(" ")[0]
    lines = [x for x in station.read_text().splitlines() if not x.startswith(f"{name} =")]
    at = lines.index("[protocol]") + 1
    station.write_text("\n".join([*lines[:at], line, *lines[at:]]) + "\n")
    text = _refused(load_node_station, station)
    assert "alice.toml:" in text
    assert "protocol" in text
    assert says in text


@pytest.mark.row("MQTT: password_file relative, not UTF-8, 0644")
def test_the_broker_password_is_beside_the_station_and_nobody_elses(
    station: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = station.read_text()
    secret = station.parent / "broker.txt"
    station.write_text(text.replace("[mqtt]", '[mqtt]\npassword_file = "broker.txt"'))
    monkeypatch.chdir("/")
    assert "broker.txt" in _refused(load_node_station, station)
    secret.write_text("geheim\n")
    secret.chmod(0o644)
    assert "chmod 600" in _refused(load_node_station, station)
    secret.chmod(0o600)
    loaded = load_node_station(station)
    assert loaded.mqtt is not None
    assert loaded.mqtt.address().password() == "geheim"
    secret.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in _refused(load_node_station, station)


def test_a_password_is_never_in_a_message(tmp_path: Path) -> None:
    path = tmp_path / "broker.txt"
    path.write_bytes(b"geheim\xff")
    path.chmod(0o600)
    with pytest.raises(PhotonlinkError) as caught:
        read_password(path)
    assert "geheim" not in str(caught.value)


def test_every_station_message_is_one_per_line(station: Path) -> None:
    station.write_text("schema = 3\nname = 3\ninstruments = []\n")
    with pytest.raises(StationError) as caught:
        load_station(station, BenchStation)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) >= 2
    assert all("alice.toml:" in line for line in lines)
