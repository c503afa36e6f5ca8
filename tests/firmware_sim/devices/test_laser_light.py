"""The light of all emulated lasers: warm-up, mode hop, interlock, arms."""

from __future__ import annotations

from typing import Any

import pytest

from photonlink.firmware_sim.config import parse_bench
from photonlink.firmware_sim.kit.laser import LaserDevice
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.optical_table import OpticalTable, beside_the_table

LASERS = sorted(m for m, entry in models().items() if issubclass(entry.device, LaserDevice))


def test_light_warms_up_hops_and_ends_with_the_interlock(emulate: Any, until: Any) -> None:
    unit = emulate("santec-tsl570", warm_up_s=0.3, warm_up_nm=0.5, warm_up_share=0.5)
    unit.call(lambda: unit.device.change("POWer:SHUTter", 0))
    unit.call(lambda: unit.device.change("POWer:STATe", 1))
    assert unit.port.power_mw < 0.8
    assert unit.port.wavelength_nm > 1550.2
    until(lambda: unit.port.power_mw > 0.98)
    unit.control(fault="mode-hop", nm=0.4)
    until(lambda: unit.port.wavelength_nm > 1550.39)
    unit.control(fault="none")
    until(lambda: unit.port.wavelength_nm < 1550.05)
    unit.control(set={"interlock_open": True})
    assert unit.port.power_mw == 0.0
    unit.control(set={"interlock_open": False})
    assert unit.port.power_mw == 0.0, "light stays off until it is asked for"


@pytest.mark.parametrize("model", LASERS)
def test_every_laser_is_dark_at_power_on_and_after_safe_off(emulate: Any, model: str) -> None:
    unit = emulate(model)
    unit.call(lambda: unit.device.tick())
    assert not unit.status()["emission"]
    assert unit.port.power_mw == 0.0
    unit.call(lambda: unit.device.safe_off())
    unit.control(fault="reboot")
    assert not unit.status()["emission"]


def test_a_laser_in_an_arm_is_seen_by_its_detectors() -> None:
    table = OpticalTable(parse_bench("seed = 3"))
    laser = table.stand("alice.laser")
    table.advance()
    dark = [table.clicks_total(f"alice.{d}") for d in "hvda"]
    laser.set_wavelength_nm(1550.0)
    laser.set_optical_power_mw(1.0)
    laser.put("tap_db", 110.0)  # 1 mW is 7.8e15 photons per second
    for _ in range(5):
        table.advance()
    lit = [table.clicks_total(f"alice.{d}") for d in "hvda"]
    assert table._arm_params("alice", 1.0).background_hz == pytest.approx(7.8e4, rel=0.01)
    assert table._arm_params("bob", 1.0).background_hz == 0.0
    assert sum(lit) - sum(dark) > 100


def test_two_instruments_may_stand_beside_the_table() -> None:
    bench = parse_bench(
        '[devices]\na = { model = "santec-tsl570" }\nb = { model = "santec-tsl570" }'
    )
    assert [entry.place for entry in bench.devices.values()] == ["", ""]
    assert beside_the_table("") is None
    beside_the_table("pump").set_optical_power_mw(5.0)
