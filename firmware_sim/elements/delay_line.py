"""Optical delay lines, in one arm."""

from __future__ import annotations

from photonlink.firmware_sim.places import Element, PlaceKind, Quantity


class DelayLine(Element):
    """``delay_ps``: beyond its shortest way."""

    QUANTITIES = (Quantity("delay_ps", "ps", 0.0, 0.0, 100_000.0),)

    def delay_ps(self, side: str) -> float:
        return self.get("delay_ps") if side == self.side else 0.0


KIND = PlaceKind("delay-line", "(alice|bob).delay", DelayLine)
