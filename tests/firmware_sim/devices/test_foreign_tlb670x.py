"""The TLB-6700 emulator driven by QMI, with Windows as the reported platform."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.proves("newport-tlb670x", by="qmi")

tlb670x = pytest.importorskip(
    "qmi.instruments.newport.tlb670x", reason="qmi is not installed (extra: peers)"
)


class Context:
    """The part of a QMI context that the driver uses."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def test_qmi_tunes_and_emits(emulate: Any, until: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = emulate("newport-tlb670x", serial_number="1012", warm_up_s=0.02)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", lambda _: ctypes.CDLL(unit.path), raising=False)
    laser = tlb670x.NewFocus_TLB670X(Context(), "tlb", "SN1012")
    laser.open()
    assert laser.get_available_devices_info() == [(1, "6700 SN1012")]
    laser.set_wavelength(1551.0)
    assert laser.get_wavelength() == 1551.0
    laser.set_powermode(1)
    assert laser.get_powermode() == 1
    until(lambda: unit.port.power_mw == pytest.approx(4.0, rel=0.05))
    assert laser.check_error_status().startswith("0")
    laser.set_powermode(0)
    until(lambda: unit.port.power_mw == 0.0)
    laser.close()
    assert unit.device.internal_errors == 0
