"""The PM100D emulator driven by pymeasure's client."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.proves("thorlabs-pm100d", by="pymeasure")

thorlabs = pytest.importorskip(
    "pymeasure.instruments.thorlabs", reason="pymeasure is not installed (extra: peers)"
)


# pymeasure leaves open whether this meter supports SCPI.
@pytest.mark.filterwarnings("ignore:It is not known:FutureWarning")
def test_pymeasure_reads_power_and_sets_the_wavelength(emulate: Any) -> None:
    unit = emulate("thorlabs-pm100d")
    host, _, port = unit.path.partition(":")
    meter = thorlabs.ThorlabsPM100USB(
        f"TCPIP::{host}::{port}::SOCKET", visa_library="@py",
        read_termination="\n", write_termination="\n",
    )  # fmt: skip
    try:
        assert meter.is_power_sensor
        assert meter.wavelength_settable
        assert not meter.is_energy_sensor
        assert (meter.wavelength_min, meter.wavelength_max) == (400.0, 1700.0)
        meter.wavelength = 405.0
        assert meter.wavelength == 405.0
        unit.call(lambda: unit.port.put("background_w", 2e-3))
        light = unit.port.power_w * unit.port.wavelength_nm / 405.0
        assert meter.power == pytest.approx(light, rel=1e-3)
    finally:
        meter.adapter.close()
        meter.adapter.manager.close()
