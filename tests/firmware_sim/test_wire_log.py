"""Record a wire, serve the recording, compare an emulator with it."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import serial

from photonlink.firmware_sim.kit.message import MessageDevice
from photonlink.firmware_sim.kit.registration import Registration, models
from photonlink.firmware_sim.program import Program
from photonlink.firmware_sim.single import bench_of
from photonlink.firmware_sim.wire_log.cassette import Cassette, CassetteError, load
from photonlink.firmware_sim.wire_log.commands import against_emulator, compare
from photonlink.firmware_sim.wire_log.host import connect
from photonlink.firmware_sim.wire_log.record import WireRecorder
from photonlink.firmware_sim.wire_log.serve import CassettePlayer
from photonlink.firmware_sim.wires.session import Session

QUESTIONS = [
    b"(param-ref 'serial-number)\n",
    b"(param-set! 'laser1:dl:cc:current-set 90.0)\n",
    b"(param-ref 'laser1:dl:cc:current-set)\n",
    b"(param-ref 'laser2:type)\n",
    b"(param-ref 'uptime)\n",
]


def _converse(address: str, questions: list[bytes]) -> list[bytes]:
    """Converse like a client: one question at a time, up to the prompt."""
    host, port = address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=5.0) as client:
        return [_ask(client, q) for q in [b"", *questions]]


def _ask(client: socket.socket, question: bytes) -> bytes:
    client.sendall(question)
    data = b""
    while not data.endswith(b"> "):
        data += client.recv(65536)
    return data


async def _record(tmp_path: Path, path: Path, **settings: Any) -> list[bytes]:
    config = bench_of(models()["toptica-dlc-pro"], "", settings, seed=3)
    (tmp_path / "run").mkdir(exist_ok=True)
    about = Cassette("tcp", "toptica-dlc-pro", "unit of the test", [r"\d{4}-\d\d-\d\dT[\d:.]+Z"])
    async with Program(config, tmp_path / "run") as program:
        with path.open("w", encoding="utf-8") as out:
            target = program.devices["unit"].address
            async with WireRecorder(target, out, about, "tcp", tmp_path / "link") as recorder:
                said = await asyncio.to_thread(_converse, recorder.address, QUESTIONS)
                await asyncio.sleep(0.1)
    return said


@pytest.fixture
async def tape(tmp_path: Path) -> tuple[Path, list[bytes]]:
    path = tmp_path / "dlc.jsonl"
    return path, await _record(tmp_path, path)


async def test_the_same_emulator_answers_alike_and_another_does_not(
    tape: tuple[Path, list[bytes]],
) -> None:
    cassette = load(tape[0])
    asked, found = await against_emulator(cassette, "toptica-dlc-pro", {}, 3, [])
    assert (asked, found) == (len(QUESTIONS) + 1, [])
    seeded = {"echo": True, "line_end": "\r\n"}
    _, found = await against_emulator(cassette, "toptica-dlc-pro", seeded, 3, [])
    assert len(found) == len(QUESTIONS)  # every question but not the banner
    _, found = await against_emulator(cassette, "toptica-dlc-pro", {}, 4, [])
    assert [d.question for d in found] == [QUESTIONS[0]]  # another serial number
    assert found[0].line > 1
    assert "DLC PRO_" in str(found[0])
    _, found = await against_emulator(cassette, "toptica-dlc-pro", {}, 4, [r"DLC PRO_\d+"])
    assert found == []


async def test_a_cassette_stands_in_for_the_device(tape: tuple[Path, list[bytes]]) -> None:
    path, said = tape
    complaints: list[str] = []
    player = CassettePlayer(load(path), complaints.append, "", path.with_suffix(".link"))
    await player.wire.plug()
    try:
        assert await asyncio.to_thread(_converse, player.wire.address, QUESTIONS) == said
        twice = [QUESTIONS[2], QUESTIONS[0], QUESTIONS[2]]
        got = await asyncio.to_thread(_converse, player.wire.address, twice)
        assert got[1] == got[3] == said[3]
        assert complaints == []
        host, port = player.wire.address.removeprefix("tcp://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"(param-ref 'laser1:dl:cc:current-sex)\n")
        async with asyncio.timeout(5):
            while not complaints:  # noqa: ASYNC110 - the player calls a plain function
                await asyncio.sleep(0.01)
        writer.close()
        assert "never asked" in complaints[0]
        assert "nearest: line" in complaints[0]
        assert "current-set" in complaints[0]
    finally:
        await player.wire.close()


async def test_a_serial_line_is_recorded_too(tmp_path: Path) -> None:
    config = bench_of(models()["sfifteen-irspd1"], "", {}, seed=3)
    (tmp_path / "run").mkdir()
    out = io.StringIO()
    async with Program(config, tmp_path / "run") as program:
        target = program.devices["unit"].address
        about = Cassette("serial", "sfifteen-irspd1")
        async with WireRecorder(target, out, about, "serial", tmp_path / "link") as recorder:

            def converse() -> bytes:
                path = recorder.address.removeprefix("serial://")
                with serial.Serial(path, timeout=5.0) as port:
                    port.write(b"settemp?;")
                    return port.readline()

            assert await asyncio.to_thread(converse) == b"-30.000\r\n"
    (tmp_path / "irspd1.jsonl").write_text(out.getvalue())
    cassette = load(tmp_path / "irspd1.jsonl")
    assert [(e.question, e.answer) for e in cassette.sessions()[0]] == [
        (b"settemp?;", b"-30.000\r\n")
    ]
    assert (await against_emulator(cassette, "sfifteen-irspd1", {}, 3, []))[1] == []
    other = {"temperature_c": -20.0}
    assert len((await against_emulator(cassette, "sfifteen-irspd1", other, 3, []))[1]) == 1


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: lines[:-1], "cut off after line"),
        (lambda lines: [*lines[:3], lines[3][:10], *lines[4:]], "line 4: damaged"),
        (lambda lines: [*lines[:3], *lines[4:]], "events were recorded"),
        (lambda lines: ["{}", *lines[1:]], "line 1: not the header"),
        (
            lambda lines: [*lines[:2], '{"t": 0, "s": 1, "d": "<", "hex": "zz"}', *lines[3:]],
            "line 3",
        ),
        (lambda lines: [], "empty"),
    ],
)
async def test_a_damaged_cassette_is_refused_by_line(
    tape: tuple[Path, list[bytes]], damage: Any, says: str
) -> None:
    path, _ = tape
    path.write_text("\n".join(damage(path.read_text().splitlines())))
    with pytest.raises(CassetteError, match=says):
        load(path)


def test_another_device_and_wrong_noise_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    top = {"cassette": 1, "model": "toptica-dlc-pro", "wire": "tcp", "noise": []}
    path.write_text(json.dumps(top) + '\n{"end": 0}\n')
    with pytest.raises(CassetteError, match="line 1: recorded from a toptica-dlc-pro"):
        compare([str(path), "sfifteen-tdc1"])
    with pytest.raises(CassetteError, match="wire 'tcp'"):
        compare([str(path), "sfifteen-tdc1", "--other-device"])
    with pytest.raises(CassetteError, match="noise"):
        compare([str(path), "toptica-dlc-pro", "--noise", "("])


def test_the_commands(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "photonlink.firmware_sim"]
    top = {"cassette": 1, "model": "", "wire": "tcp", "noise": []}
    events = [
        {"t": 0.0, "s": 1, "d": "<", "text": "hello\n"},
        {"t": 0.1, "s": 1, "d": ">", "text": "x?\n"},
        {"t": 0.2, "s": 1, "d": "<", "hex": "ff0a"},
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(json.dumps(e) for e in [top, *events, {"end": 3}]) + "\n")
    served = subprocess.Popen(
        [*program, "serve-wire", str(path)], stdout=subprocess.PIPE, text=True
    )
    assert served.stdout is not None
    address = served.stdout.readline().strip()
    recorded = subprocess.Popen(
        [*program, "record-wire", address, str(tmp_path / "copy.jsonl")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert recorded.stdout is not None
    proxy = recorded.stdout.readline().strip()
    done = subprocess.run(
        [*program, "compare-wire", str(path), proxy], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "2 questions, 0 answered otherwise\n"
    for process in (recorded, served):
        process.terminate()
        process.communicate(timeout=10)
        assert process.returncode == 0
    copy = load(tmp_path / "copy.jsonl").sessions()
    assert [(e.question, e.answer) for e in copy[0]] == [(b"", b"hello\n"), (b"x?\n", b"\xff\n")]


async def test_zmq_is_recorded_served_and_compared(tmp_path: Path) -> None:
    class Echo(MessageDevice):
        WIRES = ("zmq",)

        def handle(self, message: bytes, session: Session) -> bytes:
            return message.upper()

    device = Registration("t", "", Echo, "").create("unit", {})
    await device.start(tmp_path)
    out = io.StringIO()
    try:
        about = Cassette("zmq")
        async with WireRecorder(device.address, out, about, "zmq", tmp_path / "x") as recorder:
            host = await connect(recorder.address)
            for asked, reply in ((b"abc", b"ABC"), (b"", b"")):
                await host.write(asked)
                assert await asyncio.wait_for(host.read(), 5) == reply
            await host.close()
        path = tmp_path / "zmq.jsonl"
        path.write_text(out.getvalue())
        player = CassettePlayer(load(path), pytest.fail, "", tmp_path / "y")
        await player.wire.plug()
        for address in (device.address, player.wire.address):
            host = await connect(address)
            await host.write(b"abc")
            assert await asyncio.wait_for(host.read(), 5) == b"ABC"
            await host.close()
        await player.wire.close()
    finally:
        await device.stop()
