"""The N7776C emulator driven by pymeasure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

keysight = pytest.importorskip(
    "pymeasure.instruments.keysight", reason="pymeasure is not installed (extra: peers)"
)

# pymeasure leaves open whether the instrument supports SCPI
pytestmark = [
    pytest.mark.proves("keysight-n777x", by="pymeasure"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def unit(emulate: Any) -> Any:
    return emulate("keysight-n777x", warm_up_s=0.02)


@pytest.fixture
def client(unit: Any) -> Iterator[Any]:
    host, port = unit.path.split(":")
    laser = keysight.KeysightN7776C(
        f"TCPIP::{host}::{port}::SOCKET",
        visa_library="@py",
        read_termination="\n",
        write_termination="\n",
    )
    yield laser
    laser.close()
    laser.adapter.manager.close()


def test_power_wavelength_and_lock(client: Any, unit: Any, until: Any) -> None:
    client.output_power_mW = 5.0
    assert client.output_power_mW == pytest.approx(5.0, rel=1e-4)
    assert client.output_power_dBm == pytest.approx(6.99, abs=0.01)
    client.wavelength = 1551.25
    assert client.wavelength == pytest.approx(1551.25)
    client.output_enabled = True
    until(lambda: unit.port.power_mw == pytest.approx(5.0, rel=0.01))
    client.locked = True
    assert client.locked
    assert not client.output_enabled
    client.output_enabled = True
    assert not client.output_enabled, "locked"
    client.locked = False
    assert unit.port.power_mw == 0.0


def test_a_sweep_moves_the_light_and_is_logged(client: Any, unit: Any, until: Any) -> None:
    client.sweep_wl_start, client.sweep_wl_stop = 1540.0, 1550.0
    client.sweep_speed, client.sweep_step = 50, 1.0
    assert client.sweep_speed == pytest.approx(50.0)
    client.sweep_mode, client.sweep_twoway, client.wl_logging = "CONT", False, True
    client.trigger_out = "STF"
    assert client.valid_sweep_params() in (True, False)
    client.output_enabled = True
    client.sweep_state = 1
    assert client.sweep_state == 1
    until(lambda: 1541.0 < unit.port.wavelength_nm < 1549.5)
    until(lambda: client.sweep_state == 0)
    assert client.sweep_points == 11
    assert client.get_wl_data()[-1] == pytest.approx(1550e-9)
    assert unit.device.internal_errors == 0
