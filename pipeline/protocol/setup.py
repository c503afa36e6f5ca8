"""What a session is given and what it gives back."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from photonlink.hal.tags import Provenance
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.status.model import SessionRecord

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
    """Local bounds and deadlines; they need not equal the peer's.

    handshake_s: from connect to both proofs.   silence_s: without a frame from the peer.
    keepalive_s: after this long without a byte sent, a Ping.
    phase_s: longest wait for the next step of a block.
    answer_s: longest wait for the answer to a request, whatever else arrives.
    backoff_s: after a wrong one-time tag connections are refused for the first value; each further
    one doubles the wait, up to the second value. doors: most streams without a valid Proof; beyond
    it streams without a fitting Hello are closed first, the oldest first. outstanding: most
    requests Alice leaves unanswered. status_period_s: LinkState at most this often.
    """

    handshake_s: float = 5.0
    silence_s: float = 8.0
    keepalive_s: float = 2.0
    phase_s: float = 9.0
    answer_s: float = 8.0
    backoff_s: tuple[float, float] = (1.0, 60.0)
    outstanding: int = 6
    doors: int = 32
    status_period_s: float = 0.5


@dataclass(frozen=True, slots=True)
class SessionSetup:
    """All that is fixed for the life of a Session.

    bench: the constants that define a coincidence, the same at both ends.
    randomness_provenance: REAL when ``randomness`` is the operating system's, else the key is
    marked. resolution_ps of both taggers comes with the acquisitions.
    """

    role: Role
    psk: PreSharedKey
    detector_map: DetectorMap
    bench: BenchConstants
    parameters: AgreedParameters = field(default_factory=AgreedParameters)
    limits: Limits = field(default_factory=Limits)
    randomness_provenance: Provenance = Provenance.REAL
    description: Mapping[str, str] = field(default_factory=dict)
    node: str = ""  # the name under which this end publishes its status; sent to the peer

    @property
    def is_alice(self) -> bool:
        return self.role is Role.ALICE

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Assumptions beside those of every link: docs/claim.md names them."""
        learned = () if self.bench.claimed else ("NO_EAVESDROPPER",)
        return (*self.parameters.assumptions, *learned)


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for one of the open streams."""

    data: bytes
    stream: int = 0

    def __repr__(self) -> str:
        return f"Send({len(self.data)} bytes)"


@dataclass(frozen=True, slots=True)
class Publish:
    record: SessionRecord


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close a stream, after earlier bytes have left."""

    reason: str
    stream: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The session has ended; it returns no further effects."""


Effect = Send | Publish | Disconnect | Finished
