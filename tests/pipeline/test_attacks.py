"""Eve's attacks, one test a row, and the sabotage that shows what each rule holds.

A sabotage takes one rule away and must make its row fail: a row that would pass without its rule
proves nothing.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from photonlink.pipeline.attacks import play as play_module
from photonlink.pipeline.attacks.entry import AGREED, AttackOutcome
from photonlink.pipeline.attacks.play import ATTACKS, play
from photonlink.pipeline.stages import estimate
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.finite_key import TwoBasisThresholds

ROOT = Path(__file__).resolve().parents[2]


def played(name: str) -> AttackOutcome:
    outcome = play(ATTACKS[name], seed=1)
    assert outcome.ok, outcome
    return outcome


def test_an_honest_link_makes_key_without_alarm() -> None:
    found = played("honest")
    assert found.released_bits > 1000
    assert (found.known_bits, found.alarm) == (0, "")


def test_c2_bases_apart_in_time_give_nothing() -> None:
    assert played("bases_apart_in_time").known_bits == 0


def test_c3_a_dead_detector_releases_nothing() -> None:
    assert played("dead_detector").released_bits == 0


def test_h1_no_block_after_a_detector_moved() -> None:
    found = played("detector_moves")
    assert found.alarm_s is not None
    assert found.alarm_s < 1.5


def test_m7_dead_time_and_echo_give_nothing() -> None:
    assert played("dead_time").known_bits == 0
    assert played("echo").known_bits == 0


def test_c1_forged_messages_give_nothing() -> None:
    assert played("inserted").known_bits == 0


def test_intercept_and_resend_is_paid_for() -> None:
    found = played("intercept_resend")
    assert found.released_bits > 0
    assert found.known_bits == 0


@pytest.mark.parametrize("name", ["blinding", "fake_calibration"])
def test_outside_the_model_she_knows_it_all(name: str) -> None:
    found = played(name)
    assert found.known_bits == found.released_bits > 0
    assert found.assumption


# ---- sabotage: without its rule a row fails ----


def test_without_the_judge_a_dead_detectors_key_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "judge_detectors", lambda *a, **k: None)
    monkeypatch.setattr(estimate, "key_balanced", lambda *a, **k: True)
    found = play(ATTACKS["dead_detector"], seed=1)
    assert not found.ok
    assert 0 < found.known_bits < found.released_bits, "the key of HV, and not that of DA"


def test_without_the_error_threshold_the_key_basis_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "judge_errors", lambda *a, **k: None)
    monkeypatch.setattr(play_module, "AGREED", dataclasses.replace(AGREED, bases="one"))
    attack = ATTACKS["intercept_resend_key_basis"]
    every = dataclasses.replace(attack, defaults={**attack.defaults, "share": 1.0})
    found = play(every, seed=1)
    assert not found.ok
    assert found.known_bits == found.released_bits > 0


def test_without_thresholds_the_key_of_a_basis_that_is_spied_on_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Key from both bases: the errors of DA no longer speak for the key of HV."""
    monkeypatch.setattr(estimate, "judge_errors", lambda *a, **k: None)
    monkeypatch.setattr(TwoBasisThresholds, "refusal", lambda *a: None)
    monkeypatch.setattr(AgreedParameters, "leak_cap_bits", lambda self, n: 10 * n)
    attack = ATTACKS["intercept_resend_key_basis"]
    most = dataclasses.replace(attack, defaults={**attack.defaults, "share": 0.7})
    found = play(most, seed=1)
    assert not found.ok
    assert found.known_bits > 0


def test_without_quiet_time_and_multi_click_limit_the_living_detector_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "few_multi_clicks", lambda *a, **k: True)
    monkeypatch.setattr(play_module, "AGREED", dataclasses.replace(AGREED, hardware_hold_off=1))
    attack = ATTACKS["dead_time"]
    every = dataclasses.replace(attack, defaults={**attack.defaults, "share": 1.0})
    found = play(every, seed=1)
    assert not found.ok
    assert found.known_bits == found.released_bits > 0


def test_with_the_quiet_time_it_is_not() -> None:
    attack = ATTACKS["dead_time"]
    every = dataclasses.replace(attack, defaults={**attack.defaults, "share": 1.0})
    assert play(every, seed=1).ok


def test_every_attack_is_on_the_page() -> None:
    text = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    assert not [name for name in ATTACKS if f"**{name}**" not in text]
    assert "**no:" not in text


def test_every_attack_outside_the_model_names_what_it_breaks() -> None:
    for attack in ATTACKS.values():
        assert attack.in_model or (attack.assumption and attack.watched), attack.name
