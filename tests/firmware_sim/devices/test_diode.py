"""The diode behind CTL200 and the 4000 series: threshold, tuning, cooler, trips."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def unit(emulate: Any) -> Any:
    unit = emulate("thorlabs-cld1015", warm_up_s=0.01, thermal_s=0.05)
    unit.call(lambda: unit.device.change("OUTPut2[:STATe]", 1))
    return unit


CURRENT = "SOURce1:CURRent[:LEVel][:IMMediate][:AMPLitude]"


def lit(unit: Any, current_a: float) -> None:
    unit.call(lambda: unit.device.change(CURRENT, current_a))
    unit.call(lambda: unit.device.change("OUTPut1[:STATe]", 1))


def test_threshold_slope_and_tuning(unit: Any, until: Any) -> None:
    lit(unit, 0.008)
    assert unit.port.power_mw == 0.0, "below threshold"
    lit(unit, 0.050)
    until(lambda: unit.port.power_mw == pytest.approx(10.0, rel=0.01))
    until(lambda: unit.port.wavelength_nm == pytest.approx(1549.95, abs=0.005))
    unit.call(lambda: unit.device.change("SOURce2:TEMPerature[:SPOint]", 20.0))
    until(lambda: unit.port.wavelength_nm == pytest.approx(1549.45, abs=0.005))


def test_without_its_cooler_it_gets_too_hot_and_switches_off(unit: Any, until: Any) -> None:
    lit(unit, 0.7)
    unit.call(lambda: unit.device.change("OUTPut2[:STATe]", 0))
    until(lambda: unit.port.power_mw == 0.0)
    assert unit.call(lambda: unit.device._trip_of("OTEM")) == "1"
    unit.call(lambda: unit.device.change("OUTPut2[:STATe]", 1))
    until(lambda: unit.status()["temperature_c"] < 30.0)
    lit(unit, 0.05)
    assert unit.call(lambda: unit.device._trip_of("OTEM")) == "0"
    until(lambda: unit.port.power_mw > 5.0)


def test_a_trip_ends_the_light(unit: Any, until: Any) -> None:
    lit(unit, 0.05)
    until(lambda: unit.port.power_mw > 5.0)
    unit.control(fault="trip", word="VOLT")
    assert unit.port.power_mw == 0.0
    assert unit.call(lambda: unit.device._trip_of("VOLT")) == "1"


def test_koheron_waits_for_its_delay(emulate: Any, until: Any) -> None:
    unit = emulate("koheron-ctl200", warm_up_s=0.01)
    for name, value in (("ldelay", 200), ("ilaser", 60.0), ("lason", 1)):
        unit.call(lambda name=name, value=value: unit.device.change(name, value))
    assert unit.port.power_mw == 0.0
    until(lambda: unit.port.power_mw == pytest.approx(12.5, rel=0.02))
