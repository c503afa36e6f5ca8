"""Serial links on a pty: settings, locks, silence, garbage, and the cable pulled out."""

from __future__ import annotations

import asyncio
import os
import termios
from pathlib import Path

import pytest
import serial
from wire_peers import PtyPeer, pty_peer

from photonlink.hal.codecs import lines
from photonlink.hal.codecs.lines import LineCodec, Nonce
from photonlink.hal.errors import (
    InstrumentError,
    LinkBusy,
    LinkClosed,
    LinkDesync,
    LinkError,
    LinkNotFound,
    LinkPermission,
    LinkTimeout,
    StationError,
)
from photonlink.hal.links import Address
from photonlink.hal.links.base import ByteLink
from photonlink.hal.links.serial_port import serial_error
from photonlink.hal.links.serial_posix import SerialPosixLink
from photonlink.hal.links.serial_thread import SerialThreadLink

LINK: type[ByteLink] = SerialPosixLink


@pytest.fixture(autouse=True, params=[SerialPosixLink, SerialThreadLink])
def _both_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "LINK", request.param)
    monkeypatch.setattr(lines, "make_stream", lambda uri, tap: make_link(uri))


def make_link(uri: str) -> ByteLink:
    return LINK(Address.parse(uri))


class Register:
    """A device with a register ``time`` and a slow, a mute and a repeating question."""

    def __init__(self) -> None:
        self.time = 1000
        self.mute = 0
        self.held: list[bytes] = []

    def __call__(self, question: bytes) -> bytes | None:
        word = question.decode("ascii", "replace").lower()
        if word.startswith("time "):
            self.time = int(word.split()[1])
            return None
        if word == "time?":
            return f"{self.time}\r\n".encode()
        if word == "late?":
            self.held.append(b"late reply\r\n")
            return None
        if self.mute:
            self.mute -= 1
            return None
        return b"re:" + question + b"\r\n"


def codec(link_uri: str) -> LineCodec:
    return LineCodec(
        link_uri,
        tap=None,
        where="dev",
        timeout_s=0.3,
        wanted=lambda name: None,
        resync=Nonce(set="time {}", get="time?", param="gate_ms", default=1000),
    )


async def test_bytes_of_every_value_pass_both_ways(tmp_path: Path) -> None:
    with pty_peer(tmp_path / "dev", lambda _: None, ends=b"") as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        await link.write(bytes(range(256)), 1.0)
        peer.send(bytes(range(256)))
        assert await link.read_exactly(256, 1.0) == bytes(range(256))
        await asyncio.sleep(0.05)
        assert bytes(peer.raw) == bytes(range(256))
        await link.close()


async def test_more_than_the_buffers_hold_arrives_whole(tmp_path: Path) -> None:
    with pty_peer(tmp_path / "dev", lambda _: None, ends=b"") as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        data = os.urandom(200_000)
        await link.write(data, 5.0)
        for _ in range(100):
            await asyncio.sleep(0.01)
            if len(peer.raw) == len(data):
                break
        assert bytes(peer.raw) == data
        await link.close()


async def test_a_device_that_takes_nothing_is_a_timeout(tmp_path: Path) -> None:
    with pty_peer(tmp_path / "dev", lambda _: None) as peer:
        asyncio.get_running_loop().remove_reader(peer._master)
        link = make_link(peer.uri)
        await link.open(1.0)
        with pytest.raises(LinkTimeout, match="could not send"):
            await link.write(bytes(1_000_000), 0.1)
        assert link.dirty
        await link.close()


async def test_the_port_is_taken_exclusively_and_given_back(tmp_path: Path) -> None:
    with pty_peer(tmp_path / "dev", lambda _: None) as peer:
        first, second = make_link(peer.uri), make_link(peer.uri)
        await first.open(1.0)
        with pytest.raises(LinkBusy, match="another process"):
            await second.open(1.0)
        assert first.is_open
        await first.close()
        await second.open(1.0)
        await second.close()


