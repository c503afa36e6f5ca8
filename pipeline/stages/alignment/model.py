"""What a polarization controller does to the correlations of a pair source.

On the Poincaré sphere with axes (DA, RL, HV) the pairs are a correlation tensor T, each fibre a
rotation, and analysers in HV and DA see ``<ab> = m_a · R_a T R_bᵀ · m_b`` (R. & M. Horodecki,
PRA 54, 1838 (1996)). With the controller W somewhere in one arm, whatever lies before and behind
it is a rotation too, so that

    C(s) = V · A · W(s)ᵀ · Bᵀ,

A and B being two rows (HV, DA) of orthogonal matrices and V the contrast. A retarder of retardance
δ and fast axis θ turns the sphere by δ about (sin 2θ, 0, cos 2θ) (Goldstein, Polarized Light, 3rd
ed., section 6.3). Which way an instrument counts its angles, and the sign of δ, do not matter: a
mirrored W is absorbed by A and B, whose third rows are not observable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from photonlink.hal.facets import Retarder

Floats = npt.NDArray[np.float64]

AXIS_SPREAD_RAD = np.radians(3.0)
RETARDANCE_SPREAD = 0.05
ANALYSERS = (2, 0)
"""Rows of the sphere's axes (DA, RL, HV) that are measured: HV, DA."""


def turned(vectors_rad: Floats) -> Floats:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians (Rodrigues)."""
    angle = np.linalg.norm(vectors_rad, axis=-1)
    axis = vectors_rad / np.where(angle > 0, angle, 1.0)[..., None]
    return about(axis, angle)


def about(axis: Floats, angle_rad: Floats) -> Floats:
    """Rotation matrices (..., 3, 3) about unit vectors (..., 3)."""
    x, y, z = axis[..., 0], axis[..., 1], axis[..., 2]
    sin, cos = np.sin(angle_rad), np.cos(angle_rad)
    rest = 1.0 - cos
    result = np.empty((*np.broadcast_shapes(x.shape, np.shape(angle_rad)), 3, 3))
    result[..., 0, 0] = cos + rest * x * x
    result[..., 0, 1] = rest * x * y - sin * z
    result[..., 0, 2] = rest * x * z + sin * y
    result[..., 1, 0] = rest * x * y + sin * z
    result[..., 1, 1] = cos + rest * y * y
    result[..., 1, 2] = rest * y * z - sin * x
    result[..., 2, 0] = rest * x * z - sin * y
    result[..., 2, 1] = rest * y * z + sin * x
    result[..., 2, 2] = cos + rest * z * z
    return result


class Controller:
    """A stack of retarders in the order in which light meets them."""

    def __init__(self, retarders: Sequence[Retarder]) -> None:
        self._plate = np.array([r.retardance_deg is not None for r in retarders])
        self._retardance = np.radians([r.retardance_deg or 0.0 for r in retarders])
        self._axis = np.radians([r.axis_deg for r in retarders])
        self.low = np.array([r.low_deg for r in retarders])
        self.high = np.array([r.high_deg for r in retarders])

    @property
    def axes(self) -> int:
        return len(self._axis)

    @property
    def spread(self) -> Floats:
        """Standard deviations (2 axes,) of ``errors``: typical deviations of a device from its data
        sheet.
        """
        own = np.where(self._plate, RETARDANCE_SPREAD * self._retardance, RETARDANCE_SPREAD)
        other = np.where(self._plate, AXIS_SPREAD_RAD, np.radians(10.0))
        return np.concatenate([own, other])

    def rotations(self, settings_deg: Floats, errors: Floats) -> Floats:
        """W (..., 3, 3) at settings (..., axes).

        errors (..., 2 axes): of each plate its retardance in radians, then its axis in radians; of
        each squeezer its turn per degree (relative), then its retardance at 0 in radians.
        """
        first, second = errors[..., : self.axes], errors[..., self.axes :]
        angle = np.radians(settings_deg)
        theta = np.where(self._plate, angle + self._axis + second, self._axis)
        delta = np.where(self._plate, self._retardance + first, angle * (1.0 + first) + second)
        axis = np.stack([np.sin(2 * theta), np.zeros_like(theta), np.cos(2 * theta)], -1)
        each = about(axis, delta)
        whole: Floats = each[..., 0, :, :]
        for n in range(1, self.axes):
            whole = each[..., n, :, :] @ whole
        return whole


def correlations(a: Floats, w: Floats, b: Floats, contrast: Floats) -> Floats:
    """C (..., 2, 2) for rotations a, w, b (..., 3, 3) and contrasts (...)."""
    whole = (
        a[..., ANALYSERS, :] @ np.swapaxes(w, -1, -2) @ np.swapaxes(b[..., ANALYSERS, :], -1, -2)
    )
    result: Floats = np.asarray(contrast)[..., None, None] * whole
    return result


def error_rate(correlation: Floats) -> Floats:
    """Mean QBER of both bases (...) of correlations (..., 2, 2)."""
    result: Floats = 0.5 - 0.25 * (correlation[..., 0, 0] + correlation[..., 1, 1])
    return result
