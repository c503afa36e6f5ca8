"""PM100D: always watts, over-range, dark adjustment, wrong heads."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulated_unit import emulated

from photonlink.hal.errors import InstrumentError

PM = "thorlabs.pm100d"


async def test_power_of_the_light_at_its_place(tmp_path: Path) -> None:
    async with emulated(PM, tmp_path) as (meter, device):
        await meter.open()
        await meter.configure()
        device.place.put("background_w", 1e-3)
        device.registers.put("SENSe:CORRection:WAVelength", device.place.wavelength_nm)
        true_w = device.place.power_w
        assert await meter.power_w() == pytest.approx(true_w, rel=1e-3)
        device.registers.put("SENSe:POWer[:DC]:UNIT", "DBM")  # as set at the front panel
        assert await meter.power_w() == pytest.approx(true_w, rel=1e-3)
        await meter.set("wavelength_nm", 2 * device.place.wavelength_nm)
        assert await meter.power_w() == pytest.approx(true_w / 2, rel=1e-3), "told another colour"


async def test_light_beyond_the_range_is_no_number(tmp_path: Path) -> None:
    async with emulated(PM, tmp_path) as (meter, device):
        await meter.open()
        device.place.put("background_w", 1e-3)
        await meter.codec.tell("SENS:POW:RANG 1E-6")
        with pytest.raises(InstrumentError, match="beyond the range"):
            await meter.power_w()
        await meter.set("auto_range", True)
        assert await meter.power_w() > 1e-4


async def test_dark_adjustment(tmp_path: Path) -> None:
    async with emulated(PM, tmp_path, {"zero_s": 0.05, "noise_w": 0.0}) as (meter, device):
        await meter.open()
        device.control({"fault": "head-blocked"})
        assert await meter.power_w() == pytest.approx(5e-11)
        assert await meter.zero() == pytest.approx(5e-11)
        assert await meter.power_w() == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("quoted", [False, True])
async def test_a_head_that_measures_energy_is_refused(tmp_path: Path, quoted: bool) -> None:
    async with emulated(PM, tmp_path, {"energy": True, "quoted": quoted}) as (meter, _):
        with pytest.raises(InstrumentError, match="no head that measures power"):
            await meter.open()


async def test_a_wavelength_that_the_head_does_not_have(tmp_path: Path) -> None:
    async with emulated(PM, tmp_path) as (meter, device):
        await meter.open()
        with pytest.raises(InstrumentError, match="-222"):
            await meter.set("wavelength_nm", 3000.0)
        assert device.registers["SENSe:CORRection:WAVelength"] == 1550.0
