"""Which instruments a bench has, as a calibration names them."""

from __future__ import annotations

from collections.abc import Mapping

from photonlink.hal.opening import Bench
from photonlink.pipeline.calibration.model import TAGGER


def instruments_of(bench: Bench, places: Mapping[str, str]) -> dict[str, str]:
    """Place → ``"driver serial"``: the tagger, and the detectors that have a driver.

    places: name of a detector's instrument → its letter.

    An instrument without a serial number is named by its whole identification, or by its address. A
    detector that ``[channels]`` does not name is left out.
    """
    found = {}
    for name, resolution in bench.resolutions.items():
        identity = resolution.identity
        seen = f"{resolution.driver} {identity.serial or identity.firmware or resolution.address}"
        if name == bench.tagger_name:
            found[TAGGER] = seen
        elif name in places:
            found[places[name]] = seen
    return found
