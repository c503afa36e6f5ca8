"""What every formula asks of its inputs: a refusal names the parameter."""

from __future__ import annotations

import math

from photonlink.hal.errors import PhotonlinkError


class ParameterError(PhotonlinkError, ValueError):
    """A count, rate or epsilon no block can have. ``parameter`` names it."""

    def __init__(self, parameter: str, what: str, value: object) -> None:
        self.parameter = parameter
        super().__init__(f"{parameter} {what}", where=parameter, seen=repr(value))


def count(name: str, value: float, *, at_most: float | None = None) -> int:
    """A count of events or bits: a whole number >= 0."""
    if isinstance(value, bool) or not math.isfinite(value) or value != int(value):
        raise ParameterError(name, "must be a whole number", value)
    if value < 0:
        raise ParameterError(name, "must not be negative", value)
    if at_most is not None and value > at_most:
        raise ParameterError(name, f"must not exceed {at_most}", value)
    return int(value)


def epsilon(name: str, value: float) -> float:
    """A failure probability: strictly between 0 and 1."""
    if not (math.isfinite(value) and 0.0 < value < 1.0):
        raise ParameterError(name, "must lie strictly between 0 and 1", value)
    return float(value)


def rate(name: str, value: float, *, at_most: float = 1.0) -> float:
    """A rate or probability in [0, at_most]."""
    if not (math.isfinite(value) and 0.0 <= value <= at_most):
        raise ParameterError(name, f"must lie in [0, {at_most}]", value)
    return float(value)


def not_negative(name: str, value: float) -> float:
    if not math.isfinite(value) or value < 0:
        raise ParameterError(name, "must be finite and not negative", value)
    return float(value)
