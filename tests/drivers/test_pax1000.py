"""Thorlabs PAX1000: records give Stokes parameters; old records are not used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from photonlink.drivers.thorlabs import pax1000
from photonlink.drivers.thorlabs.pax1000 import Pax1000
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.hal.errors import InstrumentError
from photonlink.hal.testing import expected_dialogue

# The vendor's example record; the second one was measured later.
OLD = (
    "1170,95294,5,134283776,6,5856,29712,3.349497e-2,1.38085,-8.918476e-2,-2.549722e-1,"
    "9.227656e-1,7.660135e-5"
)
NEW = OLD.replace("95294", "95328").replace("134283776", "134283264")


async def test_the_vendor_s_record_as_stokes_parameters() -> None:
    ask = "> SENS:DATA:LAT?\\n\n< {}\\n\n"
    talk = ask.format(OLD) + ask.format(OLD) + ask.format(NEW)
    async with expected_dialogue(Pax1000, talk, wavelength_m=1.55e-6) as driver:
        await driver.connect()
        state = await driver.polarization()
    # S1 = cos 2η cos 2θ, S2 = cos 2η sin 2θ, S3 = sin 2η with θ = -0.0892, η = -0.2550
    assert (state.s1, state.s2, state.s3) == pytest.approx((0.8589, -0.1549, -0.4882), abs=1e-4)
    assert (state.degree, state.power_w) == (0.9227656, 7.660135e-5)


async def test_against_the_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Program(bench_of(models()["thorlabs-pax1000"], "", {}, 5), tmp_path) as program:
        device: Any = program.devices["unit"]
        plate = program.bench.stand("alice.waveplates")
        driver = Pax1000(
            "unit", device.address, Pax1000.Settings(reply_timeout_s=5.0, wavelength_m=1.55e-6)
        )
        await driver.open()
        monkeypatch.setattr(pax1000, "_FRESH_S", 0.2)
        with pytest.raises(InstrumentError, match="no new measurement"):
            await driver.polarization()
        monkeypatch.setattr(pax1000, "_FRESH_S", 10.0)
        await driver.configure()
        assert (await driver.polarization()).s1 == pytest.approx(1.0, abs=1e-6)
        plate.put("retardance1_deg", 180.0)
        plate.put("angle1_deg", 22.5)
        assert (await driver.polarization()).s2 == pytest.approx(1.0, abs=1e-6)
        plate.put("retardance1_deg", 90.0)
        plate.put("angle1_deg", 45.0)
        assert abs((await driver.polarization()).s3) == pytest.approx(1.0, abs=1e-6)
        device.control({"set": {"temperature_c": 60.0}})
        with pytest.raises(InstrumentError, match="too hot"):
            await driver.power_w()
        await driver.close()
        assert not device.state()["spinning"]
        assert device.internal_errors == 0
