"""Emulated Thorlabs MPC220: two paddles. Its dialect: ``mpc.py``."""

from __future__ import annotations

from photonlink.firmware_sim.devices.thorlabs.mpc import Mpc
from photonlink.firmware_sim.kit.registration import Registration


class Mpc220(Mpc):
    MODEL = "MPC220"
    AXES = (1, 2)


REGISTRATION = Registration(
    "thorlabs-mpc220", "waveplates", Mpc220, "Thorlabs MPC220, two motorized fibre paddles"
)
