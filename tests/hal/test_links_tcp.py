"""TCP links: every way an operation can end; no reply is credited to another question."""

from __future__ import annotations

import asyncio
import socket

import pytest
from wire_peers import TcpPeer, tcp_peer

from photonlink.hal.codecs.prompt import PromptCodec
from photonlink.hal.errors import (
    LinkClosed,
    LinkDesync,
    LinkError,
    LinkNotFound,
    LinkTimeout,
    StationError,
)
from photonlink.hal.links import Address, make_link


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def test_bytes_go_and_come_and_the_tap_sees_them() -> None:
    heard: list[tuple[str, bytes]] = []
    async with tcp_peer(echo) as peer:
        link = make_link(peer.uri, tap=lambda way, data: heard.append((way, data)))
        await link.open(1.0)
        await link.write(b"abc\ndef", 1.0)
        assert await link.read_until(b"\n", 1.0) == b"abc\n"
        assert await link.read_exactly(3, 1.0) == b"def"
        assert heard[0] == (">", b"abc\ndef")
        assert b"".join(data for way, data in heard if way == "<") == b"abc\ndef"
        await link.close()
        await link.close()
        assert not link.is_open


async def test_nodelay_and_keepalive_are_set() -> None:
    async with tcp_peer(echo) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        sock = link._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await link.close()


async def test_refused_is_not_found() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: a connection is refused
        link = make_link(f"tcp://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(LinkNotFound, match="refused"):
            await link.open(1.0)


async def test_unknown_host_is_not_found() -> None:
    with pytest.raises(LinkNotFound, match="not found"):
        await make_link("tcp://host.invalid:1").open(5.0)


async def test_silence_is_a_timeout_that_shows_what_was_said() -> None:
    async with tcp_peer(silent) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        await link.write(b"*IDN?\n", 1.0)
        with pytest.raises(LinkTimeout, match=r"0\.05 s.*IDN") as caught:
            await link.read_until(b"\n", 0.05)
        assert caught.value.where == peer.uri
        assert caught.value.retryable
        await link.close()


async def test_private_bytes_stay_out_of_messages() -> None:
    async def secret(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"raw-key-bytes")
        await reader.read(-1)

    async with tcp_peer(secret) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        link.private = True
        with pytest.raises(LinkTimeout) as caught:
            await link.read_exactly(100, 0.05)
        assert "raw-key" not in str(caught.value)
        await link.close()


async def test_bytes_before_the_end_are_still_served_then_it_is_closed() -> None:
    async def bye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words\n")

    async with tcp_peer(bye) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        await asyncio.sleep(0.05)
        assert await link.read_until(b"\n", 1.0) == b"last words\n"
        begin = asyncio.get_running_loop().time()
        with pytest.raises(LinkClosed):
            await link.read_exactly(1, 60.0)
        assert asyncio.get_running_loop().time() - begin < 30.0  # at once, not at the deadline
        with pytest.raises(LinkClosed):
            await link.write(b"x", 1.0)
        with pytest.raises(LinkClosed):
            async with link.transaction():
                pass
        await link.close()


async def test_reset_is_closed() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    async with tcp_peer(reset) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        with pytest.raises(LinkClosed):
            await link.read_exactly(1, 2.0)
        await link.close()


async def test_endless_reply_is_cut_off() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with tcp_peer(babble) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        with pytest.raises(LinkDesync, match="without an end"):
            await link.read_until(b"\n", 5.0, limit=50_000)
        await link.close()


async def test_unread_input_is_bounded_and_nothing_is_lost() -> None:
    total = 20 << 20

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, total, 65_536):
            writer.write(bytes([start >> 16 & 255]) * 65_536)
            await writer.drain()
        await reader.read(-1)

    async with tcp_peer(flood) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        await asyncio.sleep(0.3)
        assert link.pending < 2 * link.HIGH_WATER
        for start in range(0, total, 65_536):
            block = await link.read_exactly(65_536, 5.0)
            assert block == bytes([start >> 16 & 255]) * 65_536
        await link.close()


@pytest.mark.parametrize("cut", range(1, 9))
async def test_a_reply_chopped_anywhere_reads_the_same(cut: int) -> None:
    async def chopped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = b"(1.0)\n> "
        writer.write(reply[:cut])
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(reply[cut:])
        await reader.read(-1)

    async with tcp_peer(chopped) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        assert await link.read_until(b"\n> ", 1.0) == b"(1.0)\n> "
        await link.close()


