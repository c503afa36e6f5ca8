"""Write ``two_bases.json``: two-basis key lengths in 60-digit arithmetic, from the formulas.

Shares no code with the product: run it by hand, ``python tests/vectors/make_two_bases.py``.
Per basis: E = largest number of phase errors in the n bits that P[X <= floor(q k) | hypergeometric]
still exceeds eps_pe^2 for (bisection on a falling function), or (mu n + nu floor(q k) +
2 ln 1/eps_pe) / lambda for detectors within a ratio;
l = floor(n [1 - h(min(1/2, E / n))] - leak - other - max(tag, t) - 1 + 2 log2(2 eps_pa)),
eps_pe = share eps_sec / 4, eps_pa = (1 - share) eps_sec / 2, t = ceil(log2 1/eps_cor).
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
from mpmath import mpf

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "pipeline"))

import slow_tail  # noqa: E402

mpmath.mp.dps = 60


def entropy(x: mpf) -> mpf:
    if x >= mpf(1) / 2:
        return mpf(1)
    if x <= 0:
        return mpf(0)
    return -x * mpmath.log(x, 2) - (1 - x) * mpmath.log(1 - x, 2)


def most_phase_errors(observed: int, k: int, n: int, failure: mpf) -> int:
    low, high = 0, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        if slow_tail.cdf(observed, n + k, observed + middle, k) > failure:
            low = middle
        else:
            high = middle
    return low


def ratio_bound(n: int, m: int, failure: mpf, ratio: str, rho: str, y0: str, lam: str) -> mpf:
    r, b, y, la = mpf(ratio), mpf(rho), mpf(y0), mpf(lam)
    c, h = (1 + 1 / mpmath.sqrt(r)) / 2, (1 - 1 / mpmath.sqrt(r)) / 2
    slope = (1 + h / mpmath.sqrt(y)) / c**2
    offset = ((mpmath.sqrt(y) + h) / c) ** 2 - slope * y
    mu = mpmath.log(1 + offset * (mpmath.exp(la) - 1))
    nu = -mpmath.log(1 - slope * b * mpmath.exp(-mu) * (mpmath.exp(la) - 1))
    return (mu * n + nu * m + mpmath.log(1 / failure)) / la


def floor_of(q: str, bits: int) -> int:
    """floor(q bits), exactly, with q as the agreed decimal number."""
    return int(Fraction(q) * bits)


def length(case: dict[str, Any]) -> dict[str, Any]:
    eps_sec, share = mpf(case["eps_sec"]), mpf(case["share"])
    failure = (share * eps_sec / 4) ** 2
    t = int(mpmath.ceil(mpmath.log(1 / mpf(case["eps_cor"]), 2)))
    refused = any(
        case[b]["bits"] == 0 or case[b]["errors"] > floor_of(case["q_" + b], case[b]["bits"])
        for b in ("z", "x")
    )
    out: dict[str, Any] = {}
    for own, other in (("z", "x"), ("x", "z")):
        n, k = case[own]["bits"], case[other]["bits"]
        if n and k:
            m = floor_of(case["q_" + other], k)
            if case.get("ratio"):
                test = case["test_" + own]
                bound = ratio_bound(n, m, failure, case["ratio"], *test)
            else:
                bound = mpf(most_phase_errors(m, k, n, failure))
            phi = min(mpf(1) / 2, bound / n)
        else:
            phi = mpf(1) / 2
        real = (
            n * (1 - entropy(phi)) - mpf(case[own]["leak"]) - mpf(case[own]["other"])
            - max(case[own]["tag"], t) - 1 + 2 * mpmath.log((1 - share) * eps_sec, 2)
        )  # fmt: skip
        out["phi_" + own] = float(phi)
        out["length_" + own] = 0 if refused else max(0, int(mpmath.floor(real)))
    return out


def _string(bits: int, rate: str, leak: str, tag: int = 64, other: str = "0") -> dict[str, Any]:
    return {"bits": bits, "errors": int(mpf(rate) * bits), "leak": leak, "tag": tag, "other": other}


def cases() -> list[dict[str, Any]]:
    plain = {"eps_sec": "1e-10", "eps_cor": "1e-15", "share": "0.5"}
    sizes = [
        (140_000, 140_000, "0.025", "0.025", "0.0262", "0.0262", "24500", "24500"),
        (5_000, 5_000, "0.02", "0.03", "0.03", "0.04", "900", "1100"),
        (1_500_000, 1_500_000, "0.025", "0.025", "0.0254", "0.0254", "262000", "262000"),
        (200_000, 10_000, "0.02", "0.03", "0.0215", "0.034", "30000", "2300"),
        (1_000, 300_000, "0.01", "0.015", "0.02", "0.0161", "100", "35000"),
        (50_000, 50_000, "0.06", "0.001", "0.064", "0.0015", "18000", "700"),
        (50_000, 50_000, "0.12", "0.12", "0.13", "0.13", "28000", "28000"),
        (300, 300, "0", "0", "0.01", "0.01", "0", "0"),
        (1, 100_000, "0", "0.02", "0.03", "0.03", "0", "15000"),
        (0, 100_000, "0", "0.02", "0.03", "0.03", "0", "15000"),
        (80_000, 80_000, "0.031", "0.02", "0.03", "0.03", "16000", "12000"),
        (80_000, 80_000, "0.02", "0.031", "0.03", "0.03", "12000", "16000"),
    ]
    made = []
    for n_z, n_x, e_z, e_x, q_z, q_x, leak_z, leak_x in sizes:
        made.append(plain | {"z": _string(n_z, e_z, leak_z), "x": _string(n_x, e_x, leak_x),
                             "q_z": q_z, "q_x": q_x})  # fmt: skip
    for share, eps in (("0.6666666666666666", "1e-12"), ("0.95", "1e-6")):
        made.append(made[0] | {"share": share, "eps_sec": eps})
    made.append(made[0] | {"z": _string(140_000, "0.025", "24500", 96, "1234.5")})
    for ratio, rho_z, rho_x in (("1.02", "1", "1"), ("1.25", "1", "1"), ("1.1", "20", "0.05")):
        start = made[0] if rho_z == "1" else made[3]
        made.append(start | {"ratio": ratio, "test_z": [rho_z, "0.03", "0.05"],
                             "test_x": [rho_x, "0.028", "0.06"]})  # fmt: skip
    made[-1]["test_z"][2] = "0.012"  # many key bits per test bit need a lower tolerance
    return made


def main() -> None:
    vectors = []
    for number, case in enumerate(cases(), 1):
        vectors.append({"id": f"two-bases-{number:02}", "inputs": case, "expected": length(case)})
        print(vectors[-1]["id"], vectors[-1]["expected"])
    meta = {"description": "Two-basis key lengths. Lengths exactly, phi to 1e-9.",
            "made_by": "make_two_bases.py"}  # fmt: skip
    text = json.dumps({"meta": meta, "vectors": vectors}, indent=1)
    (HERE / "two_bases.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
