"""An hour of link time without attack, through both sessions, raises no alarm.

python benchmarks/clean_hour.py [SECONDS]     2 minutes of one core for 3,600 s; one JSON object.

Error correction may miss an error in one block of a thousand; verification then discards the block
without an alarm. The command fails when more than one block in 200 is discarded.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from photonlink.pipeline.attacks import light as lights
from photonlink.pipeline.attacks.entry import AGREED, calibrated
from photonlink.pipeline.attacks.link import Line, LinkEnd
from photonlink.pipeline.attacks.transcript import WireTranscript
from photonlink.pipeline.keys.psk import PreSharedKey
from photonlink.pipeline.protocol.setup import Role


class _Deaf(WireTranscript):
    """Keeps no frame: an hour of frames would fill the memory."""

    def feed(self, sender: str, frame: bytes) -> None:
        return


def run(seconds: float) -> dict[str, Any]:
    """Blocks, blocks with key, alarms and aborts of a run without attack."""
    asked = {"duration_s": seconds, "pairs_hz": 4000.0, "lone_hz": 2000.0, "seed": 5}
    light = lights.make_light(asked)
    agreed = dataclasses.replace(AGREED, abort_probability=0.0)  # no deliberate aborts
    psk = PreSharedKey.generate(1 << 16)
    ends = [
        LinkEnd(role, key, calibrated(), agreed, 1)
        for role, key in ((Role.ALICE, psk), (Role.BOB, psk.copy()))
    ]
    line = Line(ends[0], ends[1], _Deaf(agreed, calibrated()))
    line.play(light.blocks())
    reports = [report for _, report in ends[0].reports]
    return {
        "link_s": seconds,
        "blocks": len(reports),
        "with_key": sum(report.net_bits > 0 for report in reports),
        "alarms": line.alarms(),
        "aborts": [report.abort for report in reports if report.abort],
    }


if __name__ == "__main__":
    found = run(float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0)
    print(json.dumps(found))
    sys.exit(1 if found["alarms"] or 200 * len(found["aborts"]) > found["blocks"] else 0)
