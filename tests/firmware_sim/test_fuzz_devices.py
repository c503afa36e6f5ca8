"""Random bytes to every emulator: it keeps running, and its code raises no exception."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from photonlink.firmware_sim.kit.registers import marked
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.firmware_sim.wire_log.host import TcpHost, WireHost, connect

WORDS = {
    "sfifteen-irspd1": b"hvolt threshvolt loop pvolt time settemp delay help save *idn? temp? ;",
    "sfifteen-tdc1": b"time refclk neg pos singles pairs timestamp counts? abort *rst help mode? ;",
    "toptica-dlc-pro": b"(param-ref (param-set! 'laser1:dl:cc:enabled (exec 'ul #t \"x &YQ== `",
}
ROUNDS = 60


def noise(rng: random.Random, words: list[bytes]) -> bytes:
    """Bytes for a device: its own words in random order, numbers, and random bytes."""
    parts = []
    for _ in range(rng.randrange(1, 20)):
        kind = rng.random()
        if kind < 0.6 and words:
            parts.append(rng.choice(words))
        elif kind < 0.8:
            parts.append(str(rng.choice([0, 1, -1, 1e300, 65536, "nan", "9" * 50])).encode())
        else:
            parts.append(rng.randbytes(rng.randrange(1, 30)))
        parts.append(rng.choice([b" ", b";", b"\r\n", b""]))
    return b"".join(parts)


async def _drain(host: WireHost) -> None:
    while await host.read() is not None:
        pass


def _words(model: str) -> list[bytes]:
    """The names of the model's registers and commands, besides the words above."""
    device = models()[model].device
    names = [r.name for r in device.REGISTERS]
    names += [*marked(device, "reading"), *marked(device, "command")]
    return [*WORDS.get(model, b"").split(b" "), *(n.encode() for n in names), b"?"]


@pytest.mark.row("an emulator raises for its input")
@pytest.mark.parametrize("model", sorted(models()))
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_bytes_kill_it(model: str, seed: int, tmp_path: Path) -> None:
    rng = random.Random(f"{model} {seed}")
    words = _words(model)
    config = bench_of(models()[model], "", {}, seed)
    async with Program(config, tmp_path) as program:
        device = program.devices["unit"]
        for _ in range(3):
            hosts = [await _connect(device.addresses()[name]) for name in device.addresses()]
            readers = [asyncio.create_task(_drain(h)) for h in hosts]
            for _ in range(ROUNDS // 3):
                for host in hosts:
                    async with asyncio.timeout(10):
                        await host.write(noise(rng, words))
            await asyncio.sleep(0.05)
            for reader, host in zip(readers, hosts, strict=True):
                reader.cancel()
                await asyncio.wait([reader])
                await host.close()
        assert device.internal_errors == 0
        assert device.status()["plugged"]
        device.safe_off()


class UdpHost(asyncio.DatagramProtocol):
    """A peer of a UDP port that only sends."""

    def __init__(self, host: str, port: int) -> None:
        self._peer = (host, port)
        self._transport: asyncio.DatagramTransport | None = None

    async def read(self) -> None:
        return None

    async def write(self, data: bytes) -> None:
        if self._transport is None:
            loop = asyncio.get_running_loop()
            made = await loop.create_datagram_endpoint(lambda: self, remote_addr=self._peer)
            self._transport = made[0]
        self._transport.sendto(data)

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def _connect(address: str) -> WireHost:
    """Connect to the input of a device's wire of any kind."""
    scheme, _, rest = address.partition("://")
    if scheme in ("lib", "package"):  # the library's socket
        (beside,) = Path(rest).parent.glob("*.sock")
        return TcpHost(*await asyncio.open_unix_connection(str(beside)))
    if scheme == "program":
        return TcpHost(*await asyncio.open_unix_connection(f"{rest}.socket"))
    host, _, port = rest.rpartition(":")
    if scheme == "udp":
        return UdpHost(host, int(port))
    return await connect(f"tcp://{rest}" if scheme in ("http", "zmq") else address)
