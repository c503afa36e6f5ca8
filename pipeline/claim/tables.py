"""Tables of ``docs/claim.md``: verdicts, vectors, published links, bounds beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from photonlink.pipeline.claim import published, soundness, vectors
from photonlink.pipeline.stages import finite_key as fk

DECOY_BOUNDS = ("s_key_0", "s_key_1", "s_test_1", "v_test_1", "phi")
_EPS_SEC, _EPS_COR = 1e-10, 1e-15


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def vector_table(cases: Sequence[vectors.Case]) -> str:
    if not cases:
        return "Not run: no file of vectors was given."
    functions = dict.fromkeys(c.function for c in cases)
    rows = []
    for function in functions:
        own = [c for c in cases if c.function == function]
        tolerance = vectors.TOLERANCE.get(function, 1e-9)
        rows.append(
            (f"`{function}`", str(len(own)), str(sum(not c.differs for c in own)), f"{tolerance:g}")
        )
    met = sum(not c.differs for c in cases)
    total = f"{met} of {len(cases)} agree: lengths and tags exactly, reals to the tolerance."
    return total + "\n\n" + table(("function", "vectors", "agree", "tolerance of reals"), rows)


_VERDICT = ("scenario", "formula", "bound", "violated", "allowed", "tightness")


def soundness_table(verdicts: Sequence[soundness.SoundnessVerdict]) -> str:
    """The bounds that enter a length; and in one row the worst of the single terms."""
    decoy = [v for v in verdicts if not v.scenario.startswith("sampling")]
    rows = [_verdict_row(v) for v in decoy if v.bound in DECOY_BOUNDS]
    terms = [v for v in decoy if "^" in v.bound]
    worst = max(terms, key=lambda v: v.violations / v.runs)
    return (
        f"{table(_VERDICT, rows)}\n\nOf {len(terms)} single terms (n±, m± per intensity) the one "
        f"violated most often is {worst.bound} of {worst.formula} ({worst.scenario}): "
        f"{worst.violations} of {worst.runs}, allowed {worst.allowed:.2f}."
    )


def sampling_table(verdicts: Sequence[soundness.SoundnessVerdict]) -> str:
    rows = [_verdict_row(v) for v in verdicts if v.scenario.startswith("sampling")]
    return table(_VERDICT, rows)


def _verdict_row(v: soundness.SoundnessVerdict) -> tuple[str, ...]:
    return v.scenario, v.formula, v.bound, _share(v), f"{v.allowed:.2f}", f"{v.tightness:.2f}"


def _share(v: soundness.SoundnessVerdict) -> str:
    return f"{v.violations / v.runs:.4f}" + ("" if v.sound else " **too often**")


def block_table(verdicts: Sequence[soundness.SoundnessVerdict]) -> str:
    """Verdicts on whole blocks: how they close, both bases, detectors that differ."""
    rows = [
        (v.scenario, v.formula, str(v.runs), f"{v.violations / v.runs:.5f}"
         + ("" if v.sound else " **too often**"), f"{v.allowed:g}", "yes" if v.claimed else "no")
        for v in verdicts
    ]  # fmt: skip
    return table(("scenario", "bound", "runs", "violated", "allowed", "claimed"), rows)


def bounds_table() -> str:
    """Secret bits per key bit of all bounds of this project, equal n and k, equal epsilon."""
    rows = []
    for power in range(4, 9):
        n, q = 10**power, 0.025
        leak = fk.planned_leak(n, q, 1.05)
        small = fk.lim2021(n, n, q, leak, _EPS_SEC, _EPS_COR, optimise=True).key
        errors = math.floor(q * n)
        exact = fk.bbm92_exact(n, n, errors, leak, _EPS_SEC, _EPS_COR)
        older = fk.tlgr2012(n, n, q, leak, _EPS_SEC, _EPS_COR)
        log_failure = 2 * math.log(_EPS_SEC / 3)
        any_time = fk.PhaseErrorTest.agreed(n, errors, log_failure, ratio=1.0)
        phi = any_time.max_phase_errors(n, errors, log_failure) / n
        whenever = exact.length + n * (fk.binary_entropy(exact.phi) - fk.binary_entropy(phi))
        lengths = (older.length, small.length, whenever, exact.length)
        rows.append((f"1e{power}", *(f"{length / n:.3f}" for length in lengths)))
    head = ("n = k", "Tomamichel 2012", "Lim 2021, best split", "any time, r = 1", "exact tail")
    return table(head, rows)


def two_basis_share(coincidences: int, visibility: float, ratio: float | None) -> float:
    """Secret bits of both bases over n (1 - 2 h(e)), blocks that aborts refuse in 1 of 100 at a
    threshold from eight earlier ones, leak of f = 1.04."""
    n, e = coincidences // 2, (1 - visibility) / 2
    q = fk.threshold_from([fk.EarlierBlock(round(e * n), n)] * 8, n, 0.005, first=0.08)
    test_z = test_x = None
    if ratio is not None:
        test_z, test_x = fk.agreed_tests(n, n, q, q, _EPS_SEC, ratio)
    agreed = fk.TwoBasisThresholds(q, q, test_z=test_z, test_x=test_x)
    tag = fk.verification_tag_bits(n, _EPS_COR).poly
    string = fk.BasisString(n, round(e * n), fk.planned_leak(n, e, 1.04), tag)
    secret = fk.two_basis_key_length(string, string, agreed, _EPS_SEC, _EPS_COR).length
    return secret / (2 * n * (1 - 2 * fk.binary_entropy(e)))


def share_table() -> str:
    rows = []
    for coincidences in (280_000, 3_000_000, 30_000_000):
        for visibility in (0.95, 0.90, 0.87):
            shares = [
                two_basis_share(coincidences, visibility, ratio)
                for ratio in (None, 1.005, 1.02, 1.1)
            ]
            rows.append((f"{coincidences:,}", f"{visibility:.2f}", *(f"{s:.3f}" for s in shares)))
    head = ("coincidences", "visibility", "equal detectors", "r = 1.005", "r = 1.02", "r = 1.1")
    return table(head, rows)


def _figure(x: float, digits: int = 5) -> str:
    """Significant digits, thousands apart."""
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(x)))) if x else 0
    text = f"{float(f'{x:.{digits}g}'):,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def published_table(rows: Sequence[published.Row]) -> str:
    body = []
    for r in rows:
        met = "yes" if r.met else "**no**" if r.required else "no, shown only"
        notes = [f"fitted: {', '.join(r.fitted)}"] if r.fitted else []
        notes += [f"from memory: {', '.join(r.from_memory)}"] if r.from_memory else []
        notes += [r.note] if r.note else []
        # three digits of results of an optimiser or a channel model: all machines agree on them
        ours = _figure(r.ours, 5 if r.unit == "km" else 3)
        accepted = f"{_figure(r.accepted[0])} to {_figure(r.accepted[1])}"
        figures = (_figure(r.published), ours, accepted, r.unit)
        body.append((r.name, *figures, met, "; ".join(notes)))
    return table(("link", "published", "ours", "accepted", "unit", "met", "remarks"), body)
