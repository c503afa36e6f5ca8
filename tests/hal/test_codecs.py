"""Dialects: SCPI, frames, JSON-RPC, lines with a status; each against a scripted far end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_peers import pty_peer, tcp_peer

from photonlink.hal.codecs.frames import Apt, Fixed, FrameCodec, Itla, StxCrc, bip4, crc16
from photonlink.hal.codecs.json_rpc import JsonRpcCodec
from photonlink.hal.codecs.lines import LineCodec, Probe
from photonlink.hal.codecs.scpi import ScpiCodec, identity
from photonlink.hal.errors import (
    IdentityError,
    InstrumentError,
    LinkDesync,
    LinkTimeout,
    StationError,
)
from photonlink.hal.params import Param, Value

COMMON: dict[str, Any] = {
    "tap": None, "where": "dev", "timeout_s": 0.3, "wanted": lambda name: None,
}  # fmt: skip


class Meter:
    """A power meter: one instrument, any wire. ``late_s`` delays the next reply."""

    def __init__(self) -> None:
        self.idn = "ACME,PM1,P0012345,1.0"
        self.errors = ['0,"No error"']
        self.values = {"SENS:CORR:WAV": "1550", "OUTP": "OFF"}
        self.heard: list[str] = []

    def answer(self, line: str) -> str | None:
        self.heard.append(line)
        head, _, value = line.partition(" ")
        if line == "*IDN?":
            return self.idn
        if line == "SYST:ERR?":
            return self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if head.endswith("?"):
            return self.values.get(head[:-1])
        self.values[head] = value
        return None


def serve(
    answer: Callable[[str], str | None], delays: dict[str, float] | None = None, end: str = "\n"
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().strip():
            await asyncio.sleep((delays or {}).pop(line, 0.0))
            reply = answer(line)
            if reply is not None:
                writer.write((reply + end).encode())

    return script


WAVELENGTH = Param("wavelength_nm", float, "wl", "SENS:CORR:WAV?", "SENS:CORR:WAV", "nm")
OUTPUT = Param("output", bool, "on", "OUTP?", "OUTP")


async def test_scpi_asks_sets_and_reads_the_error_queue() -> None:
    meter = Meter()
    async with tcp_peer(serve(meter.answer)) as peer:
        codec = ScpiCodec(peer.uri, **COMMON)
        await codec.connect()
        assert (await codec.identify(key="PM1")).serial == "P0012345"
        assert await codec.get(WAVELENGTH) == 1550.0
        assert await codec.get(OUTPUT) is False
        await codec.set(WAVELENGTH, 1549.123456)
        assert meter.heard[-2:] == ["SENS:CORR:WAV 1549.123456", "SYST:ERR?"], "all digits"
        meter.errors = ['-222,"Data out of range"', '-113,"Undefined header"', '+0,"No error"']
        with pytest.raises(InstrumentError, match=r"was refused: -222 Data out of range") as caught:
            await codec.set(WAVELENGTH, 1.0)
        assert "-113" in caught.value.seen
        meter.errors = ["what?"]
        with pytest.raises(LinkDesync, match="error queue"):
            await codec.tell("*CLS")
        meter.errors = ["0"]
        await codec.tell("*CLS")
        with pytest.raises(IdentityError, match="another instrument"):
            await codec.identify(key="PM2")
        await codec.close()


async def test_scpi_over_tcp_takes_a_new_connection_after_a_late_reply() -> None:
    meter = Meter()
    async with tcp_peer(serve(meter.answer, {"SENS:CORR:WAV?": 0.5})) as peer:
        codec = ScpiCodec(peer.uri, **COMMON)
        await codec.connect()
        with pytest.raises(LinkTimeout):
            await codec.get(WAVELENGTH)
        assert await codec.get(OUTPUT) is False
        assert peer.connections == 2
        await codec.close()


async def test_scpi_over_a_serial_line_needs_no_register_to_find_its_place(
    tmp_path: Path,
) -> None:
    meter, held = Meter(), list[bytes]()

    def answer(question: bytes) -> bytes | None:
        reply = meter.answer(question.decode())
        if question == b"SENS:CORR:WAV?" and not held:
            held.append(b"1550\n")  # comes late, before the reply to the next question
            return None
        if held and held[0]:
            late, held[0] = held[0], b""
            return late + (reply or "").encode() + b"\n"
        return None if reply is None else reply.encode() + b"\n"

    with pty_peer(tmp_path / "dev", answer, ends=b"\n") as peer:
        codec = ScpiCodec(peer.uri, **COMMON)
        await codec.connect()
        await codec.identify()
        with pytest.raises(LinkTimeout):
            await codec.get(WAVELENGTH)
        assert await codec.get(OUTPUT) is False
        await codec.close()


async def test_scpi_blocks() -> None:
    blob = bytes(range(256)) * 4

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in (b"#41024" + blob + b"\n", b"1,2,3\n", b"#2xx"):
            await reader.readline()
            writer.write(reply)

    async with tcp_peer(script) as peer:
        codec = ScpiCodec(peer.uri, **COMMON)
        await codec.connect()
        assert await codec.ask_block("CURV?") == blob
        with pytest.raises(LinkDesync, match="definite-length"):
            await codec.ask_block("CURV?")
        await codec.close()


@pytest.mark.parametrize("text", ["", "ACME", "ACME,PM1"])
def test_an_identity_that_is_none(text: str) -> None:
    with pytest.raises(InstrumentError, match="unreadable"):
        identity(text)


async def test_a_refusal_in_the_reply_is_an_error_and_leaves_the_line_clean() -> None:
    replies = {"DELA?": "SCPI_ERR_UNKNOWN", "INPU?": "7"}
    async with tcp_peer(serve(replies.get)) as peer:
        codec = ScpiCodec(peer.uri, **COMMON, failure="^SCPI_ERR_")
        await codec.connect()
        with pytest.raises(InstrumentError, match="refused") as caught:
            await codec.ask("DELA?", str)
        assert caught.value.seen == "SCPI_ERR_UNKNOWN"
        assert await codec.ask("INPU?", int) == 7
        assert peer.connections == 1
        await codec.close()


# ---- lines with a status ----
async def test_lines_with_a_status_and_an_echo() -> None:
    """The dialect of a motor-driven attenuator: echo, lines, Done."""

    def answer(line: str) -> str | None:
        if line == "A99":
            return "Error: out of range"
        body = {"D": "DPos:100\r\nATTEN:12.00", "A12.5": "Pos:90"}.get(line, "")
        return f"{line}\r\n{body}\r\nDone\r\n"

    async with tcp_peer(serve(answer, end="\r\n")) as peer:
        codec = LineCodec(
            peer.uri, **COMMON, resync=Probe("D", "Done"), status="^Done$", refusal="^Error",
            sets_answer=True, wake="", quiet_s=0.02,
        )  # fmt: skip
        await codec.connect()
        reply = await codec.ask("D", str)
        assert reply == "DPos:100\nATTEN:12.00"
        await asyncio.sleep(0.02)  # the empty line after Done
        await codec.tell("A12.5")
        await asyncio.sleep(0.02)
        with pytest.raises(InstrumentError, match="'A99' was refused"):
            await codec.tell("A99")
        await codec.close()


# ---- frames ----
def test_checksums_are_those_of_their_standards() -> None:
    assert crc16(b"123456789") == 0x29B1, "CRC-16/CCITT-FALSE, its published check value"
    assert Itla.request(0x01) == bytes.fromhex("10010000"), "OIF-ITLA: DevTyp"
    assert Itla.request(0x0B) == bytes.fromhex("B00B0000"), "OIF-ITLA: AEA-EAR"
    assert Apt.short(0x0443, 1, destination=0x50) == bytes.fromhex("430401005001")
    assert Apt.long(0x0453, bytes.fromhex("010000c05d00")) == bytes.fromhex(
        "53040600d001010000c05d00"
    )


@given(st.binary(min_size=0, max_size=200))
def test_a_frame_is_cut_out_as_it_was_put_in(payload: bytes) -> None:
    layout = StxCrc()
    frame = layout.frame(payload)
    assert layout.length(frame[:2]) == len(frame)
    layout.check(frame)
    broken = frame[:-1] + bytes([frame[-1] ^ 1])
    with pytest.raises(ValueError, match="CRC"):
        layout.check(broken)


@given(st.integers(0, 255), st.integers(0, 65535), st.integers(0, 31), st.booleans())
def test_one_flipped_bit_is_noticed(register: int, data: int, bit: int, write: bool) -> None:
    frame = Itla.request(register, data, write=write)
    Itla().check(frame)
    flipped = bytearray(frame)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="checksum"):
        Itla().check(bytes(flipped))
    assert bip4(frame) == frame[0] >> 4


INFO = Apt.short(0x0005)
POSITION = Apt.short(0x0411, 1)


def _info(frame: bytes) -> bool:
    return Apt.ident(frame) == 0x0006


class Mount:
    """A rotation mount that also sends its status unrequested."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.garbage = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readexactly(6):
            ident = Apt.ident(header)
            writer.write(self.garbage)
            self.garbage = b""
            await asyncio.sleep(self.delay_s)
            self.delay_s = 0.0
            status = Apt.long(0x0481, bytes(14), destination=1, source=0x50)
            if ident == 0x0005:
                writer.write(Apt.long(0x0006, bytes(84), destination=1, source=0x50))
            elif ident == 0x0411:
                data = bytes.fromhex("010000c05d00")
                writer.write(status + Apt.long(0x0412, data, destination=1, source=0x50))


