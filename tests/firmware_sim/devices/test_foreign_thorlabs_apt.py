"""The APT emulators driven by clients that others wrote: pylablib, thorlabs-apt-protocol."""

from __future__ import annotations

import time
from typing import Any

import pytest
import serial

EXTRA = "is not installed (extra: peers)"
K10CR_COUNTS = 409_600 / 3


@pytest.fixture
def kinesis(monkeypatch: pytest.MonkeyPatch) -> Any:
    """pylablib's Kinesis module, without modem lines, which a pty does not have."""
    thorlabs = pytest.importorskip("pylablib.devices.Thorlabs", reason=f"pylablib {EXTRA}")
    monkeypatch.setattr(serial.Serial, "setRTS", lambda *_: None, raising=False)
    return thorlabs


@pytest.mark.proves("thorlabs-k10cr1", by="pylablib")
def test_pylablib_turns_the_mount(kinesis: Any, emulate: Any) -> None:
    unit = emulate("thorlabs-k10cr1")
    with kinesis.KinesisMotor(("serial", unit.path), scale="stage") as motor:
        assert motor.get_device_info().model_no == "K10CR1"
        motor.setup_homing(home_direction="reverse", velocity=10.0, offset_distance=4.0)
        motor.setup_velocity(max_velocity=10.0, acceleration=20.0)
        motor.home(timeout=5.0)
        assert motor.is_homed()
        motor.move_to(1.5)
        motor.wait_move(timeout=5.0)
        assert motor.get_position() == pytest.approx(1.5, abs=0.001)
        assert unit.port.get("angle1_deg") == pytest.approx(1.5, abs=0.001)
        motor.move_by(-0.5)
        motor.wait_move(timeout=5.0)
        assert motor.get_position() == pytest.approx(1.0, abs=0.001)
        motor.jog("+")
        motor.stop()
        motor.wait_for_stop()
        assert not motor.is_moving()
    assert unit.status()["internal_errors"] == 0


@pytest.mark.proves("thorlabs-mpc320", by="pylablib")
def test_pylablib_turns_the_paddles(kinesis: Any, emulate: Any) -> None:
    unit = emulate("thorlabs-mpc320")
    with kinesis.KinesisMotor(("serial", unit.path), scale="stage") as motor:
        motor._set_supported_channels([1, 2, 4])
        motor.setup_polctl(velocity=100)
        motor.send_comm(0x0210, 7, 1)  # its own _enable_channel reads one byte too many
        for channel in (1, 2, 4):
            motor.move_to(40.0, channel=channel)
            motor.wait_move(channel=channel, timeout=5.0)
            assert motor.get_position(channel=channel) == pytest.approx(40.0, abs=0.2)
        assert unit.port.get("angle3_deg") == pytest.approx(40.0, abs=0.2)


@pytest.mark.proves("thorlabs-k10cr1", by="thorlabs-apt-protocol")
def test_thorlabs_apt_protocol_packs_and_reads_every_frame(emulate: Any) -> None:
    apt = pytest.importorskip("thorlabs_apt_protocol", reason=f"thorlabs-apt-protocol {EXTRA}")
    unit, say = emulate("thorlabs-k10cr1"), apt.functions
    with serial.Serial(unit.path, timeout=0.01) as port:
        reader = apt.Unpacker(port, on_error="raise")

        def ask(frame: bytes, name: str) -> Any:
            port.write(frame)
            deadline = time.monotonic() + 5.0
            while time.monotonic() < deadline:
                for message in reader:
                    if message.msg == name:
                        return message
            raise AssertionError(f"no {name}")

        info = ask(say.hw_req_info(0x50, 1), "hw_get_info")
        assert info.model_number.rstrip(b"\0") == b"K10CR1"
        port.write(say.mot_set_velparams(0x50, 1, 1, 0, 15_020, 10 * 7_329_109))
        found = ask(say.mot_req_velparams(0x50, 1, 1), "mot_get_velparams")
        assert found.max_velocity == 73_291_090
        port.write(say.mot_set_homeparams(0x50, 1, 1, 2, 1, 73_291_090, 546_133))
        assert ask(say.mot_move_home(0x50, 1, 1), "mot_move_homed").chan_ident == 1
        done = ask(say.mot_move_absolute(0x50, 1, 1, 45_511), "mot_move_completed")
        assert done.position == 45_511
        assert ask(say.mot_req_poscounter(0x50, 1, 1), "mot_get_poscounter").position == 45_511
        status = ask(say.mot_req_statusupdate(0x50, 1, 1), "mot_get_statusupdate")
        assert status.homed
        assert not status.moving_forward
