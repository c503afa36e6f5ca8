"""Thorlabs ITC4000 series (ITC4001, 4002QCL, 4005, 4020): bench drivers of diode and cooler.

Dialect: Thorlabs 4000-series SCPI manual 3.3, shared with the CLD1015. Not verified on hardware.
"""

from __future__ import annotations

from photonlink.drivers.thorlabs.cld1015 import Cld1015
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="thorlabs.itc4000",
    title="Thorlabs ITC4000 series: laser diode and cooler driver",
    driver="Itc4000",
    facets=("Cools", "Emits", "HasTemperature"),
    transports=("visa", "tcp"),
    usb=("1313:804a",),
    evidence="manual",
    emulator="thorlabs-itc4000",
    emulator_wire="tcp",
    settings={"current_a": 0.06, "temperature_c": 25.0, "cooling": True},
    case={"place": "", "steady": ("current_a", 0.06), "interlock": "key_locked"},
)


class Itc4000(Cld1015):
    """One ITC4000. ``open`` switches the diode off and leaves the cooler as it is."""

    KEY = "ITC4"
