"""What is said while nobody has proved to be the peer."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

from photonlink.pipeline.node.station import PeerSection
from photonlink.pipeline.status.alarms import alarm
from photonlink.pipeline.status.model import Alarm

PEER_ABSENT = "peer_absent"
PEER_PATIENCE_S = 10.0  # after this time the absence is reported


class PeerPresence:
    """Raises ``peer_absent`` when nobody has proved to be the peer in time, and clears it when
    the peer has. Connections without a proof change only the words."""

    def __init__(self, peer: PeerSection, record: Callable[[Alarm], None]) -> None:
        self._peer, self._record = peer, record
        self._unreachable = ""  # last reason why the peer could not be reached
        self._raised: Alarm | None = None
        self.met = False  # with a proof
        self.somebody_came = False  # without one

    def not_reached(self, reason: str) -> None:
        self._unreachable = f" ({reason})"

    def prove(self) -> None:
        """The peer has proved itself."""
        self.met = True
        if self._raised is not None:
            raised, self._raised = self._raised, None
            self._record(dataclasses.replace(raised, active=False))

    async def miss(self) -> None:
        """Says once, after a while, that the peer is not there."""
        await asyncio.sleep(PEER_PATIENCE_S)
        if not self.met:
            self._raised = self.absent
            self._record(self._raised)

    @property
    def absent(self) -> Alarm:
        peer = self._peer
        if self.somebody_came:
            text = f"whoever was met at {peer.listen or peer.connect} has not proved to be the peer"
        elif peer.listen is not None:
            text = (
                f"nobody has connected to {peer.listen}. Does the peer run? Is its connect = right?"
            )
        else:
            text = f"no connection to {peer.connect}{self._unreachable}. Does the peer run there?"
        return alarm(PEER_ABSENT, text)
