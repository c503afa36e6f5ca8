"""``record-wire``, ``serve-wire`` and ``compare-wire``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from photonlink.firmware_sim.control import parse_assignments
from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.firmware_sim.wire_log import compare as comparing
from photonlink.firmware_sim.wire_log.cassette import Cassette, CassetteError, load
from photonlink.firmware_sim.wire_log.record import WireRecorder
from photonlink.firmware_sim.wire_log.serve import CassettePlayer


def record(words: list[str]) -> int:
    """Sit between a client and a device until Ctrl-C."""
    p = argparse.ArgumentParser(prog="photonlink record-wire", description=record.__doc__)
    p.add_argument("device", help="tcp://HOST:PORT, serial:///dev/…[?baud=N] or zmq://HOST:PORT")
    p.add_argument("cassette", type=Path, help="file to write; must not exist")
    p.add_argument("--listen", default="", help="where clients connect (default: a free address)")
    p.add_argument("--model", default="", help="the emulator's id, when there is one")
    p.add_argument("--about", default="", help="which unit, firmware, who recorded it")
    p.add_argument("--noise", action="append", default=[], help="regular expression of what varies")
    args = p.parse_args(words)
    scheme = args.device.partition(":")[0]
    about = Cassette(scheme, args.model, args.about, args.noise)
    about.noise_pattern([])
    link = Path(tempfile.mkdtemp(prefix="photonlink-wire-")) / "device"
    with args.cassette.open("x", encoding="utf-8") as out:
        recorder = WireRecorder(args.device, out, about, args.listen or scheme, link)
        asyncio.run(_record(recorder))
    print(f"{recorder.events} events in {args.cassette}")
    for failure in recorder.failures:
        print(failure, file=sys.stderr)
    return 1 if recorder.failures else 0


async def _record(recorder: WireRecorder) -> None:
    async with recorder:
        print(recorder.address, flush=True)
        await _until_told()


async def _until_told() -> None:
    """SIGINT, SIGTERM or SIGHUP."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()


def serve(words: list[str]) -> int:
    """Stand in for the device of a cassette until Ctrl-C."""
    p = argparse.ArgumentParser(prog="photonlink serve-wire", description=serve.__doc__)
    p.add_argument("cassette", type=Path)
    p.add_argument("--address", default="", help="where (default: a free one of the same kind)")
    args = p.parse_args(words)
    cassette = load(args.cassette)
    link = Path(tempfile.mkdtemp(prefix="photonlink-wire-")) / "device"
    complaints: list[str] = []

    def complain(text: str) -> None:
        complaints.append(text)
        print(f"{args.cassette}: {text}", file=sys.stderr, flush=True)

    player = CassettePlayer(cassette, complain, args.address, link)
    asyncio.run(_serve(player))
    return 1 if complaints else 0


async def _serve(player: CassettePlayer) -> None:
    await player.wire.plug()
    try:
        print(player.wire.address, flush=True)
        await _until_told()
    finally:
        await player.wire.close()


def compare(words: list[str]) -> int:
    """Ask an emulator all questions of a cassette, and show where its answers differ."""
    p = argparse.ArgumentParser(prog="photonlink compare-wire", description=compare.__doc__)
    p.add_argument("cassette", type=Path)
    p.add_argument("model", help="the emulator's id, or the address of anything that runs")
    p.add_argument("--noise", action="append", default=[], help="regular expression of what varies")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    p.add_argument("--other-device", action="store_true", help="the cassette is of another model")
    args = p.parse_args(words)
    cassette = load(args.cassette)
    noise = cassette.noise_pattern(args.noise)
    if "://" in args.model:
        asked, found = asyncio.run(comparing.compare(cassette, args.model, noise))
    else:
        _same_device(cassette, args.model, args.cassette, args.other_device)
        settings = parse_assignments(args.set)
        work = against_emulator(cassette, args.model, settings, args.seed, args.noise)
        asked, found = asyncio.run(work)
    for difference in found:
        print(difference)
    print(f"{asked} questions, {len(found)} answered otherwise")
    return 1 if found else 0


def _same_device(cassette: Cassette, model: str, path: Path, other: bool) -> None:
    if model not in models():
        raise ValueError(f"no model {model!r}; known: {', '.join(sorted(models()))}")
    if cassette.model and cassette.model != model and not other:
        raise CassetteError(
            f"{path}, line 1: recorded from a {cassette.model}, not a {model} "
            "(--other-device compares all the same)"
        )
    if cassette.wire not in models()[model].device.WIRES:
        wires = ", ".join(models()[model].device.WIRES)
        raise CassetteError(f"{path}, line 1: wire {cassette.wire!r}; a {model} has {wires}")


async def against_emulator(
    cassette: Cassette, model: str, settings: dict[str, object], seed: int, noise: list[str]
) -> tuple[int, list[comparing.AnswerDifference]]:
    """Start the emulator, compare, stop it."""
    settings = {"address": cassette.wire, **settings}
    config = bench_of(models()[model], "", settings, seed)
    with tempfile.TemporaryDirectory(prefix="photonlink-wire-") as folder:
        async with Program(config, Path(folder)) as program:
            address = program.devices["unit"].address
            return await comparing.compare(cassette, address, cassette.noise_pattern(noise))
