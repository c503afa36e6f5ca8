"""Thorlabs K10CR2: a motorized rotation mount. Dialect: ``k10cr.py``. Not tried on hardware."""

from __future__ import annotations

from photonlink.drivers.thorlabs.apt import stops
from photonlink.drivers.thorlabs.k10cr import K10crDriver, k10cr_params
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="thorlabs.k10cr2",
    title="Thorlabs K10CR2: motorized rotation mount",
    driver="K10cr2",
    facets=("Rotates",),
    transports=("serial", "tcp"),
    usb=("0403:faf0 serial=55*",),
    evidence="manual",
    emulator="thorlabs-k10cr2",
    settings={"velocity_deg_per_s": 20.0},
    case={"place": "bob.waveplates2", "steady": ("velocity_deg_per_s", 20.0)},
)


class K10cr2(K10crDriver):
    """One mount, to 20 deg/s. ``open`` stops it; it must be homed before it moves."""

    MODEL = "K10CR2"
    PARAMS = k10cr_params(20.0)
    OFF = stops((1,))
