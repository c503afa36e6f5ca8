"""Key from both bases against simulated truth: tests that no attack hides phase errors from both.

A pair carries a Pauli error that Eve chose: a flip of Z values (seen in Z), of X values (seen in
X), both, or none. Phase errors of the key of Z are the flips of X values on pairs measured in Z,
and the other way round. A block is accepted when both bases meet their thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from photonlink.pipeline.claim.soundness import SoundnessVerdict
from photonlink.pipeline.stages.finite_key.mismatch import PhaseErrorTest, phase_errors_per_key_bit
from photonlink.pipeline.stages.finite_key.tails import max_errors_unseen_log

Q_TOL = 0.05


@dataclass(frozen=True, slots=True)
class Attack:
    """Shares of all same-basis pairs with a flip of Z values only, of X values only, of both, in
    units of the share at which the bound is weakest."""

    name: str
    flip_z: float
    flip_x: float
    both: float


ATTACKS = (
    Attack("both bases alike", 0.0, 0.0, 1.0),
    Attack("both bases, other pairs", 1.0, 1.0, 0.0),
    Attack("Z alone is spied on", 0.0, 1.0, 0.0),
    Attack("X alone is spied on", 1.0, 0.0, 0.0),
    Attack("Z more than X", 0.7, 1.0, 0.0),
)


def check_attack(
    attack: Attack, eps: float, runs: int, rng: np.random.Generator, pairs: int = 4000
) -> SoundnessVerdict:
    """Share of runs in which an accepted block holds, in either key, more phase errors than
    charged; each key may fail with ``eps``."""
    log_eps, half = math.log(eps), pairs // 2
    tolerated = math.floor(Q_TOL * half)
    weakest = tolerated + max_errors_unseen_log(tolerated, half, half, log_eps) + 1
    kinds = [round(weakest * share) for share in (attack.flip_z, attack.flip_x, attack.both)]
    in_z = [rng.binomial(count, 0.5, size=runs) for count in kinds]
    n_z = sum(in_z) + rng.binomial(pairs - sum(kinds), 0.5, size=runs)
    n_x = pairs - n_z
    in_x = [count - z for count, z in zip(kinds, in_z, strict=True)]
    accepted = (in_z[0] + in_z[2] <= np.floor(Q_TOL * n_z)) & (
        in_x[1] + in_x[2] <= np.floor(Q_TOL * n_x)
    )
    charged = {
        int(n): max_errors_unseen_log(math.floor(Q_TOL * (pairs - n)), pairs - n, n, log_eps)
        for n in np.unique(np.concatenate([n_z, n_x])).tolist()
    }
    z_limit = np.array([charged[int(n)] for n in n_z])
    x_limit = np.array([charged[int(n)] for n in n_x])
    bad = (in_z[1] + in_z[2] > z_limit) | (in_x[0] + in_x[2] > x_limit)
    return SoundnessVerdict(
        f"two bases: {attack.name}", "sampling bound", "phase errors of either key", runs,
        int((accepted & bad).sum()), 2 * eps, math.nan,
    )  # fmt: skip


def check_mismatch(
    ratio: float, eps: float, runs: int, rng: np.random.Generator, *, charged_ratio: float | None,
    pairs: int = 8000,
) -> SoundnessVerdict:  # fmt: skip
    """Detectors that differ by ``ratio``, the states that exploit it best, at the error rate that
    hides them best. charged_ratio: the ratio given to the bound; None: the true one.
    """
    log_eps, half = math.log(eps), pairs // 2
    told = ratio if charged_ratio is None else charged_ratio
    tolerated = math.floor(Q_TOL * half)
    test = PhaseErrorTest.agreed(half, tolerated, log_eps, ratio=told)
    worst = 0
    for excess in (1.0, 1.1, 1.2, 1.3):
        cells = _exploiting_state(phase_errors_per_key_bit(excess * Q_TOL, ratio), ratio)
        counts = rng.multinomial(pairs, cells, size=runs)
        phase, good, errors, rest = counts.T
        n, k = phase + good, errors + rest
        accepted = errors <= np.floor(Q_TOL * k)
        rows = np.flatnonzero(accepted)
        limits = np.array(
            [test.max_phase_errors(int(n[i]), math.floor(Q_TOL * k[i]), log_eps) for i in rows]
        )
        worst = max(worst, int((phase[rows] > limits).sum()))
    return SoundnessVerdict(
        f"detectors within {ratio:g}, charged {told:g}", "ratio bound", "phase errors", runs, worst,
        eps, math.nan, claimed=told >= ratio,
    )  # fmt: skip


def _exploiting_state(x: float, ratio: float) -> np.ndarray:
    """Probabilities of one pair: key with phase error, key without, test error, test without. The
    state at which ``phase_errors_per_key_bit`` is reached: share x of phase errors behind the key
    filter, the fewest test errors."""
    c, h = (1 + 1 / math.sqrt(ratio)) / 2, (1 - 1 / math.sqrt(ratio)) / 2
    hidden = max(0.0, c * math.sqrt(x) - h) ** 2
    weights = np.array([x, 1 - x, hidden, c * c * (1 - x)])
    cells: np.ndarray = weights / weights.sum()
    return cells


def check_all(runs: int, seed: int) -> list[SoundnessVerdict]:
    """At 1e-2 and 1e-3: every attack; detectors that differ, their ratio charged and not."""
    rng = np.random.default_rng(seed)
    verdicts = [check_attack(attack, eps, runs, rng) for eps in (1e-2, 1e-3) for attack in ATTACKS]
    for eps in (1e-2, 1e-3):
        verdicts.append(check_mismatch(1.1, eps, runs, rng, charged_ratio=None))
        verdicts.append(check_mismatch(1.1, eps, runs, rng, charged_ratio=1.0))
    return verdicts
