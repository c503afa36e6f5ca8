"""Checks of the formulas' inputs: a refusal is a ``ParameterError`` that names the input."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np

from photonlink.hal.errors import PhotonlinkError

# the largest count up to which a double represents all whole numbers
LARGEST_COUNT = 2**53
# larger values are meaningless as rates or lengths; products of a few still fit into a double
LARGEST_NUMBER = 1e100
# below it a double has fewer digits, down to none
SMALLEST_EPSILON = sys.float_info.min


class ParameterError(PhotonlinkError, ValueError):
    """A count, rate or epsilon no block can have. ``parameter`` names it."""

    def __init__(self, parameter: str, what: str, value: object) -> None:
        self.parameter = parameter
        super().__init__(f"{parameter} {what}", where=parameter, seen=_shown(value))


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python turns into text
        text = f"a number of {int(value).bit_length()} bits" if isinstance(value, int) else "?"
    return text if len(text) <= 200 else f"{text[:197]}..."


def number(name: str, value: object) -> float:
    """A finite real number, not a truth value."""
    if value is None:
        raise ParameterError(name, "is missing", value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise ParameterError(name, "must be a number", value)
    try:
        checked = float(value)
    except OverflowError:
        checked = math.inf
    if not math.isfinite(checked):
        raise ParameterError(name, "must be finite", value)
    if abs(checked) > LARGEST_NUMBER:
        raise ParameterError(name, "is beyond any block", value)
    return checked


def count(name: str, value: float, *, at_most: float = LARGEST_COUNT) -> int:
    """A count of events or bits: a whole number >= 0."""
    number(name, value)
    exact = int(value)
    if exact != value:
        raise ParameterError(name, "must be a whole number", value)
    if exact < 0:
        raise ParameterError(name, "must not be negative", value)
    if exact > at_most:
        raise ParameterError(name, f"must not exceed {at_most}", value)
    return exact


def counts(name: str, values: Sequence[float], wanted: int) -> tuple[int, ...]:
    """One count per intensity."""
    return tuple(count(name, v) for v in sequence(name, values, wanted, "count"))


def sequence(name: str, values: Sequence[float], wanted: int, what: str) -> tuple[float, ...]:
    """``wanted`` entries in order, one per intensity: a list, tuple or one-dimensional array."""
    entries = ordered(name, values, what)
    if len(entries) != wanted:
        raise ParameterError(name, f"needs one {what} per intensity ({wanted})", values)
    return entries


def ordered(name: str, values: Sequence[float], what: str) -> tuple[float, ...]:
    """The entries of a list, tuple, range or one-dimensional array. Text, bytes, sets and
    mappings have no order or no numbers, and are refused."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return tuple(values)
    if not isinstance(values, list | tuple | range):
        raise ParameterError(name, f"must be a list with one {what} per entry", values)
    return tuple(values)


def choice(name: str, value: object, allowed: Iterable[object]) -> None:
    """One of ``allowed``; True and 1.0 are not 1."""
    wanted = tuple(allowed)
    if not any(type(value) is type(a) and value == a for a in wanted):
        raise ParameterError(name, f"must be one of {', '.join(map(repr, wanted))}", value)


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(name, "must be True or False", value)
    return bool(value)


def epsilon(name: str, value: float, *, parts: float = 1.0) -> float:
    """A failure probability: strictly between 0 and 1, and a normal double even when shared by
    ``parts`` terms."""
    checked = number(name, value)
    if not 0.0 < checked < 1.0:
        raise ParameterError(name, "must lie strictly between 0 and 1", value)
    if checked / parts < SMALLEST_EPSILON:
        raise ParameterError(name, f"must be at least {SMALLEST_EPSILON * parts:.2g}", value)
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


def positive(name: str, value: float) -> float:
    """Above zero, and not so small that its reciprocal is beyond any block."""
    checked = number(name, value)
    if checked < 1 / LARGEST_NUMBER:
        raise ParameterError(name, "must be positive", value)
    return checked