async def test_missing_port_and_no_port(tmp_path: Path) -> None:
    with pytest.raises(LinkNotFound, match="no such port"):
        await make_link(f"serial://{tmp_path}/nothing").open(1.0)
    (tmp_path / "file").write_text("not a tty")
    with pytest.raises(LinkError, match="serial port"):
        await make_link(f"serial://{tmp_path}/file").open(1.0)
    with pytest.raises(StationError, match="unknown option 'bau'"):
        await make_link(f"serial://{tmp_path}/file?bau=9600").open(1.0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
async def test_permission(tmp_path: Path) -> None:
    (tmp_path / "dev").touch(mode=0)
    with pytest.raises(LinkPermission, match="udev"):
        await make_link(f"serial://{tmp_path}/dev").open(1.0)


@pytest.mark.parametrize(
    ("error", "opening", "kind"),
    [
        (serial.SerialException(13, "Permission denied"), True, LinkPermission),
        (serial.SerialException(2, "No such file"), True, LinkNotFound),
        (serial.SerialException(16, "Resource busy"), True, LinkBusy),
        (serial.SerialException("Could not exclusively lock port x"), True, LinkBusy),
        (termios.error(22, "Invalid argument"), True, LinkError),
        (serial.SerialException("device reports readiness but no data"), False, LinkClosed),
        (OSError(5, "Input/output error"), False, LinkClosed),
    ],
)
def test_every_library_error_has_one_name(
    error: Exception, opening: bool, kind: type[LinkError]
) -> None:
    found = serial_error(error, Address.parse("serial:///dev/x"), opening=opening)
    assert type(found) is kind


async def test_unplug_while_reading_and_while_writing(tmp_path: Path) -> None:
    with pty_peer(tmp_path / "dev", lambda _: None) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)
        reading = asyncio.create_task(link.read_exactly(1, 5.0))
        await asyncio.sleep(0.02)
        peer.unplug()
        begin = asyncio.get_running_loop().time()
        with pytest.raises(LinkClosed, match="went away"):
            await reading
        assert asyncio.get_running_loop().time() - begin < 2.0
        with pytest.raises(LinkClosed):
            await link.write(b"x", 1.0)
        with pytest.raises(LinkNotFound):
            await link.open(1.0)
        peer.plug()
        await link.open(1.0)
        peer.send(b"back")
        assert await link.read_exactly(4, 1.0) == b"back"
        await link.close()


async def test_late_reply_after_timeout_is_thrown_away(tmp_path: Path) -> None:
    device = Register()
    with pty_peer(tmp_path / "dev", device) as peer:
        talk = codec(peer.uri)
        await talk.link.open(1.0)
        for turn in range(4):
            with pytest.raises(LinkTimeout):
                await talk.ask("late?", str, timeout_s=0.02)
            peer.send(device.held.pop())  # the late reply
            assert await talk.ask(f"q{turn}?", str) == f"re:q{turn}?"
        assert device.time == 1000, "the register is restored"
        await talk.link.close()


async def test_reply_that_comes_during_the_resync_is_thrown_away(tmp_path: Path) -> None:
    device = Register()
    with pty_peer(tmp_path / "dev", device) as peer:
        talk = codec(peer.uri)
        await talk.link.open(1.0)
        with pytest.raises(LinkTimeout):
            await talk.ask("late?", str, timeout_s=0.02)
        normal = device.__call__

        def late_first(question: bytes) -> bytes | None:
            reply = normal(question)
            return device.held.pop() + reply if reply and device.held else reply

        peer.answer = late_first
        assert await talk.ask("q?", str) == "re:q?"
        await talk.link.close()


async def test_cancellation_is_resynchronised(tmp_path: Path) -> None:
    device = Register()
    with pty_peer(tmp_path / "dev", device) as peer:
        talk = codec(peer.uri)
        await talk.link.open(1.0)
        task = asyncio.create_task(talk.ask("late?", str))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        peer.send(device.held.pop())
        assert await talk.ask("q?", str) == "re:q?"
        await talk.link.close()


async def test_a_reply_that_does_not_parse_dirties_the_link(tmp_path: Path) -> None:
    device = Register()
    with pty_peer(tmp_path / "dev", device) as peer:
        talk = codec(peer.uri)
        await talk.link.open(1.0)

        def refuse(text: str) -> float:
            raise InstrumentError("unreadable", seen=text)

        with pytest.raises(InstrumentError):
            await talk.ask("q?", refuse)
        assert talk.link.dirty
        assert await talk.ask("q2?", str) == "re:q2?"
        assert b"time?" in peer.seen
        await talk.link.close()


async def test_unasked_bytes_before_a_question_are_nobody_s_reply(tmp_path: Path) -> None:
    with pty_peer(tmp_path / "dev", Register()) as peer:
        talk = codec(peer.uri)
        await talk.link.open(1.0)
        peer.send(b"I restarted!\r\n")
        await asyncio.sleep(0.02)
        assert await talk.ask("q?", str) == "re:q?"
        await talk.link.close()


async def test_a_device_that_stays_mute_is_given_up_with_a_name(tmp_path: Path) -> None:
    with pty_peer(tmp_path / "dev", lambda _: None) as peer:
        talk = codec(peer.uri)
        await talk.link.open(1.0)
        with pytest.raises(LinkTimeout):
            await talk.ask("q?", str, timeout_s=0.02)
        with pytest.raises(LinkDesync, match="no longer answers"):
            await talk.ask("q?", str)
        assert talk.link.dirty, "and it is still not trusted"
        await talk.link.close()


async def test_drain_ends_on_an_endless_talker(tmp_path: Path) -> None:
    with pty_peer(tmp_path / "dev", lambda _: None) as peer:
        link = make_link(peer.uri)
        await link.open(1.0)

        async def babble(peer: PtyPeer) -> None:
            while True:
                peer.send(b"x")
                await asyncio.sleep(0.005)

        task = asyncio.create_task(babble(peer))
        with pytest.raises(LinkDesync, match="fall silent"):
            await link.drain(0.05, 0.3)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        assert await link.drain(0.05, 1.0) >= 0
        await link.close()
