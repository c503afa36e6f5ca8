"""The 33600A emulator driven by pymeasure."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.proves("keysight-33600a", by="pymeasure")

agilent = pytest.importorskip(
    "pymeasure.instruments.agilent", reason="pymeasure is not installed (extra: peers)"
)


def test_pymeasure_loads_and_plays_an_arbitrary_waveform(emulate: Any) -> None:
    unit = emulate("keysight-33600a")
    host, _, port = unit.device.address.removeprefix("tcp://").rpartition(":")
    generator = agilent.Agilent33500(
        f"TCPIP::{host}::{port}::SOCKET", visa_library="@py",
        read_termination="\n", write_termination="\n",
    )  # fmt: skip
    try:
        channel = generator.ch_1
        assert "33622A" in generator.id
        channel.data_volatile_clear()
        channel.data_arb("bits", [0] * 10 + [32767] * 10, data_format="DAC")
        channel.arb_file = "bits"
        assert channel.arb_file.strip('"') == "bits"
        channel.shape = "ARB"
        channel.arb_srate = 1e6
        channel.amplitude, channel.offset = 5.0, 2.5
        assert channel.amplitude == 5.0
        channel.output_load = 50
        channel.output = True
        assert channel.output
        # half of the time 2.5 V (half of the light of Vpi = 5 V), half of the time 5 V (dark)
        loss = unit.port.loss_db(unit.port.side)
        assert 10 ** (-(loss or unit.port.pump_loss_db()) / 10) == pytest.approx(0.25, abs=0.01)
        channel.output = False
        assert generator.check_errors() == []
    finally:
        generator.adapter.close()
        generator.adapter.manager.close()
    assert unit.status()["internal_errors"] == 0
