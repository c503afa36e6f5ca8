"""Our rules as udev applies them: every device of every driver, by ``udevadm test``.

The devices are mocked by umockdev; udev is Debian's, with its own rules beside ours, in a mount
namespace of its own. Nothing of the machine is touched and no udevd runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from photonlink.hal.registry import Registration, registry

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "udev" / "70-photonlink.rules"
UDEV = ROOT / "build" / "udev"  # .ci/run unpacks the package here; installing it starts udevd
NAMES = {"name:S-Fifteen_Instruments*": ("S-Fifteen Instruments", "TDC1", "TDC1-0042")}
GROUP = "photonlink:x:4242:"


@dataclass(frozen=True)
class Mocked:
    """One device. line: whether it is a serial line; else a library or VISA opens it."""

    what: str
    usb_id: str
    line: bool
    manufacturer: str = "maker"
    product: str = "thing"
    serial: str = "0001"

    def umockdev(self, n: int) -> tuple[str, str]:
        """(description, path of the node that is opened)."""
        usb = f"/devices/pci0000:00/0000:00:14.0/usb1/1-{n}"
        vendor, product = self.usb_id.split(":")
        text = (
            f"P: {usb}\nN: bus/usb/001/{n:03}\nE: DEVTYPE=usb_device\nE: SUBSYSTEM=usb\n"
            f"E: DEVNAME=/dev/bus/usb/001/{n:03}\nA: idVendor={vendor}\\n\n"
            f"A: idProduct={product}\\n\nA: manufacturer={self.manufacturer}\\n\n"
            f"A: product={self.product}\\n\nA: serial={self.serial}\\n\nA: bcdDevice=0100\\n\n"
            f"A: busnum=1\\n\nA: devnum={n}\\n\n\n"
        )
        if not self.line:
            return text, usb
        face = f"{usb}/1-{n}:1.0"
        text += (
            f"P: {face}\nE: DEVTYPE=usb_interface\nE: SUBSYSTEM=usb\nA: bInterfaceNumber=00\\n\n"
            f"A: bInterfaceClass=02\\n\nA: bInterfaceSubClass=02\\n\n\n"
            f"P: {face}/tty/ttyACM{n}\nN: ttyACM{n}\nE: DEVNAME=/dev/ttyACM{n}\nE: SUBSYSTEM=tty\n"
            f"E: MAJOR=166\nE: MINOR={n}\n"
            f"A: dev=166:{n}\\n\n\n"
        )
        return text, f"{face}/tty/ttyACM{n}"


@dataclass
class Verdict:
    """The result of udev's rules for a device."""

    mode: str = ""
    group: str = ""
    tags: str = ""
    links: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def granted(self) -> bool:
        return self.mode == "0660" and self.group == "4242" and ":uaccess:" in self.tags


def devices_of(name: str, entry: Registration) -> Iterator[Mocked]:
    """Every USB device that a driver claims, in every form in which it appears."""
    lines = [True] * ("serial" in entry.transports)
    lines += [False] * bool({"visa", "lib"} & set(entry.transports))
    for usb in entry.usb:
        for line in lines:
            if usb in NAMES:
                yield Mocked(name, "04b4:00a0", line, *NAMES[usb])
                continue
            numbers, *more = usb.split(" ")
            told = dict(part.split("=") for part in more)
            told = {key: value.replace("*", "12345678") for key, value in told.items()}
            yield Mocked(name, numbers, line, **told)


def ask_udev(devices: Iterable[Mocked], folder: Path, rules: str) -> list[Verdict]:
    """Run ``udevadm test`` for each."""
    tool = shutil.which("udevadm") or str(UDEV / "bin" / "udevadm")
    described = [d.umockdev(n) for n, d in enumerate(devices, 1)]
    (folder / "devices").write_text("".join(text for text, _ in described))
    (folder / "rules").write_text(rules)
    (folder / "group").write_text(Path("/etc/group").read_text() + GROUP + "\n")
    asked = "\n".join(
        f"echo '== {path}'; '{tool}' test --action=add /sys{path} 2>&1" for _, path in described
    )
    (folder / "ask").write_text(asked)
    (folder / "box").write_text(
        "set -e\nmount --rbind /dev /dev; mount -o remount,bind,ro /dev\n"
        f"mount --bind '{folder}/group' /etc/group\n"
        f"mount -t tmpfs none /run; mkdir -p /run/udev/rules.d\n"
        f"cp '{UDEV}'/lib/udev/rules.d/*.rules /run/udev/rules.d/ 2>/dev/null || true\n"
        f"cp '{folder}/rules' '/run/udev/rules.d/{RULES.name}'\n"
        f"exec umockdev-run -d '{folder}/devices' -- sh '{folder}/ask'\n"
    )
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        ["unshare", *own, "--mount", "sh", str(folder / "box")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    parts = re.split(r"^== .*$", done.stdout, flags=re.MULTILINE)[1:]
    assert len(parts) == len(described), done.stdout + done.stderr
    return [_read(part) for part in parts]


def _read(said: str) -> Verdict:
    properties = dict(re.findall(r"^([A-Z_0-9]+)=(.*)$", said, re.MULTILINE))

    def last(pattern: str) -> str:
        return (re.findall(pattern, said) or [""])[-1]

    links = re.findall(r"LINK '?([^'\s]+)'?", said) + properties.get("DEVLINKS", "").split()
    ours = rf"{re.escape(RULES.name)}:\d+ "
    return Verdict(
        last(ours + r"MODE (\d+)"), last(ours + r"GROUP (\d+)"), properties.get("TAGS", ""),
        links, properties,
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    missing = [t for t in ("umockdev-run", "unshare") if shutil.which(t) is None]
    if not (shutil.which("udevadm") or (UDEV / "bin" / "udevadm").exists()):
        missing.append("udevadm")
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (apt: umockdev; udev, unpacked into build/udev)")
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(["unshare", *own, "--mount", "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this machine gives no mount namespace")


def test_udev_gives_every_device_of_every_driver_to_its_users(tmp_path: Path) -> None:
    devices = [d for name, e in registry().drivers.items() for d in devices_of(name, e)]
    assert len({d.what for d in devices}) == sum(bool(e.usb) for e in registry().drivers.values())
    found = ask_udev(devices, tmp_path, RULES.read_text())
    wrong = [f"{d}: {v}" for d, v in zip(devices, found, strict=True) if not v.granted]
    assert not wrong, "\n".join(wrong)
    for device, verdict in zip(devices, found, strict=True):
        if device.line:
            name = verdict.properties["ID_SERIAL"]
            assert any(link.endswith(f"photonlink/{name}") for link in verdict.links), verdict
            assert verdict.properties["ID_MM_DEVICE_IGNORE"] == "1"


def test_udev_gives_nothing_else_away(tmp_path: Path) -> None:
    devices = [
        Mocked("a mouse", "046d:c077", line=False),
        Mocked("an Arduino", "2341:0043", line=True),
        Mocked("any FTDI line", "0403:6014", line=True, product="FT232H"),
        Mocked("another Thorlabs stage", "0403:faf0", line=True, serial="27012345"),
    ]
    found = ask_udev(devices, tmp_path, RULES.read_text())
    assert [v.granted for v in found] == [False] * len(devices)
    assert not any("photonlink" in link for v in found for link in v.links)


def test_a_wrong_number_in_a_rule_is_seen(tmp_path: Path) -> None:
    rules = RULES.read_text().replace('idProduct}=="0013"', 'idProduct}=="0014"')
    device = Mocked("picoquant.multiharp150", "0e0d:0013", line=False)
    assert not ask_udev([device], tmp_path, rules)[0].granted
