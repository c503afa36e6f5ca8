"""The kit of which emulators are built, with small instruments defined here."""

from __future__ import annotations

import ast
import asyncio
import json
import struct
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
import zmq.asyncio

import photonlink.firmware_sim as sim
from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.frame import Apt, FrameDevice, Itla, Stx, crc16
from photonlink.firmware_sim.kit.line import LineDevice
from photonlink.firmware_sim.kit.message import JsonRpcDevice, MessageDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register, command, reading
from photonlink.firmware_sim.kit.registration import Catalogue, Registration, catalogue, models
from photonlink.firmware_sim.kit.scpi import ScpiDevice, block, number, pattern
from photonlink.firmware_sim.kit.sweep import Sweep
from photonlink.firmware_sim.optical_table import OpticalTable, TableParameterError
from photonlink.firmware_sim.wires.session import Session

ROOT = Path(sim.__file__).parent


class Attenuator(ScpiDevice):
    IDENTITY = "ACME,VOA,{serial},1.0"
    WIRES = ("tcp", "serial", "zmq")
    REGISTERS = (
        Register("INPut#:ATTenuation", 0.0, 0.0, 60.0, ".3f", "dB"),
        Register("OUTPut[:STATe]", 0, 0, 1),
        Register("SOURce:WAVelength", 1550e-9, 1200e-9, 1700e-9, ".6E", "m"),
    )

    @reading("FETCh:POWer")
    def _power(self) -> float:
        return 1.5e-3

    @command("CALibrate:ZERO")
    async def _zero(self, argument: str, session: Session) -> None:
        await self.clock.sleep(0.01)


def make(device: type[Any], **settings: Any) -> Any:
    return Registration("t", "", device, "").create("unit", settings, seed=7)


async def talk(device: Any, folder: Path, *lines: str, end: str = "\n") -> list[str]:
    """Send lines over TCP; the replies that come within a short time."""
    await device.start(folder)
    try:
        host, port = device.address.removeprefix("tcp://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("".join(line + end for line in lines).encode())
        writer.write_eof()
        async with asyncio.timeout(5):
            data = await reader.read()
        writer.close()
        return data.decode().splitlines()
    finally:
        await device.stop()


# ---- SCPI --------------------------------------------------------------------------------------


async def test_scpi_forms_chains_suffixes_units_and_errors(tmp_path: Path) -> None:
    got = await talk(
        make(Attenuator),
        tmp_path,
        "*IDN?",
        "INP:ATT 10 dB;ATT?",
        ":input1:attenuation 12.5;:OUTP ON;:OUTP:STAT?;:inp:att?",
        "sour:wav 1310NM;wav?;:SOUR:WAV? MAX",
        "FETC:POW?",
        "INP:ATT 99",
        "INP:ATT",
        "NONSENSE 1",
        "CAL:ZERO;*OPC?",
        "SYST:ERR?;:SYST:ERR?;:SYST:ERR?;:SYST:ERR?",
        "*RST;:INP:ATT?",
    )
    assert got == [
        "ACME,VOA,000007,1.0",
        "10.000",
        "1;12.500",
        "1.310000E-06;1.700000E-06",
        "1.500000E-03",
        "1",
        '-222,"Data out of range";-109,"Missing parameter";-113,"Undefined header";0,"No error"',
        "0.000",
    ]


def test_scpi_pieces() -> None:
    assert pattern("SOURce[:POWer]").match(":SOUR:POW")
    assert pattern("SOURce[:POWer]").match(":SOURCE")
    assert not pattern("SOURce[:POWer]").match(":SOURC")
    assert pattern("CHANnel#:DELAy").match(":CHAN12:DELA").groups() == ("12",)  # type: ignore[union-attr]
    assert float(number("1550NM", "m")) == pytest.approx(1550e-9)
    assert block(b"abc") == b"#13abc"


async def test_scpi_over_zmq(tmp_path: Path) -> None:
    class Always(Attenuator):
        ALWAYS_REPLY = True
        REPLY_END = ""

    device = make(Always, address="zmq")
    await device.start(tmp_path)
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.REQ)
    try:
        socket.connect(device.address.replace("zmq", "tcp"))
        async with asyncio.timeout(5):
            for asked, reply in (("INP:ATT 3", b""), ("INP:ATT?;:OUTP?", b"3.000;0")):
                await socket.send_string(asked)
                assert await socket.recv() == reply
    finally:
        socket.close(0)
        context.term()
        await device.stop()


