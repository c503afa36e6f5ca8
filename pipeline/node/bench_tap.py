"""What a recorded session keeps of its instruments' wires."""

from __future__ import annotations

from photonlink.hal.opening import BenchTap
from photonlink.hal.registry import registry
from photonlink.pipeline.node.station import NodeStation
from photonlink.pipeline.recordings.write import SessionRecorder


def tap_of(recorder: SessionRecorder | None, station: NodeStation) -> BenchTap | None:
    """For the recorder: all wires but the tagger's, whose bytes are inputs of the session."""
    if recorder is None:
        return None
    # determined once: a tagger's wire calls the tap for every chunk
    drivers = registry().drivers
    quiet = {
        name
        for name, entry in station.instruments.items()
        if "StreamsTags" in drivers[entry.driver].facets
    }

    def tap(instrument: str, direction: str, data: bytes) -> None:
        if instrument not in quiet:
            recorder.tap(instrument, direction, data)

    return tap
