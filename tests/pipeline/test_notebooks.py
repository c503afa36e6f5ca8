"""The notebooks of ``examples/``: they run from top to bottom on an emulated bench."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
NEEDS = ("nbclient", "nbformat", "ipykernel", "matplotlib")
RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def test_there_are_two_and_they_hold_no_output() -> None:
    assert [p.name for p in NOTEBOOKS] == ["open_a_bench.ipynb", "read_a_tagger.ipynb"]
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs"), path
            assert cell.get("execution_count") is None, path


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.name)
def executed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The name of a notebook and the outputs of its cells."""
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install -e '.[notebooks]'")
    done = tmp_path / "done.ipynb"
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(request.param), str(done)],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    cells = json.loads(done.read_text(encoding="utf-8"))["cells"]
    return request.param.name, [out for cell in cells for out in cell.get("outputs", [])]


def test_a_notebook_runs_from_top_to_bottom(executed: tuple[str, list[dict[str, Any]]]) -> None:
    name, outputs = executed
    text = "".join("".join(out.get("text", "")) for out in outputs)
    if name == "open_a_bench.ipynb":
        assert "EMULATED" in text
        assert "light is off: True" in text
    else:
        mean = float(text.rpartition("mean g² = ")[2])
        assert 0.8 < mean < 1.2, "light of many independent pairs"
        assert any("image/png" in out.get("data", {}) for out in outputs)
