"""The OZ Optics emulators driven by pylablib and QMI."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.proves("ozoptics-dd100mc", by="pylablib")
def test_pylablib_sets_the_attenuator(emulate: Any) -> None:
    oz = pytest.importorskip(
        "pylablib.devices.OZOptics", reason="pylablib is not installed (extra: peers)"
    )
    unit = emulate("ozoptics-dd100mc")
    with oz.DD100(("serial", unit.path)) as attenuator:
        attenuator.home()
        assert attenuator.get_min_attenuation() == 0.9
        assert attenuator.get_max_attenuation() == 60.0
        assert attenuator.set_attenuation(12.34) == 12.34
        assert unit.port.get("attenuation_db") == 12.34
        assert attenuator.set_attenuation(99.0) == 60.0  # refused; then the client clips it
        attenuator.restart()
        assert unit.port.get("attenuation_db") == 0.9


@pytest.mark.proves("ozoptics-epc", by="pylablib")
def test_pylablib_sets_the_squeezers(emulate: Any) -> None:
    oz = pytest.importorskip(
        "pylablib.devices.OZOptics", reason="pylablib is not installed (extra: peers)"
    )
    unit = emulate("ozoptics-epc")
    with oz.EPC04(("serial", unit.path)) as controller:
        assert controller.set_all_voltages([1.0, -2.5, 0.0, 5.0]) == [1.0, -2.5, 0.0, 5.0]
        assert unit.port.get("retardance2_deg") == -225.0
        assert controller.set_frequency(2, 37) == 37.0
        assert controller.set_waveform("tri") == "tri"
        assert controller.set_mode("ac") == "ac"
        assert controller.set_mode("dc") == "dc"
        controller.save_preset()


@pytest.mark.proves("ozoptics-dd100mc", by="qmi")
@pytest.mark.proves("ozoptics-epc", by="qmi")
def test_qmi_reads_both(emulate: Any) -> None:
    oz = pytest.importorskip("qmi.instruments.ozoptics", reason="QMI is not installed")
    context = pytest.importorskip("qmi.core.context").QMI_Context("test")
    context.start()
    unit = emulate("ozoptics-dd100mc")
    attenuator = oz.OzOptics_Dd100Mc(context, "voa", f"serial:{unit.path}:baudrate=9600")
    attenuator.open()
    attenuator.home()
    assert attenuator.set_attenuation(20.0) == 2000
    assert attenuator.get_position() == (2000, 20.0)
    attenuator.close()
    unit = emulate("ozoptics-epc")
    controller = oz.OzOptics_EPC(context, "epc", f"serial:{unit.path}:baudrate=9600")
    controller.open()
    controller.set_voltage(3, -1500)
    assert controller.get_voltages() == (0, 0, -1500, 0)
    assert controller.get_operating_mode() == "DC"
    assert controller.get_waveform_type() == "Sine"
    controller.close()
    context.stop()
