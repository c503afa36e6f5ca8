"""Emulated Thorlabs MPC320: three paddles. Its dialect: ``mpc.py``."""

from __future__ import annotations

from photonlink.firmware_sim.devices.thorlabs.mpc import Mpc
from photonlink.firmware_sim.kit.registration import Registration


class Mpc320(Mpc):
    MODEL = "MPC320"
    AXES = (1, 2, 4)


REGISTRATION = Registration(
    "thorlabs-mpc320", "waveplates", Mpc320, "Thorlabs MPC320, three motorized fibre paddles"
)