def mount_codec(uri: str) -> FrameCodec:
    return FrameCodec(uri, **COMMON, layout=Apt(), probe=INFO, probed=_info)


async def _position(codec: FrameCodec) -> int:
    return await codec.exchange(
        POSITION,
        lambda frame: Apt.ident(frame) == 0x0412,
        lambda frame: int.from_bytes(frame[8:12], "little", signed=True),
    )


async def test_frames_are_answered_by_their_own_and_updates_pass() -> None:
    mount, heard = Mount(), list[bytes]()
    async with tcp_peer(mount) as peer:
        codec = mount_codec(peer.uri)
        await codec.connect()
        codec.unsolicited = heard.append
        for turn in range(3):
            assert await _position(codec) == 6_144_000
            assert len(heard) == codec.unsolicited_count == turn + 1
        mount.delay_s = 0.45
        with pytest.raises(LinkTimeout):
            await _position(codec)
        assert await _position(codec) == 6_144_000
        mount.garbage = b"\x12\x04\xff\xff\x81\x50"  # a header that claims 65,535 bytes
        with pytest.raises(LinkDesync, match="no frame"):
            await _position(codec)
        assert await _position(codec) == 6_144_000
        assert peer.connections == 1
        await codec.close()


async def test_a_frame_of_one_length() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while frame := await reader.readexactly(4):
            writer.write(frame if frame[1] == 0x12 else bytes([1, 0x11, 0, 3]))

    async with tcp_peer(script) as peer:
        probe = bytes([1, 0x11, 0, 0])
        codec = FrameCodec(
            peer.uri, **COMMON, layout=Fixed(4), probe=probe, probed=lambda f: f[1] == 0x11
        )
        await codec.connect()
        assert await codec.exchange(probe, lambda f: f[1] == 0x11, lambda f: f[3]) == 3
        await codec.close()


