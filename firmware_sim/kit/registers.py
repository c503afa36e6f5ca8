"""Registers: the stored settings of an instrument, declared once, and computed values.

A register has a name, a power-on value (whose type is the register's type), a range or choices, a
format, a unit and the access level a write needs. Three decorators tie methods to names:
``@reading(name)`` computes a value, ``@effect(name, …)`` runs after a set, ``@command(name)`` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Register:
    """One stored setting.

    form: format specification of the printed value (``.3f``; empty: as Python prints it).
    volatile: goes back to the power-on value even when a ``save`` kept another one.
    """

    name: str
    value: Any
    low: float = -math.inf
    high: float = math.inf
    form: str = ""
    unit: str = ""
    choices: tuple[Any, ...] = ()
    level: int = 1_000_000
    volatile: bool = False

    def __post_init__(self) -> None:
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if number and not self.low <= self.value <= self.high:
            raise ValueError(
                f"register {self.name}: {self.value} lies outside {self.low} … {self.high}"
            )
        if self.choices and self.value not in self.choices:
            raise ValueError(f"register {self.name}: {self.value!r} is none of {self.choices}")

    def show(self, value: Any) -> str:
        """The value as the instrument prints it."""
        if isinstance(value, bool):
            return str(int(value))
        return format(value, self.form)

    def accept(self, value: Any) -> Any:
        """``value`` (text or typed) in the register's type; :class:`Refusal` when it is refused."""
        kind = type(self.value)
        try:
            if kind is bool:
                value = bool(_number(value))
            elif kind is int:
                value = round(_number(value))
            elif kind is float:
                value = _number(value)
            else:
                value = self._word(kind(value))
        except (ValueError, TypeError, OverflowError):
            raise Refusal("type", f"{self.name}: not a {kind.__name__}: {value!r:.40}") from None
        if self.choices and value not in self.choices:
            raise Refusal("range", f"{self.name}: {value!r} is none of {self.choices}")
        if kind in (int, float) and not self.low <= value <= self.high:
            raise Refusal("range", f"{self.name}: {value} lies outside {self.low} … {self.high}")
        return value

    def _word(self, value: Any) -> Any:
        """One of the choices however it is written; 1 and 0 where they are ON and OFF."""
        if not isinstance(value, str) or value in self.choices:
            return value
        if set(self.choices) == {"ON", "OFF"}:
            value = {"1": "ON", "0": "OFF"}.get(value, value)
        return next((c for c in self.choices if c.upper() == value.upper()), value)


def _number(value: Any) -> float:
    """A finite number from text or number (ON and OFF are 1 and 0)."""
    if isinstance(value, str):
        value = {"on": "1", "off": "0"}.get(value.strip().lower(), value)
    number = float(value)
    if not math.isfinite(number):
        raise Refusal("range", f"not finite: {value!r:.40}")
    return number


class Refusal(Exception):
    """A request the instrument refuses. kind: ``unknown``, ``type``, ``range``, ``level``."""

    def __init__(self, kind: str, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.kind, self.code = kind, code


class Registers:
    """The present values of declared registers."""

    def __init__(self, declared: Iterable[Register]) -> None:
        self.declared = {r.name: r for r in declared}
        self._saved = {n: r.value for n, r in self.declared.items()}
        self._values = dict(self._saved)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self.declared

    def __iter__(self) -> Iterator[str]:
        return iter(self.declared)

    def put(self, name: str, value: Any) -> None:
        """Write a value as the instrument itself, unchecked."""
        self._values[name] = value

    def set(self, name: str, value: Any) -> Any:
        """Write a value for a client. :class:`Refusal` changes nothing; returns the value as
        stored.
        """
        self._values[name] = self.declared[name].accept(value)
        return self._values[name]

    def show(self, name: str) -> str:
        return self.declared[name].show(self._values[name])

    def save(self) -> None:
        """Store the present values as power-on values (volatile ones excepted)."""
        self._saved = {
            n: r.value if r.volatile else self._values[n] for n, r in self.declared.items()
        }

    def boot(self) -> None:
        """Power-on."""
        self._values = {n: r.value if r.volatile else self._saved[n] for n, r in self._items()}

    def _items(self) -> Iterable[tuple[str, Register]]:
        return self.declared.items()


def _mark(kind: str, *names: str) -> Callable[[F], F]:
    def mark(function: F) -> F:
        marks = getattr(function, "kit_marks", ())
        function.kit_marks = (*marks, *((kind, name) for name in names))  # type: ignore[attr-defined]
        return function

    return mark


def reading(*names: str) -> Callable[[F], F]:
    """The method ``(self) -> value or text`` answers a query of this name."""
    return _mark("reading", *names)


def effect(*names: str) -> Callable[[F], F]:
    """The method ``(self)`` runs after a client has set one of these registers."""
    return _mark("effect", *names)


def command(*names: str) -> Callable[[F], F]:
    """The method ``(self, argument, session)`` executes this command word; its result is the
    reply.
    """
    return _mark("command", *names)


def marked(cls: type[Any], kind: str) -> dict[str, str]:
    """name → attribute of every method of ``cls`` with that mark; a subclass overrides."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for attribute, member in vars(base).items():
            for mark, name in getattr(member, "kit_marks", ()):
                if mark == kind:
                    found[name] = attribute
    return found
