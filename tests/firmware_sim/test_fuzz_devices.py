"""Random bytes into every emulator: it lives, answers afterwards, and its own code never failed."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.firmware_sim.wire_log.host import Host, connect

WORDS = {
    "sfifteen-irspd1": b"hvolt threshvolt loop pvolt time settemp delay help save *idn? temp? ;",
    "sfifteen-tdc1": b"time refclk neg pos singles pairs timestamp counts? abort *rst help mode? ;",
    "toptica-dlc-pro": b"(param-ref (param-set! 'laser1:dl:cc:enabled (exec 'ul #t \"x &YQ== `",
}
ROUNDS = 60


def noise(rng: random.Random, words: list[bytes]) -> bytes:
    """Bytes that a device might hear: its own words in disorder, numbers, and anything."""
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


async def _drain(host: Host) -> None:
    while await host.read():
        pass


@pytest.mark.parametrize("model", sorted(models()))
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_bytes_kill_it(model: str, seed: int, tmp_path: Path) -> None:
    rng = random.Random(f"{model} {seed}")
    words = WORDS.get(model, b"").split(b" ")
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


async def _connect(address: str) -> Host:
    if address.startswith("lib://"):  # the socket beside the library: what a library may send
        from photonlink.firmware_sim.wire_log.host import TcpHost

        beside = Path(address.removeprefix("lib://")).parent / "mh150.sock"
        return TcpHost(*await asyncio.open_unix_connection(str(beside)))
    return await connect(address)
