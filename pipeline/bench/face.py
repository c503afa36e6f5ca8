"""photonlink: software of a quantum key distribution bench.

The build installs this file as ``photonlink/__init__.py``. Importing it imports nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photonlink.pipeline.bench.notebook import NotebookBench

__all__ = ["bench"]


def bench(station: str | Path, *, sim: bool = False) -> NotebookBench:
    """Open a station's bench, for notebooks and scripts: no ``async``, safe when it is closed.

    ``with photonlink.bench("station.toml") as table: table.get("pump", "current_ma")``

    sim: start the emulators of its [sim] table first. Raises what opening raises (BenchError,
    StationError); InUseError when its node runs.
    """
    from photonlink.pipeline.bench import notebook

    return notebook.bench(station, sim=sim)
