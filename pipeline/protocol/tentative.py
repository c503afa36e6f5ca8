"""What message handlers may reach: all of it is dropped with the connection.

A handler reads parameters and its own randomness, and returns *steps*: messages to send and changes
that outlive the connection. The session carries the steps out in their order, so that a record is
on disk before the message that depends on it leaves. No object that outlives the connection can be
reached from here (``tests/pipeline/test_tentative.py`` walks the references).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from photonlink.hal.tags import Provenance
from photonlink.pipeline.keys.policy import least_real
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.protocol.block_account import BlockAccount
from photonlink.pipeline.protocol.messages import Message
from photonlink.pipeline.protocol.setup import Limits, Role
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.bench_constants import BenchConstants
from photonlink.pipeline.stages.block_thresholds import EarlierErrors
from photonlink.pipeline.status.model import CoincidenceHistogram


@dataclass(frozen=True, slots=True)
class Say:
    """A message for the peer."""

    message: Message


@dataclass(frozen=True, slots=True)
class BlockAttempt:
    """The bases of this block are announced next: write the attempt, with its epsilon, first."""

    block: int
    pairs: int


@dataclass(frozen=True, slots=True)
class EndBlock:
    """The block gives no key. ``agreed``: both ends know it; else it burns on this side."""

    account: BlockAccount
    reason: str
    agreed: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """Alice: both ends' checks have passed and the strings are equal. The commitment takes over the
    block and its strings.
    """

    account: BlockAccount
    strings: tuple[SecretBits, ...]
    alice_pad: int  # positions of the pads that Bob has reserved
    bob_pad: int
    peer_provenance: Provenance


@dataclass(frozen=True, slots=True)
class Expect:
    """Bob: the strings are equal and his checks have passed: reserve the pads, tell Alice, wait for
    Amplify.
    """

    account: BlockAccount
    strings: tuple[SecretBits, ...]
    peer_provenance: Provenance


@dataclass(frozen=True, slots=True)
class Mark:
    """Verify was sent (Alice) or received (Bob): the block's tags cover that direction so far."""

    sent: bool


@dataclass(frozen=True, slots=True)
class Raise:
    """An alarm; ``text`` None clears it."""

    code: str
    text: str | None


Step = Say | BlockAttempt | EndBlock | Offer | Expect | Mark | Raise


@dataclass(slots=True)
class Tentative:
    """One connection, as handlers see it."""

    role: Role
    parameters: AgreedParameters
    limits: Limits
    bench: BenchConstants
    randomness: Callable[[int], bytes]
    next_block: int
    now_s: float = 0.0
    seen_rate: float | None = None  # error rate of an earlier block that gave key
    tried: bool = False  # whether a block was reported before
    earlier: EarlierErrors = field(default_factory=EarlierErrors)  # of this connection
    peer_provenance: Provenance = Provenance.REAL
    show: dict[str, Any] = field(default_factory=dict)  # LinkState fields as they are now
    histogram: CoincidenceHistogram | None = None  # the latest, for displays
    steps: list[Step] = field(default_factory=list)

    @property
    def is_alice(self) -> bool:
        return self.role is Role.ALICE

    @property
    def charged_ratio(self) -> float:
        """Ratio of the detectors' efficiencies that the key length pays for."""
        return self.bench.ratio if self.parameters.charge_mismatch else 1.0

    def say(self, message: Message) -> None:
        self.steps.append(Say(message))

    def wish(self, step: Step) -> None:
        self.steps.append(step)

    def raise_alarm(self, code: str, text: str) -> None:
        self.steps.append(Raise(code, text))

    def clear_alarm(self, code: str) -> None:
        self.steps.append(Raise(code, None))

    def mark(self, provenance: Provenance) -> None:
        """The provenance that the peer has told; a block carries it once its tags were right."""
        self.peer_provenance = least_real(self.peer_provenance, provenance)

    def take_steps(self) -> list[Step]:
        steps, self.steps = self.steps, []
        return steps
