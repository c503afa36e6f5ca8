"""All vectors: lengths and tags match exactly, real numbers to the stated digits."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from photonlink.pipeline.claim import vectors

REJECTED = {
    "reject-01": "mus", "reject-02": "ps", "reject-03": "m_test", "reject-04": "mus",
    "reject-05": "n_key",
}  # fmt: skip


def test_every_vector_agrees(security_vectors: list[dict[str, Any]]) -> None:
    cases = [vectors.run(v) for v in security_vectors]
    assert len(cases) == 94
    assert {c.function for c in cases} == set(vectors.RUNNERS)
    wrong = [c for c in cases if c.differs]
    assert not wrong, wrong


def test_every_expected_figure_is_looked_at(security_vectors: list[dict[str, Any]]) -> None:
    """A change of any figure by a little more than its tolerance is detected."""
    for vector in security_vectors:
        tolerance = 3 * vectors.TOLERANCE.get(vector["function"], 1e-9)
        for name, value in vector["expected"].items():
            changed = copy.deepcopy(vector)
            new: Any = "x"
            if isinstance(value, float):
                new = value * (1 + tolerance) if value else 1e-9
            elif isinstance(value, int):
                new = not value if isinstance(value, bool) else value + 2
            changed["expected"][name] = new
            assert vectors.run(changed).differs, (vector["id"], name)


def test_refusals_name_the_parameter(security_vectors: list[dict[str, Any]]) -> None:
    cases = {v["id"]: v["inputs"] for v in security_vectors if v["function"] == "reject"}
    assert set(cases) == set(REJECTED)
    for name, inputs in cases.items():
        with pytest.raises(vectors.fk.ParameterError) as caught:
            vectors.RUNNERS[inputs["function"]](inputs["args"])
        assert caught.value.parameter == REJECTED[name]


def test_a_file_without_vectors_is_refused(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", json.dumps({"vector": []})):
        (tmp_path / "v.json").write_text(text, encoding="utf-8")
        with pytest.raises(vectors.VectorFileError):
            vectors.run_file(tmp_path / "v.json")
    assert vectors.run({"id": "a", "function": "unknown", "expected": {}, "inputs": {}}).differs
