"""Discovery over a tree of files like sysfs; nothing is opened."""

from __future__ import annotations

from pathlib import Path

from photonlink.hal.discovery import PluggedIn, plugged_in
from photonlink.hal.links import Address


def usb(sysfs: Path, name: str, **values: str) -> Path:
    device = sysfs / "devices" / "pci0" / "usb1" / name
    device.mkdir(parents=True)
    for key, value in values.items():
        (device / key).write_text(value + "\n")
    (sysfs / "bus/usb/devices").mkdir(parents=True, exist_ok=True)
    (sysfs / "bus/usb/devices" / name).symlink_to(device)
    return device


def tty(sysfs: Path, parent: Path | None, name: str) -> None:
    folder = sysfs / "class" / "tty" / name
    folder.mkdir(parents=True)
    if parent is not None:
        interface = parent / "1:1.0"
        interface.mkdir()
        (folder / "device").symlink_to(interface)


def test_ports_and_library_devices_are_listed_with_stable_names(tmp_path: Path) -> None:
    sysfs, dev = tmp_path / "sys", tmp_path / "dev"
    usb(sysfs, "usb1", idVendor="1d6b", idProduct="0002", bDeviceClass="09")
    usb(sysfs, "1-1", idVendor="0e0d", idProduct="0013", product="MultiHarp 150", serial="1045678")
    tagger = usb(
        sysfs,
        "1-2",
        idVendor="04b4",
        idProduct="f232",
        manufacturer="S-Fifteen Instruments",
        product="TDC1",
        serial="TDC1-0001",
    )
    tty(sysfs, tagger, "ttyACM0")
    tty(sysfs, None, "console")
    (dev / "serial/by-id").mkdir(parents=True)
    (dev / "ttyACM0").touch()
    by_id = dev / "serial/by-id/usb-S-Fifteen_Instruments_TDC1-0001-if00"
    by_id.symlink_to("../../ttyACM0")

    found = plugged_in(sysfs, dev)
    assert found == [
        PluggedIn(f"serial://{by_id}", "04b4:f232", "S-Fifteen Instruments", "TDC1", "TDC1-0001"),
        PluggedIn("", "0e0d:0013", "", "MultiHarp 150", "1045678"),
    ]
    assert Address.parse(found[0].address).path == str(by_id)


def test_without_a_stable_name_the_kernel_s_is_shown_and_no_sysfs_is_no_error(
    tmp_path: Path,
) -> None:
    device = usb(tmp_path, "1-3", idVendor="0403", idProduct="6014")
    tty(tmp_path, device, "ttyUSB0")
    assert [d.address for d in plugged_in(tmp_path, tmp_path / "dev")] == [
        f"serial://{tmp_path}/dev/ttyUSB0"
    ]
    assert plugged_in(tmp_path / "nothing", tmp_path) == []
