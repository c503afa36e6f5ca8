"""Addresses with different names that lead to one device are recognised."""

from __future__ import annotations

import os
from pathlib import Path

from photonlink.hal.ownership import device_key


def test_two_names_of_a_port_are_one_device(tmp_path: Path) -> None:
    (tmp_path / "ttyACM0").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyACM0")
    assert device_key(f"serial://{tmp_path}/by-id") == device_key(f"serial://{tmp_path}/ttyACM0")
    assert device_key(f"serial://{tmp_path}/by-id?baud=9600") == device_key(
        f"serial://{tmp_path}/by-id"
    )


def test_a_pseudo_terminal_s_number_is_no_device(tmp_path: Path) -> None:
    """An emulator ends and another one's line gets its pty number, while the owner of the first
    still waits for it to come back."""
    controller, line = os.openpty()
    try:
        for name in ("first", "second"):
            (tmp_path / name).symlink_to(os.ttyname(line))
    finally:
        os.close(controller)
        os.close(line)
    first, second = (device_key(f"serial://{tmp_path / name}") for name in ("first", "second"))
    assert first != second
    assert first == device_key(f"serial://{tmp_path}/../{tmp_path.name}/first")
