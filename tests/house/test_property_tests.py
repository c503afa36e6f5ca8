"""The test command must not fail by chance: property tests run from fixed examples by default."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[2]
TEST = """
import pytest
from hypothesis import given, settings, strategies as st

@settings(max_examples=7)
@given(number=st.integers())
def test_number(number):
    print("drawn", number)

@pytest.mark.parametrize("case", range(4))
@settings(max_examples=7)
@given(number=st.integers())
def test_cases(case, number):
    print("drawn", number)


@given(number=st.integers())
def test_false(number):
    assert number < 1000
"""


def test_the_default_is_fixed_and_knows_no_clock() -> None:
    if "PHOTONLINK_HYPOTHESIS" not in os.environ:
        assert settings.default is not None
        assert settings.default.derandomize
        assert settings.default.deadline is None


def _run(folder: Path, test: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_drawn.py").write_text(TEST)
    (folder / "conftest.py").write_text(
        (ROOT / "tests" / "conftest.py")
        .read_text()
        .replace("Path(__file__).parent)", f"Path({str(ROOT / 'tests')!r}))")
        .replace('Path(__file__).parent / "system"', f"Path({str(ROOT / 'tests' / 'system')!r})")
    )
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", "/dev/null",
         "--rootdir", str(folder), str(folder / "test_drawn.py"), "-k", test],
        capture_output=True, text=True, check=False, timeout=120, cwd=folder,
        env=os.environ | {"PHOTONLINK_EXAMPLES": "1"} | environment,
    )  # fmt: skip


def _drawn(text: str) -> list[str]:
    return [line for line in text.splitlines() if "drawn" in line]


def test_two_runs_draw_the_same_and_exploring_draws_more(tmp_path: Path) -> None:
    first, second = (_run(tmp_path, "test_number", PHOTONLINK_HYPOTHESIS="fixed") for _ in "ab")
    assert first.returncode == 0, first.stdout + first.stderr
    assert _drawn(first.stdout) == _drawn(second.stdout)
    assert len(_drawn(first.stdout)) == 7
    more = _run(tmp_path, "test_number", PHOTONLINK_HYPOTHESIS="explore", PHOTONLINK_EXAMPLES="5")
    assert len(_drawn(more.stdout)) >= 30


def test_several_share_what_is_drawn_beyond_their_own(tmp_path: Path) -> None:
    explore = {"PHOTONLINK_HYPOTHESIS": "explore", "PHOTONLINK_EXAMPLES": "8"}
    cases = _drawn(_run(tmp_path, "test_cases", **explore).stdout)
    assert 4 * 7 < len(cases) <= 4 * 2 * 7


def test_a_failing_example_is_printed_to_be_kept(tmp_path: Path) -> None:
    done = _run(tmp_path, "test_false", PHOTONLINK_HYPOTHESIS="explore")
    assert done.returncode == 1
    assert "number=1000" in done.stdout
