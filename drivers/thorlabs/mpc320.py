"""Thorlabs MPC320: three motorized fibre paddles. Dialect: ``mpc.py``. Not tried on hardware."""

from __future__ import annotations

from photonlink.drivers.thorlabs.apt import stops
from photonlink.drivers.thorlabs.mpc import MpcDriver, mpc_params
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="thorlabs.mpc320",
    title="Thorlabs MPC320: three motorized fibre paddles",
    driver="Mpc320",
    facets=("Rotates",),
    transports=("serial", "tcp"),
    usb=("0403:faf0 serial=38*",),
    evidence="manual",
    emulator="thorlabs-mpc320",
    settings={"velocity_percent": 100},
    case={"place": "alice.waveplates", "steady": ("velocity_percent", 100)},
)


class Mpc320(MpcDriver):
    """Three paddles. ``open`` stops them where they are; an angle moves one."""

    MODEL = "MPC320"
    CHANNELS = (1, 2, 4)
    PARAMS = mpc_params((1, 2, 3))
    OFF = stops((1, 2, 3))
