"""The IRSPD1 emulator driven by S-Fifteen's own client."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = pytest.mark.proves("sfifteen-irspd1", by="s15lib")

spd = pytest.importorskip(
    "S15lib.instruments.single_photon_detector", reason="s15lib is not installed (extra: peers)"
)


@pytest.fixture
def unit(emulate: Any) -> Any:
    return emulate("sfifteen-irspd1", settling_s=0.1)


@pytest.fixture
def client(unit: Any) -> Any:
    detector = spd.SinglePhotonDetector(unit.path)
    yield detector
    detector._com.close()


def test_identity_help_and_settings(client: Any, unit: Any) -> None:
    assert "SPD" in client.identity()
    assert "HVOLT" in client.help()
    for name, value in (("hvolt", 61.5), ("threshvolt", 0.12), ("constp", 0.3), ("consti", 0.02)):
        setattr(client, name, value)
        time.sleep(0.02)  # sets have no reply; the client flushes its output before it asks
        assert getattr(client, name) == pytest.approx(value)
    client.delay = 3000
    time.sleep(0.02)
    assert client.delay == 3000
    assert unit.port.dead_time_s == pytest.approx(3e-6)
    assert unit.port.threshold_mv == pytest.approx(120.0)
    assert unit.port.excess_v == pytest.approx(1.5, abs=0.02)


def test_counts_are_the_clicks_of_the_gate(client: Any, unit: Any) -> None:
    assert client.counts(0.1) == 0  # no bias, no avalanches
    client.hvolt = 62.0
    assert client.counts(0.5) == pytest.approx(5000, rel=0.1)


def test_cooling_loop(client: Any, unit: Any, until: Any) -> None:
    assert client.temperature == pytest.approx(-30.0, abs=0.1)
    client.temperature = -40.0
    until(lambda: abs(client.temperature + 40.0) < 0.2)
    assert client.settemperature == -40.0
    client.hvolt = 61.0
    assert unit.port.excess_v == pytest.approx(2.0, abs=0.05)  # colder: lower breakdown voltage
    client.temp_stabilization_off()
    until(lambda: client.temperature > 15.0)
    assert client.loop == 0
    until(lambda: unit.port.temperature_c > 15.0)
    assert unit.port.excess_v < 0