# ---- frames ------------------------------------------------------------------------------------


class Laser(FrameDevice):
    FRAMING = Itla()
    WIRES = ("tcp",)

    def handle(self, frame: bytes, session: Session) -> bytes:
        return Itla.frame(0, frame[1], 0x1234)


async def test_frames_resynchronise_and_count_what_they_skip(tmp_path: Path) -> None:
    device = make(Laser)
    await device.start(tmp_path)
    try:
        host, port = device.address.removeprefix("tcp://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(bytes([0x55, 0x70]) + bytes.fromhex("b00b0000"))  # AEA read after noise
        async with asyncio.timeout(5):
            reply = await reader.readexactly(4)
        assert reply[1:] == bytes.fromhex("0b1234")
        assert Itla().length(reply) == 4
        assert device.status()["skipped_bytes"] == 2
        writer.close()
    finally:
        await device.stop()


def test_framings() -> None:
    assert Itla.frame(0, 1, 0) == bytes.fromhex("10010000")  # read DevTyp (pytla's example)
    assert Apt().length(bytes.fromhex("050000005001")) == 6
    long = Apt.long(0x0412, struct.pack("<Hi", 1, 500))
    assert Apt().length(long[:7]) == 0
    assert Apt().length(long[:4] + b"\xd0" + long[5:]) == 12
    assert crc16(b"123456789") == 0x29B1  # CRC-16/CCITT-FALSE's check value
    stx = Stx(0x02, crc16, 2)
    frame = stx.frame(b"hello")
    assert stx.length(frame) == len(frame)
    assert stx.length(frame[:-1]) == 0
    assert stx.length(frame[:-1] + bytes([frame[-1] ^ 1])) == -1


# ---- messages ----------------------------------------------------------------------------------


class Echo(MessageDevice):
    WIRES = ("udp",)

    def handle(self, message: bytes, session: Session) -> bytes:
        return message[::-1]


async def test_udp_messages(tmp_path: Path) -> None:
    device = make(Echo)
    await device.start(tmp_path)
    got: asyncio.Queue[bytes] = asyncio.Queue()

    class Peer(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            got.put_nowait(data)

    host, port = device.address.removeprefix("udp://").split(":")
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Peer, remote_addr=(host, int(port))
    )
    try:
        transport.sendto(b"abc")
        assert await asyncio.wait_for(got.get(), 5) == b"cba"
    finally:
        transport.close()
        await device.stop()


async def test_json_rpc_over_http(tmp_path: Path) -> None:
    class Controller(JsonRpcDevice):
        @command("getSettings")
        def _get(self, params: Any, session: Session) -> dict[str, int]:
            return {"bias": 5}

    device = make(Controller)
    await device.start(tmp_path)
    host, port = device.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def post(body: bytes) -> Any:
        head = f"POST /api HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        async with asyncio.timeout(5):
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(answer.split("Content-Length: ")[1].split("\r\n")[0])
            return json.loads(await reader.readexactly(length))

    try:
        good = await post(b'{"jsonrpc": "2.0", "id": 1, "method": "getSettings"}')
        assert good["result"] == {"bias": 5}
        assert (await post(b'{"id": 2, "method": "no"}'))["error"]["code"] == -32601
        assert (await post(b"{"))["error"]["code"] == -32700
    finally:
        writer.close()
        await device.stop()


# ---- registers, faults, clock ------------------------------------------------------------------


def test_a_register_outside_its_own_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"register hvolt: 99.0 lies outside"):
        Register("hvolt", 99.0, 0.0, 90.0)
    with pytest.raises(ValueError, match="none of"):
        Register("mode", 5, choices=(1, 2))
    with pytest.raises(Refusal):
        Register("x", 1.0).accept("nan")


