"""``node --sim``: the emulator program as a child process, started before the node, stopped after
it.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.node.simulated_station import SimulatedStation

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class EmulatorError(PhotonlinkError):
    """The emulator program did not start."""


@contextlib.contextmanager
def emulators(station: SimulatedStation, *, start: bool) -> Iterator[None]:
    """With ``start``, run the emulators of the station's [sim] table for as long as this lasts.

    They have a process group of their own: Ctrl-C reaches the node first, which turns the light
    off while there is still something to read back.
    """
    if not start:
        yield
        return
    if station.sim is None:
        raise EmulatorError(
            "--sim needs a [sim] table", where=station.name, hint="give it run_dir = and bench ="
        )
    arguments = [sys.executable, "-m", "photonlink.firmware_sim"]
    arguments += [str(station.sim.bench)] if station.sim.bench else []
    arguments += ["--run-dir", str(station.sim.run_dir), "--until-stdin-closes"]
    arguments += ["--seed", str(station.sim.seed)] if station.sim.seed is not None else []
    process = subprocess.Popen(  # noqa: S603 our own program
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        _wait_ready(process)
        yield
    finally:
        _stop(process)


def _wait_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    timer = threading.Timer(READY_TIMEOUT_S, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    try:
        ready = bool(json.loads(line).get("ready"))
    except (json.JSONDecodeError, AttributeError):
        ready = False
    if not ready:
        raise EmulatorError("the emulators did not start", hint="see their messages above")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return
    for line in said.decode(errors="replace").splitlines():
        print(f"emulators: {line}", file=sys.stderr)
