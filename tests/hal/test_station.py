"""The station file: errors name the line, the key and the nearest known key."""

from __future__ import annotations

from pathlib import Path

import pytest

from photonlink.hal.errors import StationError
from photonlink.hal.station import (
    BenchStation,
    StationModel,
    key_lines,
    load_station,
    parse_station,
)

GOOD = """\
schema = 2
name = "alice"

[instruments.pump]
driver = "toptica.dlc_pro"
backend = "auto"
address = "tcp://192.168.1.20:1998"
emulator = "tcp://127.0.0.1:1998"
match = { serial = "DLC PRO_012345" }
limits = { current_set_ma = [0, 120.0] }
[instruments.pump.settings]
current_ma = 100.0

[instruments.tagger]
driver = "sfifteen.tdc1"
address = "serial:///dev/photonlink/tdc1"
settings = { threshold = "NIM" }
"""


def refused(text: str) -> str:
    with pytest.raises(StationError) as caught:
        parse_station(text, BenchStation, where="alice.toml")
    return str(caught.value)


def test_a_good_file_is_typed(tmp_path: Path) -> None:
    path = tmp_path / "alice.toml"
    path.write_text(GOOD, encoding="utf-8")
    station = load_station(path, BenchStation)
    pump = station.instruments["pump"]
    assert (pump.backend, pump.match.serial) == ("auto", "DLC PRO_012345")
    assert pump.limits == {"current_set_ma": (0.0, 120.0)}
    assert station.instruments["tagger"].backend == "real"
    with pytest.raises(ValueError, match="frozen"):
        station.name = "bob"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("backend =", "backand =", ["alice.toml:6:", "'instruments.pump.backand'", "'backend'?"]),
        ("name = ", "nmae = ", ["alice.toml:2:", "unknown key 'nmae'", "'name'", "is missing"]),
        ("current_ma", "curent_ma", ["alice.toml:12:", "did you mean 'current_ma'?"]),
        ('"NIM"', '"MIN"', ["alice.toml:17:", "'NIM' or 'TTL'"]),
        ("{ threshold", "{ treshold", ["alice.toml:17:", "did you mean 'threshold'?"]),
        (
            "current_ma = 100.0",
            "current_ma = true",
            ["alice.toml:12:", "must be a number, not true"],
        ),
        ("{ serial", "{ serail", ["alice.toml:9:", "did you mean 'serial'?"]),
        ("sfifteen.tdc1", "sfifteen.tcd1", ["alice.toml:15:", "Did you mean 'sfifteen.tdc1'?"]),
        ("100.0", '"much"', ["alice.toml:12:", "'instruments.pump.settings.current_ma'", "number"]),
        ("[0, 120.0]", "[0]", ["alice.toml:10:", "limits.current_set_ma"]),
        ('"auto"', '"maybe"', ["alice.toml:6:", "'real', 'auto' or 'emulator'"]),
        ("tcp://192.168.1.20:1998", "192.168.1.20", ["alice.toml:7:", "no address"]),
        ('address = "tcp://192', 'emulat0r = "tcp://192', ["alice.toml:7:", "'emulator'?"]),
        ("tcp://127.0.0.1:1998", "tcp://127.0.0.1:1998?moniter=1", ["alice.toml:8:", "'moniter'"]),
        ("serial:///dev/photonlink/tdc1", "lib:///opt/x.so", ["alice.toml:16:", "no bytes"]),
        ("current_set_ma = [", "curent = [", ["alice.toml:10:", "unknown parameter 'curent'"]),
        ("schema = 2", "schema = 3", ["alice.toml:1:", "'schema'"]),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, expected: list[str]) -> None:
    assert old in GOOD
    message = refused(GOOD.replace(old, new, 1))
    for words in expected:
        assert words in message, message


def test_all_mistakes_at_once() -> None:
    message = refused(GOOD.replace("backend =", "backand =").replace("schema = 2", "schema = 7"))
    assert "alice.toml:1:" in message
    assert "alice.toml:6:" in message


@pytest.mark.parametrize(
    ("remove", "words"),
    [
        ('address = "tcp://192.168.1.20:1998"\n', 'backend = "auto" needs an address'),
        ('emulator = "tcp://127.0.0.1:1998"\n', "needs the address of an emulator"),
        ('driver = "toptica.dlc_pro"\n', "'instruments.pump.driver' is missing"),
    ],
)
def test_what_is_missing_is_named_with_its_table(remove: str, words: str) -> None:
    message = refused(GOOD.replace(remove, "", 1))
    assert words in message
    assert "alice.toml:4:" in message


def test_no_toml_and_no_file(tmp_path: Path) -> None:
    assert "alice.toml:2:" in refused("schema = 2\nname = \n")
    with pytest.raises(StationError, match="cannot be read"):
        load_station(tmp_path / "none.toml", BenchStation)
    (tmp_path / "latin.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(StationError, match="cannot be read"):
        load_station(tmp_path / "latin.toml", BenchStation)


def test_a_model_of_the_node_s_own_gets_the_same_messages() -> None:
    class Peer(StationModel):
        address: str

    class NodeStation(BenchStation):
        peer: Peer

    text = GOOD + '\n[peer]\nadress = "tcp://b:5"\n'
    with pytest.raises(StationError) as caught:
        parse_station(text, NodeStation, where="alice.toml")
    assert "alice.toml:20: unknown key 'peer.adress'; did you mean 'address'?" in str(caught.value)
    with pytest.raises(StationError, match="'peer' is missing"):
        parse_station(GOOD, NodeStation)


def test_lines_of_keys() -> None:
    text = '# c\n[a."b c"]\nx.y = 1 # [no]\n"q r" = 2\n[[l]]\nk = 1\n[[l]]\nk = 2\n'
    lines = key_lines(text)
    assert lines["a", "b c"] == 2
    assert lines["a", "b c", "x", "y"] == 3
    assert lines["a", "b c", "q r"] == 4
    assert (lines["l", 0, "k"], lines["l", 1, "k"]) == (6, 8)


def test_an_old_file_is_told_what_to_edit() -> None:
    old = GOOD.replace("schema = 2", "schema = 1").replace(
        '{ threshold = "NIM" }', "{ channels = { H = 1, V = 2, D = 3, A = 4 } }"
    )
    message = refused(
        old + '[instruments.h]\ndriver = "sfifteen.irspd1"\naddress = "serial:///dev/x"\n'
        'settings = { detector = "H", bias_v = 62.0 }\n'
    )
    assert "alice.toml:1: write schema = 2" in message
    assert "alice.toml:17: tagger: settings.channels: move this" in message
    assert "[channels], H = 1" in message
    assert "alice.toml:21: h: settings.detector: delete this" in message
