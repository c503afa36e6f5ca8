"""The rules of the protocol, each with the attack that it stops.

A test takes each rule away (tests/pipeline/sabotage.py) and must see its row fail; the product
has no such switch. ``docs/attacks.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """says: the rule. row: the attack. without: the part that the test takes away. others: further
    rules that would stop the row; they are off in both runs. settings: parameters of the row that
    differ from the table's. bases: number of bases that make key; with one it is plain whose bits
    are known.
    """

    name: str
    says: str
    row: str
    without: str
    others: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    bases: str = "one"


JUDGE = "the verdict on disclosed events, which Eve can satisfy with other light"
BALANCE = "the private balance of key bits"

RULES: tuple[Rule, ...] = (
    Rule(
        "tentative",
        "nothing that arrives lasts before a one-time tag has vouched for it",
        "forged_fields",
        "neither end checks the other's tag",
        settings={"only": "Amplify", "field": "seeds", "share": 1.0},
    ),
    Rule(
        "constant delays",
        "what defines a coincidence is a constant of the calibration",
        "bases_apart_in_time",
        "delays are those that the light of its first phase teaches",
        others=JUDGE,
    ),
    Rule(
        "held until judged",
        "a block is released when all checks over its time have passed",
        "detector_leaves",
        "a block goes by the verdict on the block before",
        others=BALANCE,
    ),
    Rule(
        "every detector judged",
        "every detector is judged in every block",
        "dead_detector",
        "no verdict on detectors",
        others=BALANCE,
    ),
    Rule(
        "key balance",
        "each end judges the balance of its own key bits",
        "dead_detector",
        "no balance",
        others=JUDGE,
    ),
    Rule(
        "nothing leaves",
        "nothing that depends on detectors leaves a node before it is spent",
        "sparse_light",
        "live rates per detector are shown while key is made",
    ),
    Rule(
        "nothing of before",
        "rates that are shown while no session runs count nothing from before its end",
        "sparse_light_then_none",
        "they reach back two seconds",
    ),
    Rule(
        "errors",
        "no key beyond the agreed error rate of the test basis",
        "intercept_resend_key_basis",
        "no threshold",
        settings={"share": 1.0},
    ),
    Rule(
        "thresholds",
        "the errors of each basis speak for the key of the other",
        "intercept_resend_key_basis",
        "no threshold in either basis, no cap on parities",
        settings={"share": 0.7},
        bases="both",
    ),
    Rule(
        "noise",
        "times are noised before anything sorts or pairs them",
        "edge_of_window",
        "no noise: a sharp edge on true times",
        others=f"{JUDGE}; {BALANCE}",
        settings={"residual_ps": 50.0, "beyond_ps": 340.0, "duration_s": 3.2},
    ),
    Rule(
        "quiet time",
        "no event begins before all detectors are as calibrated again",
        "dead_time",
        "events are only as far apart as pairing needs",
        others="the limit on multi-clicks",
        settings={"share": 1.0},
    ),
    Rule(
        "later clicks",
        "later clicks of an event prolong nothing",
        "echo",
        "each click begins the quiet time anew",
        others="the limit on multi-clicks",
    ),
    Rule(
        "shadow",
        "later clicks are counted in the event before a pair as well, paired or not",
        "shadow",
        "only the pair's own later clicks are counted",
    ),
    Rule(
        "bounds",
        "sizes and numbers of a peer are checked before anything is computed from them",
        "forged_bounds",
        "numbers that are not finite, and counts beyond the layout, are believed",
        settings={"only": "Acquisition", "field": "host_time_s", "share": 1.0, "start": 1},
    ),
    Rule(
        "memory",
        "each end remembers what the other claimed; one that forgot is refused",
        "restored_bob",
        "claims are not compared",
    ),
    Rule(
        "attempts",
        "each attempt is charged before its bases are told",
        "intercept_resend_all",
        "attempts cost nothing",
    ),
    Rule(
        "oracle",
        "what Eve knows is computed from her light and the wire",
        "blinding",
        "the oracle does not look at her record",
    ),
)

ELSEWHERE: dict[str, str] = {
    "C4": "tests/pipeline/test_nothing_leaves.py",
    "M1": "tests/pipeline/test_attacks_found.py",
    "M2": "tests/pipeline/test_attacks_found.py",
    "M6": "tests/pipeline/test_secrets_in_memory.py",
}
"""Rows of the list of attacks that are no attack on light or line: what plays them."""

ELSEWHERE_RULES: tuple[tuple[str, str], ...] = (
    ("a block closes on what times alone decide", "tests/pipeline/test_soundness.py"),
    ("what lies on disk is authenticated before it is used", "tests/pipeline/test_store_damage.py"),
    ("locks before light", "tests/pipeline/test_store_rollback.py"),
    ("a pad that was used twice tells nothing", "tests/pipeline/test_authentication.py"),
    ("no pad for what was not offered, no tag made anew", "tests/pipeline/test_aborts.py"),
    ("nothing forged reaches what lasts", "tests/pipeline/test_tentative_walk.py"),
    (
        "nothing that a node says depends on key bits",
        "tests/pipeline/test_nothing_leaves.py",
    ),
    ("unequal detectors are in the length", "tests/pipeline/test_mismatch.py"),
)
"""Rules that no attack on light or line shows, and the tests that take them away."""
