"""The stand-in against the vendor's own package: the same names, and the same error texts."""

from __future__ import annotations

import enum
import inspect
from typing import Any

import pytest

from photonlink.firmware_sim.devices.swabian.time_tagger import TimeTagger
from photonlink.firmware_sim.kit.registers import marked

pytestmark = pytest.mark.proves("swabian-time-tagger", by="swabian-timetagger")

MODULE = "Swabian.TimeTagger"
real: Any = pytest.importorskip(
    "Swabian.TimeTagger", reason="swabian-timetagger is not installed (extra peers)"
)


OF_SWIG = {"SwigPyIterator", "CustomLogger", "SHARED_PTR_DISOWN"}
"""What the generator of the package's binding adds."""


def public(of: Any) -> dict[str, Any]:
    return {n: getattr(of, n) for n in dir(of) if not n.startswith("_") and n not in OF_SWIG}


def test_the_stand_in_has_every_name_of_the_package_and_no_other() -> None:
    surface, names = TimeTagger.SURFACE, public(real)
    classes = {n: c for n, c in names.items() if inspect.isclass(c) and c.__module__ == MODULE}
    enums = {n: c for n, c in classes.items() if issubclass(c, enum.Enum)}
    assert surface["enums"] == {n: dict(c.__members__) for n, c in enums.items()}
    assert {n: set(methods) for n, methods in surface["classes"].items()} == {
        n: {m for m, what in public(c).items() if callable(what)}
        for n, c in classes.items()
        if n not in enums
    }
    functions = {n for n, f in names.items() if callable(f) and not inspect.isclass(f)}
    assert set(surface["functions"]) == functions
    assert surface["constants"] == {n: x for n, x in names.items() if type(x) is int}


def test_every_name_that_is_built_is_one_of_them() -> None:
    methods = {f"{n}.{m}" for n, found in TimeTagger.SURFACE["classes"].items() for m in found}
    known = methods | set(TimeTagger.SURFACE["functions"]) | set(TimeTagger.SURFACE["classes"])
    assert {*marked(TimeTagger, "command"), *TimeTagger.ANSWERS} <= known
    buffer = real.TimeTagStreamBuffer
    assert all(hasattr(buffer, name) for name in ("size", "tStart", "tGetData", "hasOverflows"))


def test_without_a_tagger_it_says_what_the_driver_maps() -> None:
    assert list(real.scanTimeTagger()) == []
    with pytest.raises(RuntimeError, match="No Time Tagger attached"):
        real.createTimeTagger()
    assert real.hasTimeTaggerVirtualLicense() is False
