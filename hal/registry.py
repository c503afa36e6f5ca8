"""Which drivers exist. Listing imports none of them; loading imports one.

Our own are in the table ``photonlink.drivers.DRIVERS``; other packages add theirs through the
entry point group ``photonlink.drivers``, name = ``vendor.model``, value = ``module:Class``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from pydantic import BaseModel, ConfigDict

from photonlink.hal.errors import StationError
from photonlink.hal.instruments import Instrument, Laser, SinglePhotonDetector, TimeTagger
from photonlink.hal.links.base import Tap
from photonlink.hal.params import Limits

GROUP = "photonlink.drivers"
_OWN_TABLE = "photonlink.drivers"  # met by name, as any entry point is: hal imports no driver


class DriverSettings(BaseModel):
    """Base of every driver's typed settings: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Driver(Protocol):
    """What a driver class offers beside the contract of its instrument."""

    Settings: type[DriverSettings]
    evidence: str
    """``manual``, ``transcript`` or ``hardware``: what the driver was proved against."""

    def __call__(
        self,
        name: str,
        address: str,
        settings: Any,
        *,
        limits: Mapping[str, Limits] | None = None,
        tap: Tap | None = None,
    ) -> Instrument: ...


def driver_targets() -> dict[str, str]:
    """Names of all drivers → ``module:Class``."""
    own: dict[str, str] = importlib.import_module(_OWN_TABLE).DRIVERS
    others = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**others, **own}


def load_driver(name: str) -> Driver:
    """Import a driver's class. StationError names the nearest known driver."""
    targets = driver_targets()
    if name not in targets:
        near = difflib.get_close_matches(name, targets, 1, 0.5)
        raise StationError(
            f"no driver is called {name!r}",
            hint=f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(targets))}",
        )
    module, _, attribute = targets[name].partition(":")
    try:
        return cast(Driver, getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise StationError(f"driver {name!r} cannot be loaded: {error}") from error


def kind_of(instrument: Instrument) -> str:
    """``laser``, ``tagger``, ``detector``, or ``other``."""
    for base, kind in (
        (Laser, "laser"),
        (TimeTagger, "tagger"),
        (SinglePhotonDetector, "detector"),
    ):
        if isinstance(instrument, base):
            return kind
    return "other"
