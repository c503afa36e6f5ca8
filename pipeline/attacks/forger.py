"""An Eve who has broken the early authentication: she alters messages and makes their MACs right.

She cannot make one-time tags. Every promise against her rests on those. The caller gives her the
pre-shared key; she uses its HMAC key alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from photonlink.pipeline.attacks.transcript import message_of
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.channel.frame_mac import FrameMac
from photonlink.pipeline.protocol.messages import STRANGERS, Hello, Message
from photonlink.pipeline.protocol.setup import Role

Alter = Callable[[Role, Message], list[Message] | None]


class Forger:
    """A hook of the line. ``alter(sender, message)``: what arrives instead; None cuts the line."""

    def __init__(self, psk: PreSharedKey, alter: Alter) -> None:
        self._psk, self._alter = psk, alter
        self._nonces: dict[Role, bytes] = {}
        self._macs: dict[Role, FrameMac] = {}
        self.active = True

    def __call__(self, n: int, sender: Role, data: bytes) -> list[bytes] | None:
        message = message_of(data)
        if isinstance(message, Hello):
            self._nonces[sender] = bytes.fromhex(json.loads(message.body)["nonce"])
            if len(self._nonces) == len(Role):
                session = self._nonces[Role.ALICE] + self._nonces[Role.BOB]
                self._macs = {role: FrameMac(self._psk, session, str(role)) for role in Role}
                self._nonces = {}
        if isinstance(message, STRANGERS):
            return [data]
        arriving = self._alter(sender, message) if self.active else [message]
        if arriving is None:
            return None
        return [self._macs[sender].close_frame(each) for each in arriving]
