"""The cost of several blocks together: epsilons add up, and authentication spends key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.costs import authentication_cost


@dataclass(frozen=True, slots=True)
class EpsilonBudget:
    """Failure probabilities of one block: secrecy, correctness, authentication."""

    eps_sec: float = 1e-10
    eps_cor: float = 1e-15
    eps_auth: float = 1e-12

    def __post_init__(self) -> None:
        inputs.epsilon("eps_sec", self.eps_sec)
        inputs.epsilon("eps_cor", self.eps_cor)
        inputs.epsilon("eps_auth", self.eps_auth)

    @property
    def block(self) -> float:
        """eps = eps_sec + eps_cor + eps_auth."""
        return self.eps_sec + self.eps_cor + self.eps_auth

    def after(self, blocks: int) -> float:
        """Bound on any failure in ``blocks`` attempted blocks: the bounds add, up to 1."""
        return min(1.0, inputs.count("blocks", blocks) * self.block)


@dataclass(frozen=True, slots=True)
class NetKey:
    """secret_bits of a block less the pads its authentication spent; negative: a net loss."""

    secret_bits: int
    otp_bits: int
    eps_auth: float

    @property
    def bits(self) -> int:
        return self.secret_bits - self.otp_bits

    def __str__(self) -> str:
        return (
            f"secret {self.secret_bits:,} less {self.otp_bits:,} of authentication pads: "
            f"net {self.bits:,} (forgery passes with at most {self.eps_auth:.2g})"
        )


def net_key(secret_bits: int, message_bits: Sequence[int], tag_bits: int) -> NetKey:
    """Key a block really adds, when these messages were authenticated with one pad each."""
    cost = authentication_cost(message_bits, tag_bits)
    return NetKey(inputs.count("secret_bits", secret_bits), cost.otp_bits, cost.eps_auth)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Counts of blocks by the step they reached; each is charged for the failures possible up to
    that step.

    announced: blocks whose bases were announced, whatever became of them (secrecy). verified: of
    them, those that came to error verification (correctness). tagged: those for which one-time
    tags were sent. A block counts before the act, so a crash leaves it counted.
    """

    announced: int = 0
    verified: int = 0
    tagged: int = 0

    def __post_init__(self) -> None:
        announced = inputs.count("attempts.announced", self.announced)
        verified = inputs.count("attempts.verified", self.verified, at_most=announced)
        inputs.count("attempts.tagged", self.tagged, at_most=verified)

    def epsilon(self, budget: EpsilonBudget) -> float:
        """announced eps_sec + verified eps_cor + tagged eps_auth, at most 1."""
        return min(
            1.0,
            self.announced * budget.eps_sec
            + self.verified * budget.eps_cor
            + self.tagged * budget.eps_auth,
        )

    def left(self, budget: EpsilonBudget, allowed: float) -> int:
        """How many further blocks may be attempted before the sum exceeds ``allowed``."""
        rest = inputs.rate("allowed", allowed) - self.epsilon(budget)
        return min(inputs.LARGEST_COUNT, max(0, math.floor(rest / budget.block)))
