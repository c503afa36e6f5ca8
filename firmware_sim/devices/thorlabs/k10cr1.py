"""Emulated Thorlabs K10CR1: a rotation mount. Its dialect: ``k10cr.py``."""

from __future__ import annotations

from photonlink.firmware_sim.devices.thorlabs.k10cr import K10cr
from photonlink.firmware_sim.kit.registration import Registration


class K10cr1(K10cr):
    MODEL = "K10CR1"
    TOP_DEG_S = 10.0
    CHANNELS = 1


REGISTRATION = Registration(
    "thorlabs-k10cr1", "waveplates", K10cr1, "Thorlabs K10CR1, motorized rotation mount"
)
