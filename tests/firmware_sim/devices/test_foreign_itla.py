"""The ITLA and PPCL emulators driven by pytla."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

pytestmark = [
    pytest.mark.proves("oif-itla", by="pytla"),
    pytest.mark.proves("purephotonics-ppcl", by="pytla"),
]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports pkg_resources
    pytla = pytest.importorskip("itla", reason="pytla is not installed (extra: peers)")


def test_itla_12(emulate: Any, until: Any) -> None:
    unit = emulate("oif-itla", serial_number="S0042", warm_up_s=0.02, tune_s=0.1)
    laser = pytla.ITLA(unit.path, 9600, version="1.2", sleep_time=0.01)
    laser.connect()
    try:
        assert laser.get_device_type().rstrip("\0") == "CW ITLA"
        assert laser.get_serialnumber().rstrip("\0") == "S0042"
        laser.set_frequency(193.5)
        assert laser.get_frequency() == pytest.approx(193.5, abs=1e-4)
        laser.set_power(12.0)
        assert laser.get_power_setting() == 12.0
        with pytest.raises(pytla.itla_errors.RVEError):
            laser.set_power(30.0)
        with pytest.raises(pytla.itla_errors.CPException):
            laser.enable()
        laser.wait()
        until(lambda: unit.port.power_mw == pytest.approx(15.85, rel=0.01))
        assert unit.port.wavelength_nm == pytest.approx(299792.458 / 193.5, abs=0.01)
        assert laser.get_power_output() == pytest.approx(12.0, abs=0.05)
        with pytest.raises(pytla.itla_errors.CIEError):
            laser.set_frequency(194.0)
        assert len(laser.get_temps()) == 2
    finally:
        laser.disconnect()
    until(lambda: unit.port.power_mw == 0.0)
    assert unit.device.skipped_bytes == 0


def test_ppcl(emulate: Any, until: Any) -> None:
    unit = emulate("purephotonics-ppcl", warm_up_s=0.02, tune_s=0.05)
    laser = pytla.PPLaser(unit.path, 9600, sleep_time=0.01)
    laser.connect()
    try:
        laser.set_frequency(193.4)
        laser.whispermode()
        assert laser.get_mode() == 2
        laser.set_cleansweep_amplitude(40)
        with pytest.raises(pytla.itla_errors.CPException):
            laser.enable()
        laser.wait()
        laser.cleansweep_enable()
        centre_nm = 299792.458 / 193.4
        until(lambda: abs(unit.port.wavelength_nm - centre_nm) > 0.05)
        laser.cleansweep_disable()
        until(lambda: abs(unit.port.wavelength_nm - centre_nm) < 0.01)
    finally:
        laser.disconnect()
