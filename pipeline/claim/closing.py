"""Tests when a block may close: the sampling step against an Eve who stops the block at will.

Pairs come slot by slot; each falls to the key or the test basis with probability 1/2. Eve marks
the pairs she disturbs: each shows an error in either basis. She keeps the number of marks at every
slot where the bound is weakest, and stops the light when that helps her.

"slot by slot": bases are public after each slot, so she sees which of her marks fell where, and
stops at the first slot at which an accepted block holds more phase errors than charged. "times":
bases are announced when the block has closed; when she stops, she knows only her marks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from photonlink.pipeline.claim.soundness import SoundnessVerdict
from photonlink.pipeline.stages.finite_key.mismatch import PhaseErrorTest
from photonlink.pipeline.stages.finite_key.tails import max_errors_unseen_log

Rule = Literal["times", "slot by slot"]
Bound = Literal["sampling", "any time"]
Q_TOL = 0.05


@dataclass(frozen=True, slots=True)
class BlockSchedule:
    """slots of ``pairs`` same-basis pairs each; a block may close from slot ``first`` on."""

    slots: int = 24
    pairs: int = 400
    first: int = 4


def check_closing(
    rule: Rule, bound: Bound, eps: float, runs: int, rng: np.random.Generator,
    schedule: BlockSchedule | None = None,
) -> SoundnessVerdict:  # fmt: skip
    """Share of runs in which an accepted block holds more phase errors than charged at ``eps``."""
    plan = schedule or BlockSchedule()
    charged = _charged(bound, eps, plan)
    marks = _marks(charged, plan)
    violated = np.zeros(runs, dtype=bool)
    tested, seen = np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    last = int(rng.integers(plan.first, plan.slots + 1)) if rule == "times" else plan.slots
    for slot in range(1, last + 1):
        new = int(marks[slot] - marks[slot - 1])
        fell = rng.binomial(new, 0.5, size=runs)
        tested += fell + rng.binomial(plan.pairs - new, 0.5, size=runs)
        seen += fell
        if slot == last or (rule == "slot by slot" and slot >= plan.first):
            violated |= _violated(charged, slot * plan.pairs, int(marks[slot]), tested, seen)
    return SoundnessVerdict(
        f"closing on {rule}", f"{bound} bound", "phase errors", runs, int(violated.sum()), eps,
        math.nan, claimed=rule == "times" or bound == "any time",
    )  # fmt: skip


def _charged(bound: Bound, eps: float, plan: BlockSchedule) -> Callable[[int, int], float]:
    """Phase errors charged to n key bits with k test bits."""
    log_eps = math.log(eps)
    if bound == "sampling":
        return lambda n, k: max_errors_unseen_log(math.floor(Q_TOL * k), k, n, log_eps)
    half = plan.slots * plan.pairs // 2
    test = PhaseErrorTest.agreed(half, math.floor(Q_TOL * half), log_eps, ratio=1.0)
    return lambda n, k: test.max_phase_errors(n, math.floor(Q_TOL * k), log_eps)


def _marks(charged: Callable[[int, int], float], plan: BlockSchedule) -> np.ndarray:
    """Marks so far after each slot: one more than an accepted block of even halves is charged."""
    wanted = [0]
    for slot in range(1, plan.slots + 1):
        half = slot * plan.pairs // 2
        total = math.floor(Q_TOL * half) + math.floor(charged(half, half)) + 1
        new = min(plan.pairs, max(0, total - wanted[-1]))
        wanted.append(wanted[-1] + new)
    return np.array(wanted)


def _violated(
    charged: Callable[[int, int], float], pairs: int, marks: int, tested: np.ndarray,
    seen: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Accepted, and more phase errors in the key bits than charged."""
    accepted = seen <= np.floor(Q_TOL * tested)
    known = {int(k): charged(pairs - int(k), int(k)) for k in np.unique(tested[accepted])}
    limits = np.array([known.get(int(k), math.inf) for k in tested])
    violated: np.ndarray = accepted & (marks - seen > limits)
    return violated


def check_all(runs: int, seed: int) -> list[SoundnessVerdict]:
    """Both rules with the sampling bound, and with the bound that holds for any stopping time, at
    1e-2 and 1e-3.
    """
    rng = np.random.default_rng(seed)
    rows: tuple[tuple[Rule, Bound], ...] = (
        ("times", "sampling"), ("slot by slot", "sampling"), ("slot by slot", "any time"),
    )  # fmt: skip
    return [
        check_closing(rule, bound, eps, runs, rng) for eps in (1e-2, 1e-3) for rule, bound in rows
    ]
