"""Two-photon polarization: a Bell-diagonal state near Φ+, two rotated fibres, passive analysers.

On the Poincaré sphere with axes (x, y, z) = (DA, RL, HV) the state is its correlation tensor
``T = diag(V_da, -V_da V_hv, V_hv)``: Φ+ for both visibilities 1, a state for all of them. A fibre
is a rotation R of its photon's sphere, so ``<ab> = m_a · R_a T R_bᵀ · m_b`` (R. & M. Horodecki, PRA
54, 1838 (1996)). With one angle theta about y this gives the error rate ``(1 - V cos theta) / 2``,
which is sin²(theta/2) for V = 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

_ANALYSERS = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])  # HV, DA


def rotation(vector_rad: npt.ArrayLike) -> Matrix:
    """Rotation matrix (3, 3) of a rotation vector in radians (Rodrigues)."""
    v = np.asarray(vector_rad, dtype=np.float64)
    angle = float(np.linalg.norm(v))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = v / angle
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    result: Matrix = np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * (k @ k)
    return result


def tensor(visibility_hv: float, visibility_da: float) -> Matrix:
    """Correlation tensor (3, 3) of the source's state."""
    return np.diag([visibility_da, -visibility_da * visibility_hv, visibility_hv])


def contrast(extinction_db: float) -> float:
    """Factor on a correlation by an analyser of this extinction: 1 - 2e."""
    leak = float(10.0 ** (-extinction_db / 10.0))
    return (1.0 - leak) / (1.0 + leak)


def correlations(
    state: Matrix, rotation_a: Matrix, rotation_b: Matrix, analyser_contrast: float
) -> Matrix:
    """``<ab>`` (2, 2) for Alice's basis i and Bob's basis j (0 HV, 1 DA)."""
    ideal: Matrix = _ANALYSERS @ rotation_a @ state @ rotation_b.T @ _ANALYSERS.T
    return analyser_contrast * ideal


def drift_step(linewidth_hz: float, step_s: float, rng: np.random.Generator) -> Matrix:
    """One random-walk step: exp(-i a·sigma), a ~ N(0, 2 pi dp T) per axis (Czegledi et al.,
    arXiv:1507.00953), which turns the sphere by 2a."""
    a = rng.normal(0.0, np.sqrt(2.0 * np.pi * linewidth_hz * step_s), 3)
    return rotation(2.0 * a)