class Thermometer(LineDevice):
    WIRES = ("tcp",)
    REGISTERS = (Register("offset", 0.0, -5.0, 5.0, ".2f"),)
    stuck = False

    @reading("temp")
    def _temp(self) -> float:
        return 20.0

    @reading("*idn")
    def _idn(self) -> str:
        return f"THERM {self.serial_number}"

    @fault("stuck", "the needle sticks")
    def _stuck(self, order: Any) -> Callable[[], object]:
        self.stuck = True
        return lambda: setattr(self, "stuck", False)


async def test_common_faults_are_counted(tmp_path: Path) -> None:
    device = make(Thermometer)
    device.control({"fault": "silent", "count": 1})
    device.control({"fault": "wrong-identity", "count": 1})
    got = await talk(device, tmp_path, "temp?", "*idn?", "*idn?", "temp?")
    assert got == ["THERM 999999", "THERM 000007", "20"]
    device = make(Thermometer)
    device.control({"fault": "ignore-sets", "count": 1})
    got = await talk(device, tmp_path, "offset 1", "offset?", "offset 2", "offset?")
    assert got == ["0.00", "2.00"]
    device.reboot()
    assert device.show("offset") == "0.00"
    for wrong in (
        {"fault": "explode"},
        {"fault": "silent", "x": 1},
        {"fault": "late", "count": -1},
    ):
        with pytest.raises(ValueError, match=r"explode|unknown key|count"):
            device.control(wrong)
    device.control({"fault": "stuck"})
    assert device.stuck
    device.control({"fault": "none"})
    assert not device.stuck


async def test_drift_and_speed_follow_the_devices_clock() -> None:
    class Jumping(Clock):
        jump_s = 0.0

        def now_s(self) -> float:
            return self.jump_s

    clock = Jumping()
    device = Registration("t", "", Thermometer, "").create("unit", {}, clock=clock)
    device.control({"fault": "drift", "per_s": 0.1})
    clock.jump_s = 10.0
    assert device.value("temp") == pytest.approx(40.0)
    fast = Clock(100.0)
    start = fast.now_s()
    await fast.sleep(1.0)
    assert 1.0 <= fast.now_s() - start < 100.0
    with pytest.raises(ValueError, match="speed"):
        Clock(1000.0)


