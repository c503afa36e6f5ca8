"""The Pulse Streamer emulator driven by the vendor's own client."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.proves("swabian-pulse-streamer", by="pulsestreamer")

vendor = pytest.importorskip(
    "pulsestreamer", reason="pulsestreamer is not installed (extra: peers)"
)


@pytest.fixture
def client(emulate: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client; its two port numbers are constants, the emulator's are free ones."""
    from pulsestreamer.jrpc import pulse_streamer_jrpc as jrpc
    from pulsestreamer.pulse_streamer_base import PulseStreamerBase

    unit = emulate("swabian-pulse-streamer", amplifier=5.0)
    transport, address = jrpc.HttpPostClientTransport, unit.device.addresses()
    monkeypatch.setattr(
        jrpc, "HttpPostClientTransport",
        lambda _, **more: transport(address["command"] + "/json-rpc", **more),
    )  # fmt: skip
    port = int(address["upload"].rpartition(":")[2])
    monkeypatch.setattr(PulseStreamerBase, "_BINARY_PORT", port)
    streamer = vendor.PulseStreamer("127.0.0.1")
    yield unit, streamer
    streamer._PulseStreamerBase__binary_close()


def test_the_vendor_s_client_plays_a_sequence(client: Any) -> None:
    unit, streamer = client
    assert streamer.getSerial() == unit.device.serial_number
    sequence = streamer.createSequence()
    sequence.setDigital(0, [(100, 1), (300, 0)])
    sequence.setAnalog(0, [(100, 1.0), (300, 0.0)])
    streamer.stream(sequence, vendor.PulseStreamer.REPEAT_INFINITELY)
    assert streamer.isStreaming()
    assert streamer.hasSequence()
    played = [step[:3] for step in unit.device.player.sequence.steps]
    assert played == [(100, 1, 0x7FFF), (300, 0, 0)]
    streamer.constant(vendor.OutputState([0, 3], 0.5, -0.5))
    assert unit.device.player.output == (9, 16384, -16384)
    streamer.setTrigger(vendor.TriggerStart.SOFTWARE)
    streamer.stream(sequence, 2)
    assert not streamer.isStreaming()
    streamer.startNow()
    streamer.forceFinal()
    assert streamer.hasFinished()
    streamer.selectClock(vendor.ClockSource.EXT_10MHZ)
    assert streamer.getClock() == vendor.ClockSource.EXT_10MHZ
    assert streamer.getUnderflow() == 0
    streamer.reset()
    assert unit.device.player.output == (0, 0, 0)
    assert unit.status()["internal_errors"] == 0
