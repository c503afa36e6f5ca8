"""The Santec emulators driven by pymeasure, over a raw socket and a serial line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

santec = pytest.importorskip(
    "pymeasure.instruments.santec", reason="pymeasure is not installed (extra: peers)"
)


def resource(unit: Any) -> str:
    if unit.device.address.startswith("serial"):
        return f"ASRL{unit.path}::INSTR"
    host, port = unit.path.split(":")
    return f"TCPIP::{host}::{port}::SOCKET"


@pytest.fixture
def client(emulate: Any) -> Iterator[Callable[..., tuple[Any, Any]]]:
    opened: list[Any] = []

    def connect(kind: str, wire: str) -> tuple[Any, Any]:
        unit = emulate(f"santec-{kind.lower()}", address=wire, warm_up_s=0.05)
        laser = getattr(santec, kind)(
            resource(unit),
            visa_library="@py",
            read_termination="\r",
            write_termination="\n",
        )
        opened.append(laser)
        return laser, unit

    yield connect
    for laser in opened:
        laser.adapter.close()
        laser.adapter.manager.close()


@pytest.mark.parametrize("wire", ["tcp", "serial"])
@pytest.mark.proves("santec-tsl570", by="pymeasure")
def test_identity_light_and_power(client: Any, until: Any, wire: str) -> None:
    laser, unit = client("TSL570", wire)
    assert laser.id.startswith("SANTEC,TSL-570,")
    laser.power_unit = "dBm"
    laser.power_setpoint = 3.0
    laser.output_enabled = True
    assert laser.output_enabled
    assert not unit.status()["emission"], "the shutter is closed"
    laser.write(":POW:SHUT 0")
    until(lambda: unit.port.power_mw == pytest.approx(10**0.3, rel=1e-3))
    assert laser.power == pytest.approx(3.0, abs=0.01)
    laser.power_unit = "mW"
    assert laser.power == pytest.approx(1.995, abs=0.01)
    laser.output_enabled = False
    until(lambda: unit.port.power_mw == 0.0)


def test_both_command_sets(client: Any) -> None:
    laser, _ = client("TSL570", "tcp")
    laser.command_set = "SCPI"
    laser.wavelength_setpoint = 1550.123e-9  # six digits arrive
    assert laser.wavelength_setpoint == pytest.approx(1550.12e-9, rel=1e-9)
    assert laser.frequency_setpoint == pytest.approx(299792458 / 1550.12e-9, rel=1e-6)
    laser.command_set = "Legacy"
    assert laser.wavelength_setpoint == pytest.approx(1550.12)
    laser.frequency_setpoint = 193.5
    assert laser.wavelength_setpoint == pytest.approx(299792.458 / 193.5, abs=1e-3)
    assert (laser.wavelength_min, laser.wavelength_max) == (1480.0, 1640.0)
    assert laser.frequency_step == pytest.approx(0.1)
    assert laser.check_errors() == []


@pytest.mark.proves("santec-tsl550", by="pymeasure")
def test_a_sweep_moves_the_light(client: Any, until: Any) -> None:
    laser, unit = client("TSL550", "serial")
    laser.laser_enabled = True
    laser.output_enabled = True
    laser.wavelength_start, laser.wavelength_stop = 1540.0, 1560.0
    laser.sweep_speed = 50.0
    laser.sweep_cycles = 1
    laser.sweep_mode = santec.tsl550.SweepMode.CONTINUOUS_ONE_WAY
    laser.start_sweep()
    assert laser.sweep_status == santec.tsl550.SweepStatus.RUNNING
    until(lambda: 1545.0 < unit.port.wavelength_nm < 1558.0)
    until(lambda: laser.sweep_status == santec.tsl550.SweepStatus.STOPPED)
    assert laser.sweep_count == 1
    assert unit.port.wavelength_nm == pytest.approx(1560.0, abs=0.1)


def test_out_of_range_is_in_the_error_queue(client: Any) -> None:
    laser, unit = client("TSL570", "tcp")
    laser.power_setpoint = 30.0
    assert laser.power_setpoint == 0.0
    unit.control(set={"interlock_open": True})
    assert laser.ask(":SYST:ALER?").startswith("No07")
    laser.output_enabled = True
    assert not laser.output_enabled


@pytest.mark.proves("santec-tsl570", by="qmi")
def test_qmi_s_driver(emulate: Any, until: Any) -> None:
    tsl_570 = pytest.importorskip(
        "qmi.instruments.santec.tsl_570", reason="qmi is not installed (extra: peers)"
    )
    unit = emulate("santec-tsl570", warm_up_s=0.02)
    laser = tsl_570.Santec_Tsl570(Context(), "tsl", f"tcp:{unit.path}")
    laser.open()
    try:
        assert laser.get_idn().model == "TSL-570"
        laser.set_wavelength(1551.5)
        assert laser.get_wavelength() == pytest.approx(1551.5)
        assert laser.get_frequency() == pytest.approx(299792.458 / 1551.5, abs=1e-3)
        assert laser.get_minimum_frequency() == pytest.approx(299792.458 / 1640.0, abs=1e-3)
        laser.set_power_level_unit_to_dbm()
        laser.set_power_level(2.0)
        unit.call(lambda: unit.device.change("POWer:SHUTter", 0))
        laser.set_optical_output_status(True)
        until(lambda: unit.port.power_mw == pytest.approx(10**0.2, rel=0.01))
        laser.set_sweep_start_wavelength(1540.0)
        assert laser.get_sweep_start_wavelength() == 1540.0
        laser.set_optical_output_status(False)
        assert unit.port.power_mw == 0.0
    finally:
        laser.close()


class Context:
    """The part of a QMI context that the driver uses."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None
