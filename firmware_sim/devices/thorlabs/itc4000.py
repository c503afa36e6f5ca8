"""Emulated Thorlabs ITC4001: as the CLD1015 (4000-series SCPI manual 3.3), with three firmware
codes.

Evidence: manual. Unverified: what the CLD1015 says is unverified there.
"""

from __future__ import annotations

from photonlink.firmware_sim.devices.thorlabs.cld1015 import EmulatedCld1015
from photonlink.firmware_sim.kit.registration import Registration


class EmulatedItc4000(EmulatedCld1015):
    """Up to 1 A."""

    IDENTITY = "THORLABS,ITC4001,{serial},1.4.0/2.0.3/1.6.0"
    MOST_A = 1.0


REGISTRATION = Registration(
    "thorlabs-itc4000", "pump", EmulatedItc4000, "Thorlabs ITC4001, laser diode and cooler driver"
)