class Delayed:
    """A device that answers ``slow`` late; every answer repeats its question."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\r\n> ")
        while line := await reader.readline():
            if b"slow" in line:
                await asyncio.sleep(self.delay_s)
            writer.write(b"re:" + line.strip() + b"\n> ")


def _closed_codec(peer: TcpPeer, timeout_s: float = 1.0) -> PromptCodec:
    return PromptCodec(
        peer.uri, tap=None, where="dev", timeout_s=timeout_s, wanted=lambda _: None, prompt="> "
    )


async def _codec(peer: TcpPeer) -> PromptCodec:
    codec = _closed_codec(peer)
    await codec.connect()
    return codec


async def test_late_reply_is_never_credited_to_the_next_question() -> None:
    async with tcp_peer(Delayed(0.1)) as peer:
        codec = await _codec(peer)
        for turn in range(5):
            with pytest.raises(LinkTimeout):
                await codec.ask("slow", str, timeout_s=0.02)
            assert codec.link.dirty
            assert await codec.ask(f"q{turn}", str) == f"re:q{turn}"
        assert peer.connections == 6
        await codec.link.close()


async def test_cancellation_leaves_the_link_dirty_and_it_recovers() -> None:
    async with tcp_peer(Delayed(0.1)) as peer:
        codec = await _codec(peer)
        for turn in range(5):
            task = asyncio.create_task(codec.ask("slow", str))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await codec.ask(f"q{turn}", str) == f"re:q{turn}"
        await codec.link.close()


async def test_200_concurrent_questions_get_their_own_answers() -> None:
    async with tcp_peer(Delayed(0)) as peer:
        codec = await _codec(peer)
        replies = await asyncio.gather(*(codec.ask(f"q{n}", str) for n in range(200)))
        assert replies == [f"re:q{n}" for n in range(200)]
        assert peer.connections == 1
        await codec.link.close()


async def test_a_duplicated_reply_is_not_credited_to_the_next_question() -> None:
    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"> \n> ")
        while line := await reader.readline():
            writer.write((b"re:" + line.strip() + b"\n> ") * 2)

    async with tcp_peer(twice) as peer:
        codec = await _codec(peer)
        for turn in range(4):
            assert await codec.ask(f"q{turn}", str) == f"re:q{turn}"
            await asyncio.sleep(0.02)  # the duplicate comes before the next question
        await codec.link.close()


@pytest.mark.parametrize("junk", [b"\xff\xfe\x80", b"a\0b"])
async def test_a_reply_that_is_no_text_is_refused(junk: bytes) -> None:
    async def noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hi\n> ")
        await reader.readline()
        writer.write(junk + b"\n> ")
        await reader.read(-1)

    async with tcp_peer(noise) as peer:
        codec = await _codec(peer)
        with pytest.raises(LinkDesync):
            await codec.ask("q", str)
        assert codec.link.dirty
        await codec.link.close()


async def test_a_port_without_prompt_is_named() -> None:
    async with tcp_peer(silent) as peer:
        codec = _closed_codec(peer, 0.1)
        with pytest.raises(LinkTimeout, match="no prompt"):
            await codec.connect()
        await codec.link.close()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "no address"),
        ("10.0.0.5:1998", "no address"),
        ("ftp://host:1", "no address"),
        ("tcp://host", "host and port"),
        ("tcp://:1998", "host and port"),
        ("tcp://host:99999", "port"),
        ("tcp://user:word@host:1", "no password"),
        ("serial://dev/ttyACM0", "three slashes"),
        ("lib://libmh150.so", "three slashes"),
        ("lib:libmh150.so", "absolute path"),
        ("visa:", "resource"),
    ],
)
def test_wrong_addresses_are_named(uri: str, words: str) -> None:
    with pytest.raises(StationError, match=words):
        Address.parse(uri)


def test_addresses() -> None:
    assert Address.parse("tcp://[::1]:1998").host == "::1"
    serial = Address.parse("serial:///dev/serial/by-id/usb-S%20x?baud=9600")
    assert (serial.path, serial.number("baud", 1)) == ("/dev/serial/by-id/usb-S x", 9600)
    assert Address.parse("serial:COM3").path == "COM3"
    library = Address.parse("lib:///opt/mh/libmh150.so#serial=1045678")
    assert (library.path, library.options) == ("/opt/mh/libmh150.so", {"serial": "1045678"})
    assert Address.parse("visa:TCPIP::h::INSTR?lib=@py").path == "TCPIP::h::INSTR"
    assert issubclass(LinkTimeout, LinkError)
