"""Emulated Thorlabs K10CR2: a rotation mount. Its dialect: ``k10cr.py``."""

from __future__ import annotations

from photonlink.firmware_sim.devices.thorlabs.k10cr import K10cr
from photonlink.firmware_sim.kit.registration import Registration


class K10cr2(K10cr):
    MODEL = "K10CR2"
    TOP_DEG_S = 20.0
    CHANNELS = 2


REGISTRATION = Registration(
    "thorlabs-k10cr2", "waveplates", K10cr2, "Thorlabs K10CR2, motorized rotation mount"
)
