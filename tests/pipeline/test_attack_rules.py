"""Every rule disabled in turn: its attack succeeds without the rule and fails with it.

An attack that fails without the rule as well proves nothing about the rule.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sabotage import SWITCHES, outcomes

from photonlink.pipeline.attacks.play import ATTACKS
from photonlink.pipeline.attacks.rules import ELSEWHERE, ELSEWHERE_RULES, RULES

ROOT = Path(__file__).resolve().parents[2]
ROWS = {"C1", "C2", "C3", "C4", "H1", "H2", "H3", "H4", "M1", "M2", "M3", "M4", "M5", "M6", "M7"}


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_its_row_fails_without_the_rule_and_not_with_it(name: str) -> None:
    with_it, without = outcomes(name)
    assert with_it.ok, with_it
    assert not without.ok, without
    if with_it.in_model:
        assert (with_it.known_bits, with_it.entropy_deficit) == (0, 0)
    if without.why == "she knows bits of a key that was released":
        assert max(without.known_bits, without.entropy_deficit) > 20


def test_every_rule_has_a_switch_and_every_switch_a_rule() -> None:
    assert set(SWITCHES) == {rule.name for rule in RULES}
    assert all(bool(rule.others) == bool(SWITCHES[rule.name][1]) for rule in RULES)
    assert all(rule.row in ATTACKS for rule in RULES)


def test_every_attack_that_once_worked_is_played() -> None:
    played = {row for attack in ATTACKS.values() for row in attack.rows} | set(ELSEWHERE)
    assert played >= ROWS
    for path in [*ELSEWHERE.values(), *(test for _, test in ELSEWHERE_RULES)]:
        assert (ROOT / path).is_file(), path


def test_the_product_has_no_switch() -> None:
    """No module of the product imports or names the tests' patches."""
    for path in (ROOT / "pipeline").rglob("*.py"):
        assert "import sabotage" not in path.read_text(encoding="utf-8"), path


def test_the_page_lists_every_rule() -> None:
    text = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert f"| {rule.name} | {rule.says} |" in text, rule.name
