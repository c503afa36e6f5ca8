"""Thorlabs MPC220: two motorized fibre paddles. Dialect: ``mpc.py``. Not tried on hardware."""

from __future__ import annotations

from photonlink.drivers.thorlabs.apt import stops
from photonlink.drivers.thorlabs.mpc import MpcDriver, mpc_params
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="thorlabs.mpc220",
    title="Thorlabs MPC220: two motorized fibre paddles",
    driver="Mpc220",
    facets=("Rotates",),
    transports=("serial", "tcp"),
    usb=("0403:faf0 serial=38*",),
    evidence="manual",
    emulator="thorlabs-mpc220",
    settings={"velocity_percent": 100},
    case={"place": "bob.waveplates", "steady": ("velocity_percent", 100)},
)


class Mpc220(MpcDriver):
    """Two paddles. ``open`` stops them where they are; an angle moves one."""

    MODEL = "MPC220"
    CHANNELS = (1, 2)
    PARAMS = mpc_params((1, 2))
    OFF = stops((1, 2))
