"""Instruments behind a command-line program: arguments out, printed text back."""

from __future__ import annotations

import shlex

from photonlink.hal.codecs.base import Codec, Wanted, command, decode_text
from photonlink.hal.errors import LinkDesync, StationError
from photonlink.hal.links import Tap, make_link
from photonlink.hal.links.program import ProgramLink
from photonlink.hal.params import Param, Value


class ProgramCodec(Codec):
    """A parameter's ``get`` is the arguments of one run, as in a shell; drivers read its text.

    Each run is a fresh process: nothing of an earlier question can be mistaken for an answer.
    """

    def __init__(
        self, address: str, *, tap: Tap | None, where: str, timeout_s: float, wanted: Wanted
    ) -> None:
        link = make_link(address, tap=tap)
        if not isinstance(link, ProgramLink):
            raise StationError(
                f"this instrument is reached by a program, not over {link.address.scheme}",
                where=address,
                hint="Write program:///path/of/the/program",
            )
        super().__init__(link, where=where, timeout_s=timeout_s, wanted=wanted)

    async def connect(self) -> None:
        await self.link.open(self.connect_timeout_s)

    async def run(self, *arguments: str) -> bytes:
        """One run's output. LinkClosed when it ends with a status beside 0."""
        async with self.link.transaction(self.resync):
            await self.link.send("\0".join(arguments).encode(), self.timeout_s)
            reply: bytes = await self.link.receive(self.timeout_s)
            return reply

    async def ask(self, *arguments: str) -> str:
        """One run's output as text."""
        return decode_text(await self.run(*arguments), self.link)

    async def resync(self) -> None:
        """Nothing to do: an unfinished run was killed, so no late reply can come."""

    async def get(self, param: Param) -> Value:
        return param.parse((await self.ask(*shlex.split(param.get))).strip(), self.where)

    async def set(self, param: Param, value: Value) -> None:
        await self.ask(*shlex.split(command(param, value)))

    def command_bytes(self, param: Param, value: Value) -> bytes:
        raise LinkDesync("a program takes no bytes", where=self.where)
