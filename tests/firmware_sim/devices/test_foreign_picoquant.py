"""MultiHarp, HydraHarp and PicoHarp behind their libraries, driven by software that others wrote:
QMI 0.54.2 unmodified, ``ptufile``, and a C program that is built like the vendor's demos."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picoquant_calls import BINNING, FAMILIES, MODEL, PERIOD, UNIT, light, measure
from ptu_files import write_ptu

HERE = Path(__file__).parent
needs_qmi = pytest.mark.skipif(
    importlib.util.find_spec("qmi") is None, reason="qmi is not installed (extra: peers)"
)


def qmi(unit: Any, family: str, mode: str, tmp_path: Path) -> dict[str, Any]:
    """The output of ``picoquant_by_qmi.py``, run as a separate process."""
    folder = str(Path(unit.path).parent)
    done = subprocess.run(
        [sys.executable, str(HERE / "picoquant_by_qmi.py"), family, mode, str(BINNING[family])],
        env={**os.environ, "LD_LIBRARY_PATH": folder, "QMI_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@needs_qmi
@pytest.mark.parametrize("family", ["mh", "hh"])  # QMI reads PicoHarp's records as MultiHarp's
@pytest.mark.proves("picoquant-multiharp150", by="qmi")
@pytest.mark.proves("picoquant-hydraharp400", by="qmi")
def test_qmi_t2(emulate: Any, family: str, tmp_path: Path) -> None:
    unit = emulate(MODEL[family])
    clicks, _ = light(unit, family)
    found = qmi(unit, family, "T2", tmp_path)
    assert found["resolution"][0] == UNIT[family]
    times = np.array(found["events"][1])
    np.testing.assert_array_equal(times, clicks[: len(times)].astype(np.int64) // UNIT[family])
    assert len(times) == np.count_nonzero(clicks < found["tacq_ms"] * 1e9)
    assert len(found["events"][0]) == 0
    assert len(found["syncs"]) == 3600
    assert found["serial"] == "1000007"


@needs_qmi
@pytest.mark.parametrize("family", ["mh", "hh"])
def test_qmi_t3(emulate: Any, family: str, tmp_path: Path) -> None:
    unit = emulate(MODEL[family])
    clicks, _ = light(unit, family)
    found = qmi(unit, family, "T3", tmp_path)
    times = np.array(found["events"][1])
    bin_ps = UNIT[family] << BINNING[family]
    assert len(times) == np.count_nonzero(clicks < found["tacq_ms"] * 1e9)
    assert np.abs(times - clicks[: len(times)]).max() <= bin_ps + UNIT[family]


@needs_qmi
@FAMILIES
@pytest.mark.proves("picoquant-multiharp150", by="qmi")
@pytest.mark.proves("picoquant-hydraharp400", by="qmi")
@pytest.mark.proves("picoquant-picoharp300", by="qmi")
def test_qmi_histogram(emulate: Any, family: str, tmp_path: Path) -> None:
    unit = emulate(MODEL[family])
    clicks, since = light(unit, family)
    found = qmi(unit, family, "HIST", tmp_path)
    bin_ps = UNIT[family] << BINNING[family]
    counted = np.array(found["histogram"])
    inside = clicks < found["tacq_ms"] * 1e9
    truth = np.bincount((since[inside] / bin_ps).astype(int), minlength=65_536)
    assert counted.sum() == inside.sum()
    # a click at the edge of a bin may lie in the next one, as times are rounded first
    assert np.abs(np.cumsum(counted) - np.cumsum(truth)).max() <= 3


@pytest.mark.parametrize("mode", [2, 3])
@FAMILIES
@pytest.mark.proves("picoquant-multiharp150", by="ptufile")
@pytest.mark.proves("picoquant-hydraharp400", by="ptufile")
@pytest.mark.proves("picoquant-picoharp300", by="ptufile")
def test_records_in_a_ptu_file(emulate: Any, family: str, mode: int, tmp_path: Path) -> None:
    ptufile = pytest.importorskip("ptufile", reason="ptufile is not installed (extra: peers)")
    unit = emulate(MODEL[family])
    clicks, since = light(unit, family)
    records = measure(unit.path, family, mode, BINNING[family], 500)
    kinds = {"mh": 0x00010007, "hh": 0x01010004, "ph": 0x00010003}
    path = tmp_path / "run.ptu"
    write_ptu(path, records, UNIT[family], kind=kinds[family] | mode << 8, mode=mode)
    with ptufile.PtuFile(path) as ptu:
        decoded = ptu.decode_records()
    first = clicks[clicks < 0.5e12]
    # PicoHarp counts routed inputs from 1 in T3 records; ptufile subtracts it again
    photons = decoded[decoded["channel"] == (0 if (family, mode) == ("ph", 3) else 1)]
    assert len(photons) == len(first)
    if mode == 2:
        np.testing.assert_array_equal(photons["time"], first.astype(np.int64) // UNIT[family])
        return
    bin_ps = UNIT[family] << BINNING[family]
    error = photons["dtime"].astype(np.int64) * bin_ps - since[: len(first)]
    assert -bin_ps - UNIT[family] <= error.min()
    assert error.max() <= UNIT[family]
    number = np.searchsorted(np.round(np.arange(0, 5e11, PERIOD[family])), first, "right") - 1
    np.testing.assert_array_equal(photons["time"], number)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_c_program_links_against_the_library(emulate: Any, tmp_path: Path) -> None:
    unit = emulate(MODEL["mh"])
    clicks, _ = light(unit, "mh")
    folder = Path(unit.path).parent
    program = tmp_path / "tttr"
    source = HERE / "multiharp_tttr.c"
    build = ["cc", "-std=c11", "-Wall", "-Werror", str(source), "-o", str(program)]
    subprocess.run([*build, f"-L{folder}", "-lmh150"], check=True, timeout=60)
    done = subprocess.run(
        [str(program), "200"],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert said["library"] == "3.1"
    assert said["serial"] == "1000007"
    assert said["resolution"] == "80.0 ps"
    assert int(said["input 1"]) == np.count_nonzero(clicks < 0.2e12)
    assert int(said["sync"]) == 1800
