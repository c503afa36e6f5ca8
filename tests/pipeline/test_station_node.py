"""The node's station file: that of the demo is valid; faults are named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from photonlink.hal.errors import StationError
from photonlink.hal.tags import TaggerCapabilities
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.node.recorded_session import detector_map
from photonlink.pipeline.node.simulated_station import with_emulator_addresses
from photonlink.pipeline.node.station import load_node_station


@pytest.fixture
def station(tmp_path: Path) -> Path:
    return write_demo_files(tmp_path, 1883, 7101, seed=None, block_bits=None).stations["alice"]


def _with(station: Path, old: str, new: str) -> Path:
    text = station.read_text()
    assert old in text
    station.write_text(text.replace(old, new))
    return station


def test_the_demo_station_is_a_station(station: Path) -> None:
    loaded = load_node_station(station)
    assert loaded.node.role == "alice"
    assert loaded.node.psk == station.parent / "link.psk"
    assert set(loaded.instruments) == {"pump", "tagger", "spd-h", "spd-v", "spd-d", "spd-a"}
    assert loaded.site == "alice"


def test_emulators_that_do_not_run_keep_their_names(station: Path) -> None:
    loaded = with_emulator_addresses(load_node_station(station))
    assert loaded.instruments["pump"].emulator == "sim:pump"
    run = station.parent / "run"
    run.mkdir()
    (run / "addresses.json").write_text('{"addresses": {"pump": "tcp://127.0.0.1:4711"}}')
    loaded = with_emulator_addresses(load_node_station(station))
    assert loaded.instruments["pump"].emulator == "tcp://127.0.0.1:4711"
    assert loaded.instruments["tagger"].emulator == "sim:alice-tagger"
    # the demo charges for its detectors; the one remaining assumption is stated in docs/claim.md
    assert loaded.protocol.parameters().assumptions == ("HOLD_OFF",)


@pytest.mark.row("parameters found wrong only after the bench was opened")
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('role = "alice"', 'rolle = "alice"', ("rolle", "role")),
        ("[mqtt]", "[mqt]", ("mqt", "mqtt")),
        ('role = "alice"', 'role = "eve"', ("role",)),
        ('listen = "127.0.0.1:7101"', "", ("peer", "listen")),
        ('listen = "127.0.0.1:7101"', 'listen = "nowhere"', ("host:port",)),
        ('link = "demo"', 'link = "Demo Link/1"', ("link",)),
        ("current_ma = 120.0", "curent_ma = 120.0", ("curent_ma", "current_ma")),
        ('detector = "spd-h"', 'detector = "spd-x"', ("spd-x", "spd-h", "no instrument")),
        ("input = 2", "input = 1", ("channels", "one input")),
        ('detector = "spd-v"', 'detector = "spd-h"', ("channels", "one detector")),
        ("noise_ps = 1000", "fibre_ps_per_s = 2e7", ("protocol", "fibre_ps_per_s")),
        ("input = 2", "input = true", ("channels.D.input",)),
        ("V = { input", "W = { input", ("channels.W", "channels.V")),
        ("schema = 2", "schema = 1", ("write schema = 2",)),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    station: Path, old: str, new: str, says: tuple[str, ...]
) -> None:
    with pytest.raises(StationError) as caught:
        load_node_station(_with(station, old, new))
    text = str(caught.value)
    assert "alice.toml:" in text, text
    for word in says:
        assert word in text, text


@pytest.mark.row("channels = { A = 9 } on a four-input tagger accepted")
def test_an_input_that_the_tagger_lacks_is_refused(station: Path) -> None:
    bench: Any = SimpleNamespace(
        tagger=SimpleNamespace(capabilities=TaggerCapabilities((0, 1, 2, 3), 1.0, 1e6))
    )
    assert dict(detector_map(load_node_station(station), bench).channels)["D"] == 2
    wrong = load_node_station(_with(station, "input = 2", "input = 9"))
    with pytest.raises(StationError, match="D = 9, but the time tagger has the inputs 0, 1, 2, 3"):
        detector_map(wrong, bench)


def test_a_station_without_peer(station: Path) -> None:
    text = station.read_text()
    start = text.index("[peer]")
    station.write_text(text[:start] + text[text.index("[mqtt]") :])
    with pytest.raises(StationError, match="peer"):
        load_node_station(station)


def test_no_such_station(tmp_path: Path) -> None:
    with pytest.raises(StationError, match=r"nope\.toml"):
        load_node_station(tmp_path / "nope.toml")
