"""The interface of all codecs to the driver base: connect, read and write a parameter, emergency
off.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, Protocol

from photonlink.hal.errors import LinkDesync
from photonlink.hal.links import Link, Tap
from photonlink.hal.links.base import printable
from photonlink.hal.params import Param, Value
from photonlink.hal.tags import Provenance

Wanted = Callable[[str], Value | None]
"""What was last asked of a parameter and confirmed, or None."""


class Codec(abc.ABC):
    """A dialect on one link. The driver base makes it, without I/O, from a driver's ``CODEC``."""

    CONNECT_TIMEOUT_S = 5.0
    """At least so long for a connection: a busy host may need longer for it than for a reply."""

    def __init__(self, link: Link, *, where: str, timeout_s: float, wanted: Wanted) -> None:
        self.link: Any = link
        self.where, self.timeout_s, self.wanted = where, timeout_s, wanted

    @property
    def connect_timeout_s(self) -> float:
        return max(self.timeout_s, self.CONNECT_TIMEOUT_S)

    @property
    def is_open(self) -> bool:
        return bool(self.link.is_open)

    @property
    def provenance(self) -> Provenance:
        """EMULATED when the wire itself reports it."""
        return Provenance.REAL

    @abc.abstractmethod
    async def connect(self) -> None:
        """Open the link and synchronise it, so that questions may be asked."""

    async def close(self) -> None:
        """Give the device back. Never raises."""
        await self.link.close()

    @abc.abstractmethod
    async def get(self, param: Param) -> Value:
        """Read a parameter (``Param.get``)."""

    @abc.abstractmethod
    async def set(self, param: Param, value: Value) -> None:
        """Write a parameter (``Param.set``)."""

    @abc.abstractmethod
    def command_bytes(self, param: Param, value: Value) -> bytes:
        """The bytes of a set, which may come in the middle of an unfinished command."""


class CodecFactory(Protocol):
    """``functools.partial(LineCodec, question_end=";")``: a codec with its dialect filled in."""

    def __call__(
        self, address: str, *, tap: Tap | None, where: str, timeout_s: float, wanted: Wanted
    ) -> Codec: ...


def command(param: Param, value: Value) -> str:
    """``Param.set`` with the value in place of ``{}``, or after a space."""
    text = param.text(value)
    return param.set.format(text) if "{}" in param.set else f"{param.set} {text}"


def decode_text(reply: bytes, link: Link) -> str:
    """ASCII only: any other byte on a text line is noise, and the line is refused."""
    try:
        text = reply.decode("ascii")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        seen = "" if link.private else printable(reply)
        raise LinkDesync("the reply is no text", where=link.uri, seen=seen)
    return text


def encode_text(text: str, link: Link) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise LinkDesync("a command that is no ASCII", where=link.uri, seen=ascii(text)) from None
