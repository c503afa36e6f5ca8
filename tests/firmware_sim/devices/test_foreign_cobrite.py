"""The CoBrite emulator driven by ID Photonics' own client."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.proves("idphotonics-cobrite", by="cobrite")

cobrite = pytest.importorskip("cobrite", reason="cobrite is not installed (extra: peers)")


@pytest.mark.parametrize("layout", ["DX", "MX"])
def test_the_vendors_client(
    emulate: Any, until: Any, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("PYVISA_LIBRARY", "@py")
    unit = emulate("idphotonics-cobrite", warm_up_s=0.02, busy_s=0.05, layout=layout)
    host, port = unit.path.split(":")
    chassis = cobrite.CoBrite(address=host, tcp_port=int(port))
    chassis.open()
    manager = chassis._transport._inst.visalib.resource_manager
    try:
        assert chassis.layout() == {1: {1: {1: "GC", 2: "GC"}}} or layout == "MX"
        laser = chassis.port(1, 1, 1)
        laser.power = 10.0
        laser.wavelength = 1550.0
        assert laser.wavelength == pytest.approx(1550.0, abs=2e-3)
        laser.state = True
        until(lambda: unit.port.power_mw == pytest.approx(10.0, rel=0.01))
        assert unit.port.wavelength_nm == pytest.approx(1550.0, abs=0.01)
        assert laser.laser_config["power"] == 10.0
        assert laser.limits["freq_min"] == 191.5
        with pytest.raises(cobrite.CoBriteError):
            laser.power = 40.0
        unit.control(set={"interlock_open": True})
        assert chassis.get_interlock() is True
        assert unit.port.power_mw == 0.0
        with pytest.raises(cobrite.CoBriteError) as refused:
            laser.state = True
        assert refused.value.code == cobrite.ScpiStatus.COMMAND_ERROR_POWER_DOWN
    finally:
        chassis.close()
        manager.close()
    assert unit.device.internal_errors == 0
