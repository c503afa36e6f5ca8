"""Virtual time: an event loop whose clock jumps, with wires that live in memory."""

from __future__ import annotations

from photonlink.firmware_sim.virtual.loop import VirtualLoop

__all__ = ["VirtualLoop"]
