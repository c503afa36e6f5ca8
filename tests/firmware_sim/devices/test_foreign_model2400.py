"""The Keithley 2400 emulator driven by pymeasure's client."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.proves("keithley-model2400", by="pymeasure")

keithley = pytest.importorskip(
    "pymeasure.instruments.keithley", reason="pymeasure is not installed (extra: peers)"
)


def test_pymeasure_sources_current_and_measures(emulate: Any) -> None:
    unit = emulate("keithley-model2400")
    host, _, port = unit.path.partition(":")
    smu = keithley.Keithley2400(
        f"TCPIP::{host}::{port}::SOCKET", visa_library="@py",
        read_termination="\n", write_termination="\n",
    )  # fmt: skip
    try:
        smu.source_mode = "current"
        assert smu.source_mode == "current"
        smu.source_current_range = 20e-6
        smu.compliance_voltage = 1
        assert smu.compliance_voltage == 1.0
        smu.source_current = 18e-6
        smu.enable_source()
        assert smu.source_enabled
        assert unit.port.excess_v == pytest.approx(2.0, abs=0.01)
        found = smu.measure_all()
        assert found["current"] == pytest.approx(18e-6, rel=1e-3)
        assert found["voltage"] == pytest.approx(9e-4, rel=1e-3)
        assert smu.check_errors() == []
        smu.disable_source()
        assert not smu.source_enabled  # answered after the command was carried out
        assert not unit.status()["output"]
        assert unit.port.excess_v < 0.0
    finally:
        smu.adapter.close()
        smu.adapter.manager.close()
