"""The EOS emulator driven by Single Quantum's own client of qcodes_contrib_drivers."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.proves("singlequantum-eos", by="qcodes_contrib_drivers")

websq = pytest.importorskip(
    "qcodes_contrib_drivers.drivers.SingleQuantum.SingleQuantum",
    reason="qcodes_contrib_drivers is not installed (extra: peers)",
)


@pytest.fixture
def unit(emulate: Any) -> Any:
    return emulate("singlequantum-eos", calibration_s=0.1)


@pytest.fixture
def client(unit: Any) -> Any:
    host, _, port = unit.path.partition(":")
    root = SimpleNamespace(npts=lambda: 2)
    counts = unit.status()["counts_port"]
    handler = websq.CommunicationHandler(root, logging.getLogger("websq"), host, int(port), counts)
    yield handler
    handler.talk.shutdown = handler.cnts.shutdown = True  # its threads end after their next read
    handler.get_bias_voltage()
    for line in (handler.talk, handler.cnts):
        line.join(3.0)
        line.close()


def test_settings_and_readings(client: Any, unit: Any, until: Any) -> None:
    assert client.get_number_of_detectors() == 4
    client.set_bias_current([18.0, 17.0, 16.0, 15.0])
    client.set_trigger_level([40.0, 41.0, 42.0, 43.0])
    client.enable_detectors(True)
    until(lambda: client.get_bias_current() == [18.0, 17.0, 16.0, 15.0])
    until(lambda: client.get_trigger_level() == [40.0, 41.0, 42.0, 43.0])
    until(lambda: unit.port.channels[0].excess_v > 1.9)
    assert unit.port.channels[3].threshold_mv == 43.0
    assert client.get_bias_voltage()[0] >= 0.0


def test_counts_of_several_periods(client: Any, unit: Any, until: Any) -> None:
    client.set_measurement_periode(50)
    until(lambda: client.get_measurement_periode() == 50)
    client.set_bias_current([18.0] * 4)
    client.enable_detectors(True)
    until(lambda: unit.status()["bias"])
    client.acquire_cnts_t()
    counts = client.acquire_cnts_t()
    assert counts.shape == (5, 2)
    assert counts[1:].mean() == pytest.approx(500, rel=0.5)


def test_calibration(client: Any, until: Any) -> None:
    client.set_dark_counts_auto_iv([100.0] * 4)
    client.auto_cali_bias_currents()
    until(lambda: client.get_bias_current() == [18.0] * 4)
    until(client.auto_cali_finished)
