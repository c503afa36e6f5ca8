"""The time tagger of one side."""

from __future__ import annotations

from photonlink.firmware_sim.places import PlaceKind

KIND = PlaceKind(
    "tagger", "(alice|bob).tagger", lambda table, place: table.taggers[place.partition(".")[0]]
)
