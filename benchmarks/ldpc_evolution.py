"""Density evolution of the decoder's own arithmetic, and a search for column degrees.

python benchmarks/ldpc_evolution.py RATE [--seconds S] [--seed N]    RATE: checks per bit

Follows the probability of every message in steps of 1/3, as in pipeline/core/ldpc_portable.c, but
with the exact check rule (quantised density evolution: Richardson and Urbanke, IEEE Trans. Inf.
Theory 47, 599, 2001; from general knowledge), for the flooding schedule; the layered one shares
its thresholds at about half the iterations. The search keeps a change when the highest error rate
that converges within the budget of edge visits rises.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

DEGREES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20)
SIZE, TOP, CAP = 2048, 127, 31  # CAP: limit of a check's message
UNIT = 3  # steps per unit of log-likelihood ratio
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    rate: float  # checks per bit
    share: tuple[float, ...]  # of columns, by DEGREES

    @property
    def mean_degree(self) -> float:
        return float(np.dot(self.share, DEGREES))


def _box_plus() -> npt.NDArray[np.intp]:
    """Exact rule for two values in half steps, by index 0..2 CAP; rounded to half steps."""
    x = np.arange(2 * CAP + 1) / (2 * UNIT)
    a, b = np.meshgrid(x, x)
    exact = np.logaddexp(0, -(a + b)) - np.logaddexp(0, -np.abs(a - b)) + np.minimum(a, b)
    return np.rint(np.maximum(exact, 0) * 2 * UNIT).astype(np.intp).ravel()


BOX_PLUS = _box_plus()


def _join(x: Floats, y: Floats) -> Floats:
    return np.bincount(BOX_PLUS, np.outer(x, y).ravel(), 2 * CAP + 1)


def _joined(x: Floats, count: int) -> Floats:
    """Distribution of the rule's result for `count` independent values."""
    result, power = None, x
    while count:
        if count & 1:
            result = power if result is None else _join(result, power)
        count >>= 1
        power = _join(power, power) if count else power
    assert result is not None
    return result


def checks(q: Floats, design: Design) -> Floats:
    """Distribution of a check's messages from that of its inputs; index TOP is value 0."""
    positive, negative = np.zeros(2 * CAP + 1), np.zeros(2 * CAP + 1)
    positive[::2], negative[2::2] = q[TOP : TOP + CAP + 1], q[TOP - 1 : TOP - CAP - 1 : -1]
    positive[-1] += q[TOP + CAP + 1 :].sum()
    negative[-1] += q[: TOP - CAP].sum()
    mean = design.mean_degree / design.rate
    low = math.floor(mean)
    high_edges = (mean - low) * (low + 1) / mean
    ends = []
    for x in (positive + negative, positive - negative):  # both signs added; positive less negative
        most = _joined(x, low - 1)
        ends.append((1 - high_edges) * most + high_edges * _join(most, x))
    out = np.zeros(2 * TOP + 1)
    half = np.arange(2 * CAP + 1) / 2
    for sign, size in ((1, (ends[0] + ends[1]) / 2), (-1, (ends[0] - ends[1]) / 2)):
        for whole in (np.floor(half), np.ceil(half)):  # half steps are rounded up and down equally
            out += np.bincount(TOP + sign * whole.astype(int), size / 2, 2 * TOP + 1)
    return np.maximum(out, 0) / out.sum()


def bits(message: Floats, design: Design, qber: float) -> Floats:
    """Distribution of a bit's messages to a check."""
    wide = np.zeros(SIZE)
    wide[: TOP + 1] = message[TOP:]
    wide[-TOP:] = message[:TOP]
    transform = np.fft.rfft(wide)
    channel, size = np.zeros(SIZE), math.ceil(UNIT * math.log((1 - qber) / qber))
    channel[size], channel[-size] = 1 - qber, qber
    total = np.zeros_like(transform)
    power, at = np.ones_like(transform), 1
    for degree, share in zip(DEGREES, design.share, strict=True):
        while at < degree:
            power, at = power * transform, at + 1
        total += share * degree / design.mean_degree * power
    wide = np.maximum(np.fft.irfft(total * np.fft.rfft(channel)), 0)
    half = SIZE // 2
    out = np.zeros(2 * TOP + 1)
    out[TOP:] = wide[: TOP + 1]
    out[:TOP] = wide[-TOP:]
    out[-1] += wide[TOP + 1 : half].sum()
    out[0] += wide[half:-TOP].sum()
    return out / out.sum()


def iterations(design: Design, qber: float, limit: int) -> int:
    """Until fewer than one message in 10^4 is wrong (the cap hides the rest); 0: not in `limit`."""
    message = np.zeros(2 * TOP + 1)
    message[TOP] = 1.0
    history = []
    for i in range(limit):
        q = bits(message, design, qber)
        wrong = float(q[:TOP].sum() + q[TOP] / 2)
        if wrong < 1e-4:
            return i
        history.append(wrong)
        if i > 20 and wrong > 0.9995 * history[-5]:
            return 0
        message = checks(q, design)
    return 0


def converges(design: Design, qber: float, visits: float) -> bool:
    return iterations(design, qber, int(visits / design.mean_degree)) > 0


def threshold(design: Design, visits: float) -> float:
    low, high = 0.0, 0.25
    for _ in range(11):
        middle = (low + high) / 2
        low, high = (middle, high) if converges(design, middle, visits) else (low, middle)
    return low


def mutate(design: Design, rng: np.random.Generator) -> Design:
    share = np.array(design.share)
    for _ in range(rng.integers(1, 3)):
        a, b = rng.choice(len(share), 2, replace=False)
        moved = min(share[a], 0.1 * 10 ** rng.uniform(-2, 0))
        share[a] -= moved
        share[b] += moved
    most = 0.8 * design.rate  # columns of degree 2 must stay a forest on the rows
    if share[0] > most:
        share[1] += share[0] - most
        share[0] = most
    share[share < 0.004] = 0
    share /= share.sum()
    return replace(design, share=tuple(share))


def entropy(p: float) -> float:
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


def search(rate: float, seconds: float, seed: int, visits: float) -> tuple[Design, float]:
    rng = np.random.default_rng(seed)
    share = np.zeros(len(DEGREES))
    share[0], share[6], share[9] = 0.3 * rate, 0.1, 0.09
    share[1] = 1 - share.sum()
    design = Design(rate, tuple(share))
    best = threshold(design, visits)
    end = time.process_time() + seconds
    while time.process_time() < end:
        candidate, step = mutate(design, rng), 1.0005
        if not converges(candidate, best * step, visits):
            continue
        while converges(candidate, best * step, visits):
            best, step = best * step, 1 + 1.5 * (step - 1)
        design = candidate
    return design, best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rate", type=float, nargs="+")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--visits", type=float, default=350, help="edge visits per bit")
    options = parser.parse_args()
    for rate in options.rate:
        design, best = search(rate, options.seconds, options.seed, options.visits)
        shares = {d: round(float(s), 3) for d, s in zip(DEGREES, design.share, strict=True) if s}
        print(
            f"rate {rate:.4f}: threshold {best:.5f} f {rate / entropy(best):.4f} degrees {shares} "
            f"mean {design.mean_degree:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
