"""A short run of the fuzzer; fuzz_session.py has an option for longer ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "pipeline"))
_spec = importlib.util.spec_from_file_location("fuzz_session", HERE / "fuzz_session.py")
assert _spec is not None
assert _spec.loader is not None
fuzz = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz)


@pytest.mark.parametrize("first", range(0, 24, 6))
def test_altered_conversations_never_raise_and_keys_never_differ(first: int) -> None:
    with fuzz.narrow_clock_search():
        for seed in range(first, first + 6):
            frames, _ = fuzz.one(seed)
            assert frames > 4
