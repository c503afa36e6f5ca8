"""The vendor's own package beside the stand-in: every name is there, and errors read alike."""

from __future__ import annotations

from typing import Any

import pytest

from photonlink.firmware_sim.devices.swabian.time_tagger import TimeTagger

real: Any = pytest.importorskip(
    "Swabian.TimeTagger", reason="swabian-timetagger is not installed (extra peers)"
)


def test_every_name_of_the_stand_in_is_the_package_s() -> None:
    missing = [name for name in TimeTagger.FUNCTIONS if not callable(getattr(real, name, None))]
    for name, methods in TimeTagger.CLASSES:
        kind = getattr(real, name, None)
        missing += [f"{name}.{method}" for method in methods if not hasattr(kind, method)]
    assert missing == []
    assert dict(TimeTagger.CONSTANTS) == {n: getattr(real, n) for n, _ in TimeTagger.CONSTANTS}
    buffer = real.TimeTagStreamBuffer
    assert all(hasattr(buffer, name) for name in ("size", "tStart", "tGetData", "hasOverflows"))


def test_without_a_tagger_it_says_what_the_driver_maps() -> None:
    assert list(real.scanTimeTagger()) == []
    with pytest.raises(RuntimeError, match="No Time Tagger attached"):
        real.createTimeTagger()
    assert real.hasTimeTaggerVirtualLicense() is False
