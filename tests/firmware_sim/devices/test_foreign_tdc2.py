"""The TDC2 emulator's readout program driven by S-Fifteen's own client, and its words as
fpfind reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.proves("sfifteen-tdc2", by="s15lib"),
    pytest.mark.proves("sfifteen-tdc2", by="fpfind"),
]

pytest.importorskip(
    "S15lib.instruments.timestamp7", reason="s15lib is not installed (extra: peers)"
)
parse = pytest.importorskip(
    "fpfind.lib.parse_timestamps", reason="fpfind is not installed (extra: peers)"
)

TICK_PS = 1000 / 256


@pytest.fixture
def unit(emulate: Any) -> Any:
    return emulate("sfifteen-tdc2")


@pytest.fixture
def program(unit: Any) -> str:
    found: str = unit.device.address.removeprefix("program://")
    return found


def load(unit: Any, rates_hz: dict[int, float], seconds: float = 3.0) -> None:
    """Load the events: clicks of each input (0 to 3)."""
    rng = np.random.default_rng(5)
    parts = [(np.sort(rng.integers(0, int(seconds * 1e12), int(rate * seconds))), channel)
             for channel, rate in rates_hz.items()]  # fmt: skip
    times = np.concatenate([t for t, _ in parts])
    channels = np.concatenate([np.full(len(t), c) for t, c in parts])
    order = np.argsort(times, kind="stable")
    unit.port.load(times[order], channels[order])


def output(program: str, *arguments: str) -> bytes:
    done = subprocess.run([program, *arguments], capture_output=True, timeout=20, check=True)
    return done.stdout


CLIENT = """
import json, sys
from S15lib.instruments.timestamp7 import TimestampTDC2
client = TimestampTDC2("/dev/ioboards/usbtmst0", sys.argv[1], sys.argv[2])
seen = client.get_counts(0.5)
client.threshold = 0.3
print(json.dumps([[int(n) for n in seen], [int(n) for n in client.get_counts(0.3)]]))
"""


def test_counts_and_thresholds_of_the_client(unit: Any, program: str, tmp_path: Path) -> None:
    """In a separate process, as the client leaves pipes open."""
    load(unit, {0: 2000.0, 1: 500.0, 3: 8000.0})
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, program, str(tmp_path / "out")],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    counts, beyond = json.loads(done.stdout.splitlines()[-1])
    assert counts[2] == 0
    assert counts[3] > 2 * counts[0] > counts[1] > 0
    assert sum(beyond) == 0, "above the base line of negative pulses nothing is seen"


def test_every_form_of_a_word_says_the_same(unit: Any, program: str, tmp_path: Path) -> None:
    load(unit, {0: 3000.0, 2: 3000.0})
    found = {}
    for form, more in (("a0", ()), ("a1", ()), ("a2", ()), ("a1", ("-X",))):
        path = tmp_path / f"{form}{''.join(more)}"
        path.write_bytes(output(program, f"-{form}", "-q", "500", *more))
        read = {"a0": parse.read_a0, "a1": parse.read_a1, "a2": parse.read_a2}[form]
        time, pattern = read(str(path), legacy="-X" in more, resolution=parse.TSRES.PS4)
        events = np.asarray(pattern) != 8  # the text format keeps the dummies 0x338, as input 4
        found[path.name] = np.asarray(time, np.int64)[events], np.asarray(pattern)[events]
    reference = found["a1"]
    truth = np.unique(np.ceil(unit.port.time_ps / TICK_PS).astype(np.int64))
    for name, (time, pattern) in found.items():
        assert len(time) > 20, name
        assert set(np.unique(pattern)) <= {1, 4, 5}, name
        assert np.array_equal(pattern[:20], reference[1][:20]), name
        steps = np.diff(np.asarray(time, np.int64)[:20])
        assert np.abs(steps - np.diff(truth[:20])).max() <= 2, name


def test_fast_words_are_as_the_client_widens_them(unit: Any, program: str) -> None:
    load(unit, {1: 200_000.0}, 0.3)
    slow = np.frombuffer(output(program, "-a1", "-q", "300"), "<u8")
    fast = np.frombuffer(output(program, "-a1", "-f", "-q", "300"), "<u4").astype(np.uint64)
    roll = np.concatenate(([0], np.cumsum(np.diff((fast >> np.uint64(31)).astype(np.int64)) < 0)))
    wide = ((fast & ~np.uint64(0x3F)) | (roll.astype(np.uint64) << np.uint64(32))) << np.uint64(4)
    wide |= np.uint64(0x300) | (fast & np.uint64(0x3F))
    assert np.array_equal(wide & np.uint64(0x3FF), slow & np.uint64(0x3FF))
    steps = [np.diff((words >> np.uint64(10)).astype(np.int64)) for words in (wide, slow)]
    assert np.array_equal(*steps)


@pytest.mark.parametrize(
    "arguments",
    [("-a3",), ("-t", "5000"), ("-t", "1,2"), ("-q", "x"), ("-D", "1,2,3,4,5"), ("-?",), ("more",)],
)
def test_what_it_does_not_take_is_an_error(program: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([program, *arguments], capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr
    assert not done.stdout


def test_one_run_has_the_device(unit: Any, program: str) -> None:
    with subprocess.Popen([program, "-a1"], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert len(running.stdout.read(8)) == 8
        second = subprocess.run([program, "-a1"], capture_output=True, timeout=20, check=False)
        assert second.returncode == 1
        assert b"busy" in second.stderr
        running.terminate()
        running.stdout.read()
    assert output(program, "-a1", "-q", "1")
