"""Eve's attacks, row by row. The rule that stops each of them: test_attack_rules.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from photonlink.pipeline.attacks.entry import AttackOutcome
from photonlink.pipeline.attacks.play import ATTACKS, play

ROOT = Path(__file__).resolve().parents[2]


def played(name: str) -> AttackOutcome:
    outcome = play(ATTACKS[name], seed=1)
    assert outcome.ok, outcome
    return outcome


def test_an_honest_link_makes_key_without_alarm() -> None:
    found = played("honest")
    assert found.released_bits > 1000
    assert (found.known_bits, found.alarm) == (0, "")


def test_h1_no_block_after_a_detector_moved() -> None:
    found = played("detector_moves")
    assert found.alarm_s is not None
    assert found.alarm_s < 1.5


def test_m7_dead_time_gives_nothing_while_few_pairs_are_touched() -> None:
    assert played("dead_time").known_bits == 0


def test_c1_forged_messages_give_nothing() -> None:
    assert played("inserted").known_bits == 0


def test_h2_a_store_that_was_put_back_is_refused_by_name() -> None:
    assert played("restored_alice").alarm == "ledger_rolled_back"


def test_m4_strangers_cost_the_honest_peer_nothing() -> None:
    assert played("strangers").released_bits > 1000


def test_reordered_frames_are_told() -> None:
    assert played("reordered").alarm


def test_intercept_and_resend_is_paid_for() -> None:
    found = played("intercept_resend")
    assert found.released_bits > 0
    assert found.known_bits == 0


@pytest.mark.parametrize("name", ["fake_calibration"])
def test_outside_the_model_she_knows_it_all(name: str) -> None:
    found = played(name)
    assert found.known_bits == found.released_bits > 0
    assert found.assumption


def test_every_attack_is_on_the_page() -> None:
    text = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    assert not [name for name in ATTACKS if f"**{name}**" not in text]
    assert "**no:" not in text


def test_every_attack_outside_the_model_names_what_it_breaks() -> None:
    for attack in ATTACKS.values():
        assert attack.in_model or (attack.assumption and attack.watched), attack.name
