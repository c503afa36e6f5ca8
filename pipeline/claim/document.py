"""``docs/claim.md``: the prose of the claim with the results of its checks in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

from photonlink.pipeline.claim import published, soundness, vectors
from photonlink.pipeline.stages.finite_key import bbm92_key_length, verification_tag_bits

DECOY_BOUNDS = ("s_key_0", "s_key_1", "s_test_1", "v_test_1", "phi")


def claim_page(vector_file: Path | None, runs: int, seed: int) -> tuple[str, list[str]]:
    """The page, and what failed: empty when the claim stands."""
    cases = vectors.run_file(vector_file) if vector_file is not None else []
    verdicts = soundness.check_all(runs, seed)
    rows = published.published_links()
    failed = [f"vector {c.name}: {', '.join(c.differs)}" for c in cases if c.differs]
    failed += [
        f"{v.formula}, {v.bound} ({v.scenario}): {v.violations} violations in {v.runs}"
        for v in verdicts
        if v.claimed and not v.sound
    ]
    failed += [f"{r.name}: {r.ours:.4g} {r.unit}" for r in rows if r.required and not r.met]
    template = Template(resources.files(__package__).joinpath("claim.md.in").read_text("utf-8"))
    page = template.substitute(
        runs=runs,
        seed=seed,
        account=example_account(),
        vectors=vector_table(cases),
        soundness=soundness_table(verdicts),
        sampling=sampling_table(verdicts),
        published=published_table(rows),
    )
    return page, failed


def example_account() -> str:
    """A block of the size the node makes by default."""
    tag = verification_tag_bits(100_000, 1e-15).poly
    return str(bbm92_key_length(100_000, 100_000, 0.05, 33_000, tag, 1e-10, 1e-15))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
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
    return total + "\n\n" + _table(("function", "vectors", "agree", "tolerance of reals"), rows)


def soundness_table(verdicts: Sequence[soundness.Verdict]) -> str:
    """The bounds a length is made of; and in one row the worst of the single terms."""
    decoy = [v for v in verdicts if not v.scenario.startswith("sampling")]
    rows = [_verdict_row(v) for v in decoy if v.bound in DECOY_BOUNDS]
    terms = [v for v in decoy if "^" in v.bound]
    worst = max(terms, key=lambda v: v.violations / v.runs)
    text = _table(("scenario", "formula", "bound", "violated", "allowed", "tightness"), rows)
    return (
        f"{text}\n\nOf {len(terms)} single terms (n±, m± per intensity) the one violated most "
        f"often is {worst.bound} of {worst.formula} ({worst.scenario}): {worst.violations} of "
        f"{worst.runs}, allowed {worst.allowed:.2f}."
    )


def sampling_table(verdicts: Sequence[soundness.Verdict]) -> str:
    rows = [_verdict_row(v) for v in verdicts if v.scenario.startswith("sampling")]
    return _table(("scenario", "formula", "bound", "violated", "allowed", "tightness"), rows)


def _verdict_row(v: soundness.Verdict) -> tuple[str, ...]:
    share = f"{v.violations / v.runs:.4f}" + ("" if v.sound else " **too often**")
    return v.scenario, v.formula, v.bound, share, f"{v.allowed:.2f}", f"{v.tightness:.2f}"


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
        # three digits of what an optimiser or a channel model gave: no machine differs in them
        ours = _figure(r.ours, 5 if r.unit == "km" else 3)
        accepted = f"{_figure(r.accepted[0])} to {_figure(r.accepted[1])}"
        figures = (_figure(r.published), ours, accepted, r.unit)
        body.append((r.name, *figures, met, "; ".join(notes)))
    return _table(("link", "published", "ours", "accepted", "unit", "met", "remarks"), body)
