"""Device emulators on a stand-in bench, one for each call of ``emulate``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chalk_bench import Emulator


@pytest.fixture
def emulate(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Emulator]]:
    """``emulate(model, **config)`` starts a device; all are stopped after the test.

    A test with a mark ``proves`` may start only the models of the mark: the table of instruments is
    generated from those marks.
    """
    started: list[Emulator] = []
    proved = {mark.args[0] for mark in request.node.iter_markers("proves")}

    def start(model: str, **config: Any) -> Emulator:
        assert not proved or model in proved, f"the test proves {proved} and starts {model}"
        folder = tmp_path / str(len(started))
        folder.mkdir(exist_ok=True)
        started.append(Emulator(model, folder, config))
        return started[-1]

    yield start
    for emulator in started:
        emulator.close()


@pytest.fixture
def until() -> Callable[..., None]:
    """``until(condition, timeout_s)``: wait for the condition, or fail."""

    def wait(condition: Callable[[], Any], timeout_s: float = 5.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "the awaited condition never came true"
            time.sleep(0.005)

    return wait
