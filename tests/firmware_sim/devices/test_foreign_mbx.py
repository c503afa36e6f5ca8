"""The MBX emulator driven by pymeasure."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.proves("thorlabs-mbx", by="pymeasure")

thorlabs = pytest.importorskip(
    "pymeasure.instruments.thorlabs", reason="pymeasure is not installed (extra: peers)"
)


def test_pymeasure_sets_bias_and_attenuator(emulate: Any, until: Any) -> None:
    series = pytest.importorskip("pymeasure.instruments.thorlabs.thorlabsmbxseries")
    unit = emulate("thorlabs-mbx", ack="pymeasure", reply_end="\r", calibration_s=0.05)
    controller = thorlabs.ThorlabsMBXSeries(f"ASRL{unit.path}::INSTR", visa_library="@py")
    try:
        controller.mzm.mode = series.MzmMode.AUTONULL
        assert controller.mzm.mode == 2
        until(lambda: controller.mzm.is_stable)
        assert controller.mzm.voltage == pytest.approx(unit.port.get("vpi_v"))
        controller.voa.enabled = True
        controller.voa.mode = series.VoaMode.ATTENUATION
        controller.voa.attenuation_setpoint = 12.5
        assert controller.voa.attenuation == pytest.approx(12.5)
        assert unit.port.get("insertion_db") == 12.5
        controller.voa.enabled = False
        assert controller.voa.attenuation == 0.5  # without drive it opens
        assert unit.port.get("insertion_db") == 0.5
        controller.mzm.voltage_setpoint = -2.5
        controller.mzm.mode = series.MzmMode.MANUAL
        assert controller.mzm.voltage == -2.5
        controller.mzm.calibrate()
        assert controller.mzm.is_calibrating
        controller.rgb.rgb = (1, 2, 3)
        assert controller.rgb.rgb == (1, 2, 3)
    finally:
        controller.adapter.close()
        controller.adapter.manager.close()
    assert unit.status()["internal_errors"] == 0
