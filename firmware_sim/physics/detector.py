"""Effect of bias, temperature and threshold on an InGaAs diode, relative to its nominal figures.

Shapes, not data of one device (unverified for the IRSPD1): efficiency saturates exponentially with
the excess bias, dark counts grow with it and double every 10 K, traps empty faster when warm, and a
pulse is counted when it exceeds the discriminator's level.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, exp, expm1, log, sqrt

from photonlink.firmware_sim.config import Detector

FWHM_PER_SIGMA = 2.0 * sqrt(2.0 * log(2.0))
_SATURATION = 2.0  # excess bias over nominal at which 1 - exp(-x) is evaluated
_PULSE_SPREAD = 0.15  # rms of the pulse height, relative
_NOISE_BANDWIDTH_HZ = 5e8
_MAX_DARK_HZ = 1e7
_MAX_OVER = 10.0  # times the nominal excess bias: destroys a real diode


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Present parameters of a diode for the event engine."""

    efficiency: float
    dark_hz: float
    afterpulse_factor: float
    trap_time_factor: float


def operating_point(d: Detector) -> OperatingPoint:
    """Efficiency, dark counts and afterpulsing at the present bias, temperature and threshold."""
    over = min(max(d.excess_bias_v, 0.0) / d.nominal_excess_bias_v, _MAX_OVER)
    warm = d.temperature_c - d.nominal_temperature_c
    seen = _above(d.threshold_mv, d.pulse_mv * over)
    # Noise crossings (Rice): they do not need bias.
    noise = _NOISE_BANDWIDTH_HZ * exp(-0.5 * (d.threshold_mv / d.noise_mv) ** 2)
    if over == 0.0:
        return OperatingPoint(0.0, min(noise, _MAX_DARK_HZ), 0.0, 1.0)
    gain = expm1(-_SATURATION * over) / expm1(-_SATURATION)
    dark = d.dark_hz * over * exp(0.5 * (over - 1.0)) * 2.0 ** (warm / 10.0)
    return OperatingPoint(
        efficiency=min(d.efficiency * gain * seen, 1.0),
        dark_hz=min(dark * seen + noise, _MAX_DARK_HZ),
        afterpulse_factor=over,
        trap_time_factor=2.0 ** (-warm / 20.0),
    )


def _above(threshold: float, mean: float) -> float:
    """Share of pulses of this mean height above the threshold."""
    if mean <= 0.0:
        return 0.0
    return 0.5 * erfc((threshold - mean) / (sqrt(2.0) * _PULSE_SPREAD * mean))
