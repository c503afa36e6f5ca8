"""A proxy between any client and a device that writes everything into a cassette."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from pathlib import Path
from typing import TextIO

from photonlink.firmware_sim.wire_log.cassette import Cassette, Event, header, render
from photonlink.firmware_sim.wire_log.host import WireHost, connect
from photonlink.firmware_sim.wires.factory import make_wire
from photonlink.firmware_sim.wires.session import Session, Wire


class WireRecorder:
    """``async with Recorder(...)``; clients connect to ``address``.

    Every event is flushed at once: after a crash the file is complete up to its last line.
    """

    def __init__(
        self, target: str, out: TextIO, about: Cassette, listen: str, default_link: Path
    ) -> None:
        self._target, self._out = target, out
        self._wire: Wire = make_wire(listen, self._serve, default_link)
        self._start = time.monotonic()
        self._numbers = itertools.count(1)
        self.events = 0
        self.failures: list[str] = []
        self._say(header(about))

    @property
    def address(self) -> str:
        """Where clients find the device now."""
        return self._wire.address

    async def __aenter__(self) -> WireRecorder:
        await self._wire.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._wire.close()
        self._say(f'{{"end": {self.events}}}')

    def _say(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()

    def _event(self, session: int, direction: str, data: bytes = b"") -> None:
        self.events += 1
        self._say(render(Event(time.monotonic() - self._start, session, direction, data)))

    async def _serve(self, client: Session) -> None:
        number = next(self._numbers)
        try:
            device = await connect(self._target)
        except (OSError, ValueError) as error:
            self.failures.append(f"{self._target}: {error}")
            return
        self._event(number, "open")
        pumps = [
            asyncio.create_task(self._to_device(number, client, device)),
            asyncio.create_task(self._to_client(number, client, device)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pump
            await device.close()
            self._event(number, "close")

    async def _to_device(self, number: int, client: Session, device: WireHost) -> None:
        while (data := await client.read()) is not None:
            self._event(number, ">", data)
            await device.write(data)

    async def _to_client(self, number: int, client: Session, device: WireHost) -> None:
        while (data := await device.read()) is not None:
            self._event(number, "<", data)
            await client.write(data)
