"""What a session is given and what it gives back."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from photonlink.hal.tags import Provenance
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.status.model import Alarm, BlockReport, LinkState

if TYPE_CHECKING:
    from photonlink.pipeline.keys.psk import PreSharedKey
    from photonlink.pipeline.stages.events import DetectorMap


class Role(enum.StrEnum):
    """Alice is the reference: she asks, matches and sends parities. Bob announces, corrects."""

    ALICE = "alice"
    BOB = "bob"

    @property
    def peer(self) -> Role:
        return Role.BOB if self is Role.ALICE else Role.ALICE


@dataclass(frozen=True, slots=True)
class Limits:
    """Local bounds and deadlines; they need not agree with the peer's.

    handshake_s: from connect to both tags.     silence_s: without a byte from the peer.
    keepalive_s: after this long without a byte sent, a Ping.
    phase_s: longest wait for the next step of a block.
    reconnect_burst, reconnect_period_s: token bucket for connections.
    outstanding: most requests Alice leaves unanswered.
    status_period_s: LinkState at most this often.
    """

    handshake_s: float = 5.0
    silence_s: float = 10.0
    keepalive_s: float = 2.0
    phase_s: float = 30.0
    reconnect_burst: int = 20
    reconnect_period_s: float = 2.0
    outstanding: int = 6
    status_period_s: float = 0.5


@dataclass(frozen=True, slots=True)
class SessionSetup:
    """All that is fixed for the life of a Session.

    randomness_provenance: REAL when ``randomness`` is the operating system's, else the key is
    marked. resolution_ps of both taggers comes with the acquisitions.
    """

    role: Role
    psk: PreSharedKey
    detector_map: DetectorMap
    parameters: AgreedParameters = field(default_factory=AgreedParameters)
    limits: Limits = field(default_factory=Limits)
    randomness_provenance: Provenance = Provenance.REAL
    description: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for the stream to the peer."""

    data: bytes

    def __repr__(self) -> str:
        return f"Send({len(self.data)} bytes)"


@dataclass(frozen=True, slots=True)
class Publish:
    record: LinkState | BlockReport | Alarm


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection (after what was sent before has left)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The session has done all it will ever do."""


Effect = Send | Publish | Disconnect | Finished
