"""``docs/claim.md``: the prose of the claim with the results of its checks in it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template

from photonlink.pipeline.claim import both_bases, closing, published, soundness, tables, vectors
from photonlink.pipeline.stages import finite_key as fk

# factor on the number of simulated blocks of the decoy bounds: these blocks are cheap
CHEAP = 50


def claim_page(vector_file: Path | None, runs: int, seed: int) -> tuple[str, list[str]]:
    """The page, and the failed checks: empty when the claim holds."""
    cases = vectors.run_file(vector_file) if vector_file is not None else []
    verdicts = soundness.check_all(runs, seed)
    closed = closing.check_all(CHEAP * runs, seed)
    both = both_bases.check_all(CHEAP * runs, seed)
    rows = published.published_links()
    failed = [f"vector {c.name}: {', '.join(c.differs)}" for c in cases if c.differs]
    failed += [
        f"{v.formula}, {v.bound} ({v.scenario}): {v.violations} violations in {v.runs}"
        for v in (*verdicts, *closed, *both)
        if v.claimed and not v.sound
    ]
    failed += [f"{r.name}: {r.ours:.4g} {r.unit}" for r in rows if r.required and not r.met]
    template = Template(resources.files(__package__).joinpath("claim.md.in").read_text("utf-8"))
    page = template.substitute(
        runs=runs,
        seed=seed,
        account=example_account(),
        vectors=tables.vector_table(cases),
        soundness=tables.soundness_table(verdicts),
        sampling=tables.sampling_table(verdicts),
        closing=tables.block_table(closed),
        both_bases=tables.block_table(both),
        bounds=tables.bounds_table(),
        shares=tables.share_table(),
        published=tables.published_table(rows),
    )
    return page, failed


def example_account() -> str:
    """A block of 200,000 sifted bits at 2.5 % errors, both bases, detectors within 1.02."""
    n, errors, q = 100_000, 2500, 0.0265
    tag = fk.verification_tag_bits(n, 1e-15).poly
    leak = fk.leak_bits(17_600, 40_000)
    string = fk.BasisString(n, errors, leak, tag, 2 * fk.multi_click_bits(n, 1e-4))
    test_z, test_x = fk.agreed_tests(n, n, q, q, 1e-10, 1.02)
    agreed = fk.TwoBasisThresholds(q, q, test_z=test_z, test_x=test_x)
    length = fk.two_basis_key_length(string, string, agreed, 1e-10, 1e-15)
    coincidences = fk.YieldBlock(
        string, string, agreed, length, 206_000, 0.025, 0.025, (("window", 4000),), 256
    )
    return f"{length.z}\n\n{fk.yield_account(coincidences)}"