def test_no_device_asks_the_host_for_the_time() -> None:
    """Devices and dialects take time from the injected clock only, so a runner can replace it."""
    wrong = []
    for folder in ("devices", "kit", "elements"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "clock.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import) and any(a.name == "time" for a in node.names):
                    wrong.append(f"{path.name}: import time")
                if isinstance(node, ast.Attribute) and node.attr in ("call_later", "call_at"):
                    owner = ast.unparse(node.value)
                    if not owner.endswith("clock"):
                        wrong.append(f"{path.name}:{node.lineno} {owner}.{node.attr}")
                if isinstance(node, ast.Call) and ast.unparse(node).startswith("asyncio.sleep("):
                    wrong += [f"{path.name}:{node.lineno}"] * (ast.unparse(node.args[0]) != "0")
    assert not wrong


# ---- registration ------------------------------------------------------------------------------


def test_every_module_registers_and_nothing_is_wrong() -> None:
    assert catalogue().problems == []
    registered = {e.device.__module__.rsplit(".", 1)[1] for e in models().values()}
    found = {p.stem for p in (ROOT / "devices").rglob("*.py") if "REGISTRATION = " in p.read_text()}
    assert registered == found
    for entry in models().values():
        assert entry.device.Settings.__doc__


def test_a_broken_module_is_named_and_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "vendors_of_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "broken.py").write_text("raise RuntimeError('no such chip')")
    (package / "wrong.py").write_text("REGISTRATION = 5")
    twice = (
        "from photonlink.firmware_sim.kit.registration import Registration\n"
        "from photonlink.firmware_sim.kit.line import LineDevice\n"
        "REGISTRATION = Registration('same', '', LineDevice, '')\n"
    )
    for name in ("a", "b"):
        (package / f"{name}.py").write_text(twice)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = Catalogue()
    walked = types.SimpleNamespace(__path__=[str(package)], __name__="vendors_of_test")
    found.walk(walked)
    assert list(found.models) == ["same"]
    said = "\n".join(found.problems)
    assert "vendors_of_test.broken: RuntimeError: no such chip" in said
    assert "vendors_of_test.wrong: REGISTRATION is not" in said
    assert "'same' is registered by" in said


# ---- optical table -----------------------------------------------------------------------------


def test_elements_act_on_the_light() -> None:
    table = OpticalTable(BenchConfig.model_validate({"source": {"pump_power_mw": 1.0}}))
    before = table.source_params()
    meter = table.stand("alice.power_meter")
    pump_meter = table.stand("pump.power_meter")
    dark_w, pump_w = meter.power_w, pump_meter.power_w
    attenuator = table.stand("alice.attenuator")
    attenuator.put("attenuation_db", 10.0)
    after = table.source_params()
    ratio = after.arms[0].transmission / before.arms[0].transmission
    assert ratio == pytest.approx(0.1)
    assert after.arms[1].transmission == before.arms[1].transmission
    assert meter.power_w == pytest.approx(dark_w / 10)
    table.stand("pump.attenuator").put("attenuation_db", 3.0)
    assert pump_meter.power_w == pytest.approx(pump_w * 10**-0.3)
    paddle = table.stand("bob.polarization")
    paddle.put("rl_deg", 180.0)
    turned = table.source_params().correlation
    assert np.allclose(turned[0], -np.asarray(before.correlation)[0], atol=1e-9)
    table.set({"alice.attenuator.attenuation_db": 0.0, "bob.loss_db": 4.0})
    assert table.get("alice.attenuator.attenuation_db") == 0.0
    with pytest.raises(TableParameterError, match="lies outside"):
        table.set({"bob.loss_db": 5.0, "alice.attenuator.attenuation_db": 1e9})
    assert table.get("bob.loss_db") == 4.0
    with pytest.raises(ValueError, match=r"no place 'alice\.nowhere'"):
        table.stand("alice.nowhere")


async def test_a_fault_of_the_emulator_itself_is_counted_and_not_fatal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The counter that the fuzz test checks increases."""

    class Buggy(Thermometer):
        @command("crash")
        def _crash(self, argument: str, session: Session) -> None:
            raise ZeroDivisionError

    device = make(Buggy)
    assert await talk(device, tmp_path, "crash", "temp?") == ["20"]
    assert device.status()["internal_errors"] == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_where_a_sweep_is() -> None:
    once = Sweep(1500.0, 1510.0, speed=5.0)
    assert once.at(1.0)[:2] == (pytest.approx(1505.0, abs=0.01), 0)
    assert once.at(2.1) == (1510.0, 1, True)
    stepped = Sweep(1500.0, 1510.0, speed=5.0, step=4.0, dwell_s=1.0)
    assert [stepped.at(t)[0] for t in (0.0, 1.0, 2.0, 4.4)] == [1500.0, 1504.0, 1504.0, 1508.0]
    both = Sweep(10.0, 0.0, speed=10.0, both_ways=True, delay_s=1.0, cycles=0)
    assert [round(both.at(t)[0], 2) for t in (0.5, 1.5, 2.5, 3.5)] == [5.0, 5.0, 10.0, 5.0]
    assert both.at(30.1)[1:] == (10, False), "without an end"
