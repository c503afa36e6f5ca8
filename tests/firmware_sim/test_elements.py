"""Waveplates and modulators on the optical table: their effect on QBER and pair rate."""

from __future__ import annotations

import pytest

from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.optical_table import OpticalTable


@pytest.fixture
def table() -> OpticalTable:
    source = {"pump_power_mw": 1.0, "visibility_hv": 1.0, "visibility_da": 1.0}
    return OpticalTable(BenchConfig.model_validate({"source": source}))


def errors(table: OpticalTable) -> tuple[float, float]:
    table.advance()
    truth = table.truth()
    return truth["qber_hv"], truth["qber_da"]


def test_a_half_wave_plate_turns_the_state(table: OpticalTable) -> None:
    plate = table.stand("bob.waveplates")
    still = errors(table)
    plate.put("retardance1_deg", 180.0)
    plate.put("angle1_deg", 45.0)  # H and V change places, D stays
    turned = errors(table)
    assert turned[0] == pytest.approx(1.0 - still[0], abs=0.01)
    assert turned[1] == pytest.approx(still[1], abs=0.01)
    plate.put("angle1_deg", 22.5)  # Hadamard: both bases are random
    assert errors(table) == pytest.approx((0.5, 0.5), abs=0.01)


def test_plates_undo_each_other_and_the_other_arm_is_left_alone(table: OpticalTable) -> None:
    still = errors(table)
    plate = table.stand("alice.waveplates2")
    for n, angle in ((1, 17.0), (2, 107.0)):
        plate.put(f"retardance{n}_deg", 90.0)
        plate.put(f"angle{n}_deg", angle)
    assert errors(table) == pytest.approx(still, abs=1e-6)
    assert plate.rotation("bob") is None


def test_a_modulator_s_voltage_and_pattern_set_the_pump(table: OpticalTable) -> None:
    bright = table.pair_rate_hz()
    modulator = table.stand("pump.modulator")
    modulator.put("vpi_v", 4.0)
    assert table.pair_rate_hz() == pytest.approx(bright)
    modulator.put("drive_v", 4.0)
    assert table.pair_rate_hz() == pytest.approx(bright * 1e-3, rel=0.01)
    modulator.play([(30.0, 0.0), (70.0, 4.0)])
    assert table.pair_rate_hz() == pytest.approx(bright * 0.3007, rel=0.01)
    modulator.play([])
    modulator.put("drive_v", 2.0)
    assert table.pair_rate_hz() == pytest.approx(bright * 0.5, rel=0.01)


def test_a_delay_line_delays_its_arm(table: OpticalTable) -> None:
    before = table.truth()["delay_ps"]
    table.stand("bob.delay").put("delay_ps", 250.0)
    after = table.truth()["delay_ps"]
    assert after["bob"] - before["bob"] == pytest.approx(250.0)
    assert after["alice"] == before["alice"]
