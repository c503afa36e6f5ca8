"""Which instruments a bench has, as a calibration names them."""

from __future__ import annotations

from photonlink.hal.opening import Bench
from photonlink.pipeline.calibration.model import TAGGER
from photonlink.pipeline.stages.window import LETTERS


def instruments_of(bench: Bench) -> dict[str, str]:
    """Place → ``"driver serial"``: the tagger, and the detectors that have a driver.

    An instrument that tells no serial number goes by all that it says of itself, or by its
    address. A detector without ``settings.detector`` stands in no place and is not named.
    """
    found = {}
    for name, resolution in bench.resolutions.items():
        identity = resolution.identity
        seen = f"{resolution.driver} {identity.serial or identity.firmware or resolution.address}"
        if name in bench.taggers:
            found[TAGGER] = seen
        elif name in bench.detectors:
            place = str(bench.entries[name].settings.get("detector", ""))
            if place in LETTERS:
                found[place] = seen
    return found
