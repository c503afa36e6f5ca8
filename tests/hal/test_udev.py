"""The udev rules, parsed like udev does (``udevadm verify`` is missing on Debian 12)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

UDEV = Path(__file__).resolve().parents[2] / "udev"
RULES = UDEV / "70-photonlink.rules"

MATCH = {"==", "!="}
ASSIGN = {"=", "+=", "-=", ":="}
KEYS = {  # key -> (takes an attribute, operators)
    "ACTION": (False, MATCH),
    "SUBSYSTEM": (False, MATCH),
    "SUBSYSTEMS": (False, MATCH),
    "KERNEL": (False, MATCH),
    "DRIVERS": (False, MATCH),
    "ATTRS": (True, MATCH),
    "ATTR": (True, MATCH | {"="}),
    "ENV": (True, MATCH | {"=", "+="}),
    "TAG": (False, MATCH | {"+=", "-="}),
    "SYMLINK": (False, MATCH | ASSIGN),
    "MODE": (False, {"=", ":="}),
    "GROUP": (False, {"=", ":="}),
    "GOTO": (False, {"="}),
    "LABEL": (False, {"="}),
}
TOKEN = re.compile(r'([A-Z]+)(?:\{([^}]+)\})?\s*(==|!=|\+=|-=|:=|=)\s*"([^"]*)"')
Token = tuple[str, str, str, str]


def rules_of(text: str) -> list[tuple[int, list[Token], str]]:
    """(line number, tokens, unparsed rest) of every rule; continued lines are joined."""
    rules, lines, number = [], text.splitlines(), 0
    while number < len(lines):
        start, line = number + 1, lines[number]
        while line.endswith("\\") and number + 1 < len(lines):
            number += 1
            line = line[:-1] + lines[number]
        number += 1
        if line.strip() and not line.lstrip().startswith("#"):
            tokens = [match.groups(default="") for match in TOKEN.finditer(line)]
            rest = re.sub(r"[,\s]", "", TOKEN.sub("", line))
            rules.append((start, tokens, rest))
    return rules


def lint(text: str, name: str) -> list[str]:
    """All errors in a rules file."""
    wrong = [] if text.endswith("\n") else ["the file does not end with a line end"]
    rules = rules_of(text)
    tokens = [(line, *token) for line, found, _ in rules for token in found]
    wrong += [f"{line}: unreadable: {rest}" for line, _, rest in rules if rest]
    wrong += [
        f"{line}: {key}{{{attribute}}} {operator}"
        for line, key, attribute, operator, _ in tokens
        if key not in KEYS or bool(attribute) != KEYS[key][0] or operator not in KEYS[key][1]
    ]
    goals = [(line, value) for line, key, _, _, value in tokens if key == "GOTO"]
    labels = {value: line for line, key, _, _, value in tokens if key == "LABEL"}
    wrong += [
        f"{line}: GOTO {goal} has no LABEL after it"
        for line, goal in goals
        if labels.get(goal, 0) <= line
    ]
    wrong += [
        f"{at}: LABEL {label} is never used"
        for label, at in labels.items()
        if label not in {goal for _, goal in goals}
    ]
    for line, found, _ in rules:
        wrong += [f"{line}: {problem}" for problem in _rule_problems(found, name)]
    return wrong


def _rule_problems(tokens: list[Token], name: str) -> list[str]:
    wrong = []
    values = {(key, attribute): value for key, attribute, _, value in tokens}
    granted = ("TAG", "") in values or ("GROUP", "") in values
    if granted and not (("TAG", "") in values and ("GROUP", "") in values):
        wrong.append("uaccess and group belong together: a server has nobody at its seat")
    if values.get(("TAG", "")) == "uaccess" and name >= "71":
        wrong.append("uaccess must be set before 71-seat.rules")
    mode = values.get(("MODE", ""))
    if mode is not None and (not re.fullmatch(r"0[0-7]{3}", mode) or mode[-1] != "0"):
        wrong.append(f"MODE {mode} lets everybody in")
    for (key, attribute), value in values.items():
        if attribute in ("idVendor", "idProduct") and not re.fullmatch(r"[0-9a-f]{4}", value):
            wrong.append(f"{key}{{{attribute}}} must be four lower-case hex digits, not {value}")
    if ("ATTR", "idVendor") in values and ("ATTR", "idProduct") not in values:
        wrong.append("a whole vendor is matched")
    assigns = [t for t in tokens if t[2] in ASSIGN and t[0] not in ("GOTO", "LABEL")]
    if assigns and not any(t[2] in MATCH for t in tokens):
        wrong.append("a rule without a condition would hit every device")
    return wrong


def test_the_rules_are_clean() -> None:
    assert lint(RULES.read_text(encoding="utf-8"), RULES.name) == []


def test_the_rules_name_what_the_facts_name() -> None:
    text = RULES.read_text(encoding="utf-8")
    assert re.search(r'idVendor}=="0e0d".*idProduct}=="0013"', text), "MultiHarp 150"
    assert 'ENV{ID_SERIAL}=="S-Fifteen_Instruments*"' in text
    assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0660", "0666", "lets everybody in"),
        ('"0e0d"', '"0E0D"', "lower-case hex"),
        (', ATTR{idProduct}=="0013"', "", "whole vendor"),
        ('LABEL="photonlink_end"', "", "no LABEL"),
        ('ACTION=="remove", GOTO', 'ACTION="remove", GOTO', "ACTION"),
        ('TAG+="uaccess"', 'TAGS+="uaccess"', "TAGS"),
        (', GROUP="photonlink"', "", "belong together"),
        ('SUBSYSTEM!="tty"', "SUBSYSTEM!=tty", "unreadable"),
        ('ATTR{idVendor}=="0e0d"', 'ATTR=="0e0d"', "ATTR{}"),
        ('ENV{ID_SERIAL}=="S-Fifteen_Instruments*", ', "", "every device"),
    ],
)
def test_the_linter_fires(old: str, new: str, words: str) -> None:
    text = RULES.read_text(encoding="utf-8")
    assert old in text
    found = lint(text.replace(old, new), RULES.name)
    assert any(words in problem for problem in found), found


def test_the_linter_knows_why_the_number_is_70() -> None:
    assert any("71-seat" in p for p in lint(RULES.read_text(encoding="utf-8"), "99-x.rules"))


def test_install_and_uninstall_below_a_root(tmp_path: Path) -> None:
    script, target = UDEV / "install.sh", tmp_path / "etc/udev/rules.d" / RULES.name
    subprocess.run(["sh", "-n", str(script)], check=True, timeout=30)
    for _ in range(2):
        subprocess.run([str(script), "--root", str(tmp_path)], check=True, timeout=30)
        assert target.read_bytes() == RULES.read_bytes()
        assert target.stat().st_mode & 0o777 == 0o644
    subprocess.run([str(script), "--root", str(tmp_path), "--uninstall"], check=True, timeout=30)
    assert not target.exists()
    wrong = subprocess.run(
        [str(script), "--rot", "x"], capture_output=True, text=True, timeout=30, check=False
    )
    assert wrong.returncode == 2
    assert "--rot" in wrong.stderr
