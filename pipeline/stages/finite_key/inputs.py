"""What every formula asks of its inputs: a refusal names the parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from photonlink.hal.errors import PhotonlinkError

# the largest count a double holds exactly
LARGEST_COUNT = 2**53


class ParameterError(PhotonlinkError, ValueError):
    """A count, rate or epsilon no block can have. ``parameter`` names it."""

    def __init__(self, parameter: str, what: str, value: object) -> None:
        self.parameter = parameter
        super().__init__(f"{parameter} {what}", where=parameter, seen=repr(value))


def number(name: str, value: object) -> float:
    """A finite real number, not a truth value."""
    if value is None:
        raise ParameterError(name, "is missing", value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterError(name, "must be a number", value)
    try:
        checked = float(value)
    except OverflowError:
        checked = math.inf
    if not math.isfinite(checked):
        raise ParameterError(name, "must be finite", value)
    if abs(checked) > 1e300:
        raise ParameterError(name, "is beyond any block", value)
    return checked


def count(name: str, value: float, *, at_most: float = LARGEST_COUNT) -> int:
    """A count of events or bits: a whole number >= 0."""
    checked = number(name, value)
    if checked != math.floor(checked):
        raise ParameterError(name, "must be a whole number", value)
    if checked < 0:
        raise ParameterError(name, "must not be negative", value)
    if checked > at_most:
        raise ParameterError(name, f"must not exceed {at_most}", value)
    return int(value)


def counts(name: str, values: Sequence[float], wanted: int) -> tuple[int, ...]:
    """One count per intensity."""
    return tuple(count(name, v) for v in sequence(name, values, wanted, "count"))


def sequence(name: str, values: Sequence[float], wanted: int, what: str) -> tuple[float, ...]:
    """``wanted`` entries, one per intensity."""
    if values is None or isinstance(values, str) or not hasattr(values, "__len__"):
        raise ParameterError(name, f"needs one {what} per intensity ({wanted})", values)
    if len(values) != wanted:
        raise ParameterError(name, f"needs one {what} per intensity ({wanted})", values)
    return tuple(values)


def epsilon(name: str, value: float) -> float:
    """A failure probability: strictly between 0 and 1."""
    checked = number(name, value)
    if not 0.0 < checked < 1.0:
        raise ParameterError(name, "must lie strictly between 0 and 1", value)
    return checked


def rate(name: str, value: float, *, at_most: float = 1.0) -> float:
    """A rate or probability in [0, at_most]."""
    checked = number(name, value)
    if not 0.0 <= checked <= at_most:
        raise ParameterError(name, f"must lie in [0, {at_most}]", value)
    return checked


def not_negative(name: str, value: float) -> float:
    checked = number(name, value)
    if checked < 0:
        raise ParameterError(name, "must not be negative", value)
    return checked
