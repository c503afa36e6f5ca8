"""Writes the files of the demo, the same that a person writes to run a link, into one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from photonlink.pipeline.keys.psk import PreSharedKey, create_psk
from photonlink.pipeline.keys.store_key import create_key_file

# The addresses belong to absent instruments: "auto" reports that and attaches to emulators.

_PUMP = """\
[instruments.pump]
driver = "toptica.dlc_pro"
backend = "auto"
address = "tcp://127.0.0.1:1"   # nothing listens here: no DLC pro in the demo
emulator = "sim:pump"
settings = { current_ma = 120.0 }

"""

_TAGGERS = {
    "alice": """\
[instruments.tagger]
driver = "picoquant.multiharp150"
backend = "auto"
address = "lib:///opt/photonlink/absent-alice/libmh150.so"
emulator = "sim:alice-tagger"

[channels]
H = { input = 0, detector = "spd-h" }
V = { input = 1, detector = "spd-v" }
D = { input = 2, detector = "spd-d" }
A = { input = 3, detector = "spd-a" }

""",
    "bob": """\
[instruments.tagger]
driver = "picoquant.multiharp150"
backend = "auto"
address = "lib:///opt/photonlink/absent-bob/libmh150.so"
emulator = "sim:bob-tagger"

[channels]
H = { input = 0, detector = "spd-h" }
V = { input = 1, detector = "spd-v" }
D = { input = 2, detector = "spd-d" }
A = { input = 3, detector = "spd-a" }

""",
}

_DETECTOR = """\
[instruments.spd-{letter}]
driver = "sfifteen.irspd1"
backend = "auto"
address = "serial:///dev/photonlink/absent-{side}-spd-{letter}"
emulator = "sim:{side}-spd-{letter}"
settings = {{ bias_v = {bias_v} }}

"""

_NODE = """\
schema = 2
name = "{side}"

[node]
role = "{side}"
link = "demo"
psk = "link.psk"
state_dir = "{side}-state"
store_key = "{side}-store.key"   # made for this demo: it lies beside what it seals
allow_emulated_keys = false

[peer]
{peer}

{status}
[sim]
run_dir = "run"

{protocol}
"""


_PROTOCOL = """\
[protocol]
# The length pays for what the detectors may differ by (charge_mismatch = 1, the default): more
# noise on the times makes that less, and the window wider. This light has 2.5 % of errors.
noise_ps = 1000
q_tol = 0.035
{hold_off}"""

_HOLD_OFF = """\
# These detectors are dead for 5 us each at 40,000 clicks/s: the quiet time would cost two thirds
# of the pairs. So the demo assumes a hold-off of all detectors together, as hardware gives it.
# Detectors dead for 25 ns would still pay 0.27 bit a key bit, for clicks that follow events.
hardware_hold_off = 1
"""

_VIRTUAL_PROTOCOL = """\
[protocol]
{hold_off}# Both taggers have ticks of 2 ns: noise that hides which detector an event of such a tick
# comes from would widen the window fifty-fold. So equal detectors are assumed within it.
charge_mismatch = 0
"""


_STATUS = """\
[mqtt]
host = "127.0.0.1"
port = {port}
"""


def _protocol(template: str, block_bits: int | None) -> str:
    size = f"block_sifted_bits = {block_bits}\n" if block_bits else ""
    return template.format(hold_off=_HOLD_OFF) + size


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """stations: the node's name → its file. emulator_arguments: for ``python``."""

    stations: dict[str, Path]
    emulator_arguments: tuple[str, ...]


def write_demo_files(
    folder: Path, mqtt_port: int, peer_port: int, *, seed: int | None, block_bits: int | None
) -> DemoFiles:
    """Two station files, a pre-shared key, a key for each store; emulators in ``run``."""
    create_psk(folder / "link.psk")
    protocol = _protocol(_PROTOCOL, block_bits)
    stations = {}
    for side in ("alice", "bob"):
        verb = "listen" if side == "alice" else "connect"
        text = _NODE.format(
            side=side,
            peer=f'{verb} = "127.0.0.1:{peer_port}"',
            status=_STATUS.format(port=mqtt_port),
            protocol=protocol,
        )
        text += _PUMP if side == "alice" else ""
        text += _TAGGERS[side]
        for letter in "hvda":
            text += _DETECTOR.format(side=side, letter=letter, bias_v=62.0)
        create_key_file(folder / f"{side}-store.key")
        stations[side] = folder / f"{side}.toml"
        stations[side].write_text(text, encoding="utf-8")
    emulators = ["-m", "photonlink.firmware_sim", "--run-dir", str(folder / "run")]
    # the default bench's tagger of 2 ns would make the ratio between its detectors too large
    emulators += ["--model", "alice-tagger=picoquant-multiharp150"]
    emulators += ["--until-stdin-closes"]  # they end, with light off, when their parent ends
    if seed is not None:
        emulators += ["--seed", str(seed)]
    return DemoFiles(stations, tuple(emulators))


_VIRTUAL_PUMP = """\
[instruments.pump]
driver = "toptica.dlc_pro"
backend = "emulator"
emulator = "sim:pump"
settings = {{ current_ma = 120.0 }}

"""

_VIRTUAL_INSTRUMENTS = """\
[instruments.tagger]
driver = "sfifteen.tdc1"
backend = "emulator"
emulator = "sim:{side}-tagger"

[channels]
H = {{ input = 1, detector = "spd-h" }}
V = {{ input = 2, detector = "spd-v" }}
D = {{ input = 3, detector = "spd-d" }}
A = {{ input = 4, detector = "spd-a" }}

"""

_VIRTUAL_DETECTOR = """\
[instruments.spd-{letter}]
driver = "sfifteen.irspd1"
backend = "emulator"
emulator = "sim:{side}-spd-{letter}"
settings = {{ bias_v = 62.0 }}

"""


def write_virtual_files(
    folder: Path, *, block_bits: int | None, psk: PreSharedKey
) -> dict[str, Path]:
    """The files of a virtual run, node → station file; ``psk`` is written and closed.

    All instruments have byte streams as wires; the virtual loop has no others.
    """
    psk.write(folder / "link.psk")
    psk.close()
    protocol = _protocol(_VIRTUAL_PROTOCOL, block_bits)
    stations = {}
    for side in ("alice", "bob"):
        verb = "listen" if side == "alice" else "connect"
        peer = f'{verb} = "127.0.0.1:7101"'
        text = _NODE.format(side=side, peer=peer, status="", protocol=protocol)
        text += _VIRTUAL_PUMP.format() if side == "alice" else ""
        text += _VIRTUAL_INSTRUMENTS.format(side=side)
        text += "".join(_VIRTUAL_DETECTOR.format(side=side, letter=letter) for letter in "hvda")
        create_key_file(folder / f"{side}-store.key")
        stations[side] = folder / f"{side}.toml"
        stations[side].write_text(text, encoding="utf-8")
    return stations
