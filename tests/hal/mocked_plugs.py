"""Plug a device into a mocked machine and out, and print the events; run by umockdev-wrapper.

The testbed is driven through libumockdev's C functions; python3-gi is not needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes

from photonlink.hal import hotplug
from photonlink.pipeline.bench.scan import lines, scan

USB = "/devices/pci0000:00/0000:00:14.0/usb1/1-2"
DEVICE = f"""P: {USB}
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
E: ID_SERIAL=S-Fifteen_Instruments_TDC1_TDC1-0042
A: idVendor=04b4\\n
A: idProduct=00a0\\n
A: bDeviceClass=00\\n
A: manufacturer=S-Fifteen Instruments\\n
A: product=TDC1\\n
A: serial=TDC1-0042\\n

P: {USB}/1-2:1.0/tty/ttyACM7
N: ttyACM7
E: DEVNAME=/dev/ttyACM7
E: SUBSYSTEM=tty
A: dev=166:7\\n
L: device=../../../1-2:1.0

"""


class Testbed:
    """The part of libumockdev that is needed."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL("libumockdev.so.0")
        self._lib.umockdev_testbed_new.restype = ctypes.c_void_p
        self._bed = ctypes.c_void_p(self._lib.umockdev_testbed_new())

    def add(self, text: str) -> None:
        added = self._lib.umockdev_testbed_add_from_string(self._bed, text.encode(), None)
        assert added, "umockdev refuses the device"

    def uevent(self, path: str, action: str) -> None:
        self._lib.umockdev_testbed_uevent(self._bed, f"/sys{path}".encode(), action.encode())

    def remove(self, path: str) -> None:
        self._lib.umockdev_testbed_remove_device(self._bed, f"/sys{path}".encode())


async def main() -> None:
    bed = Testbed()
    with hotplug._kernel_events(asyncio.Event()) as heard:
        print("kernel events:", heard)
    async with contextlib.aclosing(hotplug.plug_events(poll_s=5.0)) as events:
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.5)
        bed.add(DEVICE)
        for path in (USB, f"{USB}/1-2:1.0/tty/ttyACM7"):
            bed.uevent(path, "add")
        seen = await asyncio.wait_for(waiting, 20)
        print("came:", seen.came, seen.device)
        print("\n".join(lines(scan())))
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.2)
        for path in (f"{USB}/1-2:1.0/tty/ttyACM7", USB):
            bed.uevent(path, "remove")
            bed.remove(path)
        seen = await asyncio.wait_for(waiting, 20)
        print("came:", seen.came, seen.device)


asyncio.run(main())
