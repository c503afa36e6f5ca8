"""The limits of drivers' and emulators' lengths are kept, and a longer one is named."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    return importlib.import_module("benchmarks.instrument_lines")


def test_every_limit_is_kept_and_a_longer_file_is_named(module: Any) -> None:
    found = module.lengths()
    assert module.missed(found) == []
    limit = module.LIMITS["roithner.ttm8000"][0]
    longer = {**found, "roithner.ttm8000": (limit + 1, 1)}
    assert module.missed(longer) == ["roithner.ttm8000: driver of 201 lines, limit 200"]
    assert module.missed(dict.fromkeys(found, (1, 999)))[-1].startswith("median emulator of 999")
