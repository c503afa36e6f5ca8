"""Switches and delay line driven by pnpq and QMI."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import serial.tools.list_ports

PNPQ = "pnpq is not installed (it asks for Python 3.13)"


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace pnpq's search for a port by serial number, as a pty is in no list."""

    def put(unit: Any) -> None:
        port = SimpleNamespace(serial_number="EMU1", device=unit.path)
        monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: [port])

    return put


@pytest.mark.proves("thorlabs-osw-e", by="pnpq")
def test_pnpq_switches(emulate: Any, listed: Any) -> None:
    osw = pytest.importorskip("pnpq.devices.switch_thorlabs_osw_e", reason=PNPQ)
    unit = emulate("thorlabs-osw-e")
    listed(unit)
    with osw.OpticalSwitchThorlabsE(serial_number="EMU1") as switch:
        switch.set_state(osw.State.CROSS)
        assert switch.get_state() == osw.State.CROSS
        assert unit.port.get("blocked") == 1.0
        assert "OSW22" in switch.get_board_name()


@pytest.mark.proves("ozoptics-odl650", by="pnpq")
def test_pnpq_moves_the_delay_line(emulate: Any, listed: Any) -> None:
    odl = pytest.importorskip("pnpq.devices.odl_ozoptics_650ml", reason=PNPQ)
    unit = emulate("ozoptics-odl650")
    listed(unit)
    line = odl.OdlOzOptics(serial_number="EMU1")
    try:
        assert line.get_device_info() == ("ODL-650-MC", "5.3")
        assert line.get_serial() == unit.device.serial_number
        with pytest.raises(odl.OdlGetPosNotCompleted):
            line.get_step()
        line.home()
        line.move(10.0)
        assert line.get_step() == 64503
        assert unit.port.get("delay_ps") == pytest.approx(33.356, abs=0.001)
    finally:
        line.serial_close()


@pytest.mark.proves("agiltron-ff-switch", by="qmi")
def test_qmi_switches(emulate: Any) -> None:
    agiltron = pytest.importorskip("qmi.instruments.agiltron", reason="QMI is not installed")
    context = pytest.importorskip("qmi.core.context").QMI_Context("test")
    context.start()
    unit = emulate("agiltron-ff-switch")
    switch = agiltron.Agiltron_Ff1x8(context, "switch", f"serial:{unit.path}:baudrate=9600")
    switch.open()
    switch.set_channel_active(5)
    assert switch.get_active_channel() == 5
    assert unit.port.get("blocked") == 1.0
    switch.close()
    context.stop()
