"""docs/claim.md is the output of the command; the command fails when the claim does not hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner

from photonlink.pipeline.claim import (
    both_bases,
    closing,
    document,
    published,
    soundness,
    tables,
    vectors,
)
from photonlink.pipeline.cli.main import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "claim.md"


def test_the_page_shows_the_published_links_as_computed_now() -> None:
    assert tables.published_table(published.published_links()) in PAGE.read_text("utf-8")


def test_the_page_has_the_prose_and_the_account_of_its_template() -> None:
    page = PAGE.read_text("utf-8")
    template = (PAGE.parents[1] / "pipeline" / "claim" / "claim.md.in").read_text("utf-8")
    for paragraph in template.split("\n\n"):
        if "$" not in paragraph:
            assert paragraph.strip() in page
    assert document.example_account() in page
    assert tables.bounds_table() in page
    assert tables.share_table() in page
    assert "94 of 94 agree" in page
    assert "$" not in page


def test_f4_recent_proofs_are_answered_paper_by_paper() -> None:
    """Row F4: each paper's requirement, how the project meets it, and which parts were read."""
    papers = ("2601.17960", "2507.21416", "2511.21253", "2408.17349", "2405.16578", "2601.18035")
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    for paper in papers:
        (row,) = (line for line in rows if f"arXiv:{paper}" in line)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4
        assert all(cells)
        assert "abstract" in cells[3]


@pytest.mark.parametrize("side", ["vectors", "soundness", "closing", "both_bases", "published"])
def test_a_side_that_fails_fails_the_command(side: str, monkeypatch: pytest.MonkeyPatch,
                                             tmp_path: Path) -> None:  # fmt: skip
    good = published.published_links()[:1]
    kept = soundness.SoundnessVerdict("a", "b", "n^-_1", 100, 0, 0.01, 0.9)
    lost = dataclasses.replace(kept, violations=90)
    cases = [vectors.Case("v-1", "gamma", ("value: 1 instead of 2",))]
    rows = [dataclasses.replace(good[0], met=False)]
    arguments = ["claim", "--vectors", str(tmp_path), "--write", str(tmp_path / "page.md")]
    for failing in (side, "none"):
        monkeypatch.setattr(vectors, "run_file", lambda _: [])
        monkeypatch.setattr(published, "published_links", lambda: good)
        for module in (soundness, closing, both_bases):
            monkeypatch.setattr(module, "check_all", lambda *_: [kept])
        if failing == "vectors":
            monkeypatch.setattr(vectors, "run_file", lambda _: cases)
        elif failing == "published":
            monkeypatch.setattr(published, "published_links", lambda: rows)
        elif failing != "none":
            broken = {"soundness": soundness, "closing": closing, "both_bases": both_bases}[failing]
            monkeypatch.setattr(broken, "check_all", lambda *_: [lost])
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == (failing != "none")
