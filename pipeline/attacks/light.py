"""Eve's light for a link in one process: made by the emulators' program and read from files."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tags import Provenance, TagBlock

STEP_PS = 10**11
TIMEOUT_S = 900.0  # seconds of CPU; a starved host takes minutes
Times = npt.NDArray[np.int64]
Letters = npt.NDArray[np.uint8]


class LightError(PhotonlinkError):
    """The emulators' program did not make the light."""


@dataclass(frozen=True, slots=True)
class Light:
    """Both ends' tags, and Eve's record of what she sent: bench time (Alice's clock), letters
    0..3 = H, V, D, A, 255 where she does not know one."""

    alice: tuple[Times, Letters]
    bob: tuple[Times, Letters]
    known_ps: Times
    known_alice: Letters
    known_bob: Letters
    duration_s: float
    offset_s: float
    frequency_ppm: float

    def to_bench_ps(self, bob_ps: Times) -> Times:
        """Bob's clock in bench time; Eve controls the light, so she is given the clocks'
        relation.
        """
        ahead = bob_ps - self.offset_s * 1e12
        bench: Times = np.rint(ahead / (1 + 1e-6 * self.frequency_ppm)).astype(np.int64)
        return bench

    def blocks(self, step_ps: int = STEP_PS) -> Iterator[tuple[TagBlock, TagBlock]]:
        """Both ends' tags, piece by piece; fresh copies, a session wipes them."""
        for start in range(0, round(self.duration_s * 1e12), step_ps):
            yield _cut(self.alice, start, step_ps), _cut(self.bob, start, step_ps)


def _cut(side: tuple[Times, Letters], start: int, step_ps: int) -> TagBlock:
    time_ps, channel = side
    low, high = np.searchsorted(time_ps, (start, start + step_ps))
    return TagBlock(
        time_ps[low:high].copy(), channel[low:high].copy(), start, start + step_ps, (),
        Provenance.EMULATED,
    )  # fmt: skip


def make_light(request: Mapping[str, Any]) -> Light:
    """``python -m photonlink.firmware_sim light``; fields of the request: docs/emulated_bench.md.

    Raises LightError with the program's error output.
    """
    with tempfile.TemporaryDirectory(prefix="photonlink-eve-") as name:
        asked, out = Path(name) / "request.json", Path(name) / "tags.npz"
        asked.write_text(json.dumps(dict(request)), encoding="utf-8")
        program = [sys.executable, "-m", "photonlink.firmware_sim", "light", str(asked), str(out)]
        done = subprocess.run(  # noqa: S603 our own program
            program, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise LightError("no light was made", where="firmware_sim", seen=done.stderr[-500:])
        with np.load(out) as found:
            arrays = {key: found[key] for key in found}
    return Light(
        alice=(arrays["alice_time_ps"], arrays["alice_channel"]),
        bob=(arrays["bob_time_ps"], arrays["bob_channel"]),
        known_ps=arrays["known_ps"],
        known_alice=arrays["known_alice"],
        known_bob=arrays["known_bob"],
        duration_s=float(request.get("duration_s", 2.0)),
        offset_s=float(request.get("offset_s", 0.01)),
        frequency_ppm=float(request.get("frequency_ppm", 3.0)),
    )
