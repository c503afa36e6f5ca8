"""Finds the models: every ``firmware_sim/devices/<vendor>/<model>.py`` with a REGISTRATION.

A new emulator is a new file; no table is edited. A module that cannot be imported or registered is
listed in :func:`problems` and does not affect the others.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim import devices
from photonlink.firmware_sim.kit.clock import Clock
from photonlink.firmware_sim.kit.device import Context, EmulatedDevice


@dataclass(frozen=True, slots=True)
class Registration:
    """One model.

    model: its id (``vendor-model``).  kind: of the places on the optical table it can stand at
    (``places.KINDS``; empty: it needs no place).  device: its class.  evidence: ``manual``,
    ``transcript`` or ``hardware``.  summary: one line for lists.
    """

    model: str
    kind: str
    device: type[EmulatedDevice]
    summary: str
    evidence: str = "manual"

    def create(
        self,
        name: str,
        settings: Mapping[str, Any],
        place: Any = None,
        seed: int = 1,
        clock: Clock | None = None,
    ) -> EmulatedDevice:
        """A device, not started. ValueError names an unknown setting."""
        return self.device(Context(name, settings, place, seed, clock or Clock()))


class Catalogue:
    """Registered models, and the problems of others."""

    def __init__(self) -> None:
        self.models: dict[str, Registration] = {}
        self.problems: list[str] = []

    def add(self, module: str, entry: Any) -> None:
        """Take one REGISTRATION; a wrong one becomes a problem with the module's name."""
        if not isinstance(entry, Registration):
            self.problems.append(f"{module}: REGISTRATION is not a Registration")
        elif entry.model in self.models:
            other = self.models[entry.model].device.__module__
            self.problems.append(f"{module}: model {entry.model!r} is registered by {other}")
        elif entry.evidence not in ("manual", "transcript", "hardware"):
            self.problems.append(f"{module}: evidence {entry.evidence!r} is no level")
        else:
            self.models[entry.model] = entry

    def walk(self, package: Any) -> None:
        """Import every module below ``package`` and take its REGISTRATION."""
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.ispkg:
                continue
            try:
                module = importlib.import_module(found.name)
            except Exception as error:  # noqa: BLE001 - one broken module must not hide the rest
                self.problems.append(f"{found.name}: {type(error).__name__}: {error}")
                continue
            if hasattr(module, "REGISTRATION"):
                self.add(found.name, module.REGISTRATION)


@functools.cache
def catalogue() -> Catalogue:
    """All models under ``firmware_sim/devices``."""
    found = Catalogue()
    found.walk(devices)
    return found


def models() -> dict[str, Registration]:
    """id → registration."""
    return catalogue().models
