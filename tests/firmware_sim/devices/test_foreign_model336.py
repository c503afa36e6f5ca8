"""The 336 emulator driven by Lake Shore's own client."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.proves("lakeshore-model336", by="lakeshore")

lakeshore = pytest.importorskip("lakeshore", reason="lakeshore is not installed (extra: peers)")


@pytest.fixture
def client(emulate: Any) -> Any:
    unit = emulate("lakeshore-model336", settling_s=0.05)
    host, _, port = unit.path.partition(":")
    box = lakeshore.Model336(ip_address=host, tcp_port=int(port), timeout=2.0)
    box.unit = unit
    yield box
    box.disconnect_tcp()


def test_identity_readings_and_names(client: Any) -> None:
    assert client.model_number == "MODEL336"
    assert client.firmware_version == "2.9"
    assert client.get_kelvin_reading("A") == pytest.approx(2.5, abs=0.01)
    assert client.get_celsius_reading("D") == pytest.approx(21.85, abs=0.01)
    assert len(client.get_all_kelvin_reading()) == 4
    assert client.get_sensor_name("A") == "STAGE"
    client.set_sensor_name("B", "Shield 40 K")
    assert client.get_sensor_name("B") == "Shield 40 K"
    assert client.get_input_reading_status("C").temp_underrange
    assert not client.get_input_reading_status("A").temp_underrange


def test_loop_warms_the_stage_and_all_heaters_off(client: Any, until: Any) -> None:
    client.set_control_setpoint(1, 6.0)
    assert client.get_control_setpoint(1) == 6.0
    client.set_heater_pid(1, 40.0, 10.0, 0.0)
    assert client.get_heater_pid(1)["gain"] == 40.0
    client.set_heater_range(1, client.HeaterRange.LOW)
    until(lambda: client.get_kelvin_reading("A") > 5.5)
    assert client.unit.port.get("temperature_k") > 5.0
    assert client.get_heater_output(1) > 0.0
    client.all_heaters_off()
    assert client.get_heater_range(1) == client.HeaterRange.OFF
    until(lambda: client.get_kelvin_reading("A") < 3.0)


def test_what_it_refuses_is_the_client_s_exception(client: Any) -> None:
    with pytest.raises(lakeshore.generic_instrument.InstrumentException):
        client.command("NOSUCH 1")
    assert client.get_kelvin_reading("A") > 0.0
