"""Checks the documentation: the README's length, targets of links, names of commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer

from photonlink.pipeline.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    p for folder in (".", "docs", "docs/decisions", "docs/instruments", "benchmarks/results")
    for p in (ROOT / folder).glob("*.md")
)  # fmt: skip
SCREENS = 110  # lines: two screens
# citations of a private archive, which a reader of the repository cannot follow
PRIVATE = re.compile(r"fact ?sheet|shared/facts|attacks_found\.md|faults_found\.md", re.IGNORECASE)


def broken_links(page: Path) -> list[str]:
    """Targets of relative links that do not exist; anchors must be headings of their page."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path) if path else page
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            broken.append(target)
    return broken


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_the_readme_is_two_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= SCREENS


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert not broken_links(page)


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Only this\n")
    page = tmp_path / "a.md"
    page.write_text("[x](b.md#only-this) [y](b.md#other) [z](c.md) [w](https://c.org)")
    assert broken_links(page) == ["b.md#other", "c.md"]


def test_commands_of_the_readme_exist() -> None:
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"photonlink ([a-z][a-z-]+)", text)) - {"over"}
    assert named
    assert named <= known, named - known


def test_every_citation_can_be_followed() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "*.py", "*.c", "*.h", "*.md", "*.toml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = [f for f in listed.stdout.split() if not f.startswith(("tests/house/", "tests/cases/"))]
    assert len(files) > 500
    hits = [
        f"{f}: {m.group()}"
        for f in files
        if (m := PRIVATE.search((ROOT / f).read_text(encoding="utf-8")))
    ]
    assert not hits
