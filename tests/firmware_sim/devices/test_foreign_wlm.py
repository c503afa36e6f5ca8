"""The stand-in ``libwlmData.so``, driven by QMI 0.54.2 unmodified, and by our driver."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cffi
import pytest

from photonlink.drivers.highfinesse.wlm import Wlm
from photonlink.hal.errors import IdentityError, InstrumentError, LinkClosed, LinkNotFound

HERE = Path(__file__).parent


@pytest.mark.skipif(
    importlib.util.find_spec("qmi") is None, reason="qmi is not installed (extra: peers)"
)
@pytest.mark.proves("highfinesse-wlm", by="qmi")
def test_qmi(emulate: Any, tmp_path: Path) -> None:
    unit = emulate("highfinesse-wlm")
    done = subprocess.run(
        [sys.executable, str(HERE / "wlm_by_qmi.py")],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(Path(unit.path).parent),
            "QMI_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["version"] == "WLM Version: [7.1007.1.2]"
    assert found["model"] == "WLM-7"
    assert (found["started"], found["state"], found["stopped"]) == (False, 2, 0)
    nm = unit.port.wavelength_nm
    assert found["nm"] == pytest.approx(nm, rel=1e-7)
    assert found["thz"] == pytest.approx(299_792.458 / nm, rel=1e-7)
    assert found["uw"] == pytest.approx(1000.0)  # 1 mW of pump
    assert "NO_SIGNAL" in found["channel 2"]


async def opened(unit: Any, options: str = "", **settings: Any) -> Wlm:
    driver = Wlm("wlm", unit.device.address + options, Wlm.Settings(**settings))
    await driver.open()
    return driver


async def test_our_driver(emulate: Any) -> None:
    unit = emulate("highfinesse-wlm")
    driver = await opened(unit, "#serial=1007", exposure_ms=30)
    try:
        await driver.configure()
        readings = await driver.snapshot()
        assert (readings["exposure_ms"], readings["signal"]) == (30, "good")
        assert readings["temperature_c"] == 24.5
        assert readings["pressure_mbar"] == 1013.0
        assert readings["power_uw"] == pytest.approx(1000.0)
        nm = unit.port.wavelength_nm
        assert await driver.wavelength_m() == pytest.approx(nm * 1e-9, rel=1e-7)
        with pytest.raises(InstrumentError, match="no signal"):
            await driver.wavelength_m(3)
        with pytest.raises(InstrumentError, match="no such channel"):
            await driver.wavelength_m(9)
        unit.port.table.config.source.pump_power_mw = 5e-7
        readings = await driver.snapshot()
        assert readings["signal"] == "signal too low"
        assert "wavelength_nm" not in readings
        unit.call(lambda: setattr(unit.device, "_running", False))
        assert [c.code for c in driver.conditions(await driver.snapshot())] == ["measuring"]
        unit.control(fault="unplug")
        with pytest.raises(LinkClosed, match="server is gone"):
            await driver.wavelength_m()
    finally:
        await driver.close()


async def test_who_answers(emulate: Any) -> None:
    unit = emulate("highfinesse-wlm", channels=2)
    for options in ("#serial=4711", "#channel=3"):
        with pytest.raises(IdentityError):
            await opened(unit, options)
    unit.control(fault="unplug")
    with pytest.raises(LinkNotFound, match="no server"):
        await opened(unit)


def test_units_events_and_settings(emulate: Any) -> None:
    unit = emulate("highfinesse-wlm")
    ffi = cffi.FFI()
    ffi.cdef(
        "double ConvertUnit(double, int, int); int WaitForWLMEvent(int *, int *, double *);"
        "int SetPulseMode(unsigned short); unsigned short GetPulseMode(unsigned short);"
        "int SetExposureModeNum(int, _Bool); int GetExposureModeNum(int, _Bool);"
        "int TriggerMeasurement(int); void *Instantiate(int, int, void *, int);"
    )
    lib: Any = ffi.dlopen(unit.path)
    assert lib.Instantiate(-1, 0, ffi.NULL, 0) == ffi.NULL
    assert lib.ConvertUnit(1550.0, 0, 2) == pytest.approx(193.4145, rel=1e-6)
    assert lib.ConvertUnit(lib.ConvertUnit(1550.0, 0, 4), 4, 0) == pytest.approx(1550.0)
    assert lib.ConvertUnit(1550.0, 0, 9) == -15.0
    mode, number, value = ffi.new("int *"), ffi.new("int *"), ffi.new("double *")
    assert lib.WaitForWLMEvent(mode, number, value) == 1
    assert (mode[0], value[0]) == (42, pytest.approx(unit.port.wavelength_nm, rel=1e-7))
    assert lib.SetPulseMode(1) == 0
    assert lib.GetPulseMode(0) == 1
    assert lib.SetExposureModeNum(2, True) == 0
    assert (lib.GetExposureModeNum(1, False), lib.GetExposureModeNum(2, False)) == (0, 1)
    assert lib.TriggerMeasurement(0) == -6