def test_a_dialect_of_streams_refuses_an_address_of_messages() -> None:
    with pytest.raises(StationError, match="stream of bytes, not over zmq"):
        mount_codec("zmq://h:1")


# ---- JSON-RPC ----
class Rpc:
    """Answers by method; ``stale`` sends a late reply to an earlier question first."""

    def __init__(self) -> None:
        self.value: Value = 1.5
        self.stale = False

    def answer(self, line: str) -> str | None:
        request = json.loads(line)
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        if request["method"] == "getBias":
            reply["result"] = self.value
        elif request["method"] == "setBias":
            (self.value,) = request["params"]
            reply["result"] = None
        else:
            reply["error"] = {"code": -32601, "message": "no such method"}
        text = json.dumps(reply)
        if self.stale:
            late = json.dumps({"jsonrpc": "2.0", "id": request["id"] - 1, "result": 99})
            text = f"{late}\n{text}"
        return text


async def test_json_rpc_calls_errors_and_late_replies() -> None:
    rpc = Rpc()
    bias = Param("bias_v", float, "bias", "getBias", "setBias", "V")
    async with tcp_peer(serve(rpc.answer)) as peer:
        codec = JsonRpcCodec(peer.uri, **COMMON)
        await codec.connect()
        assert await codec.get(bias) == 1.5
        await codec.set(bias, 2.5)
        rpc.stale = True
        assert await codec.get(bias) == 2.5, "the reply with another number is not its own"
        rpc.stale = False
        with pytest.raises(InstrumentError, match="no such method") as caught:
            await codec.call("reboot", [1])
        assert caught.value.seen == "-32601"
        rpc.value = True
        with pytest.raises(InstrumentError, match="wrong kind"):
            await codec.get(bias)
        await codec.close()


@pytest.mark.parametrize("reply", ["no JSON", "[1]", "[" * 100_000])
async def test_json_that_is_none_is_a_desync(reply: str) -> None:
    async with tcp_peer(serve(lambda line: reply)) as peer:
        codec = JsonRpcCodec(peer.uri, **COMMON)
        await codec.connect()
        with pytest.raises(LinkDesync):
            await codec.call("x")
        await codec.close()
