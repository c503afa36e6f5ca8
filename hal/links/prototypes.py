"""A vendor library's functions as a table: C prototypes, outputs, and what a status means.

``Function("MH_GetBaseResolution", "int device, out double ps, out int steps")`` declares
``int MH_GetBaseResolution(int, double *, int *)``; called with the device alone it hands back
``(80.0, 1)``. Argument kinds: any C type; ``out TYPE``: one value; ``out text[N]``: a string of at
most N bytes; ``out TYPE[N]``: an array; ``in text``: a Python string. Every argument has a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Rule = Callable[[int], bool]
"""Whether a status means failure."""


def negative_fails(status: int) -> bool:
    return status < 0


def nonzero_fails(status: int) -> bool:
    return status != 0


def zero_fails(status: int) -> bool:
    return status == 0


_ARGUMENT = re.compile(
    r"(?P<way>out\s+|in\s+)?(?P<type>\w[\w ]*?\s*\**)\s*(?:\[(?P<count>\d+)\]\s*)?"
    r"(?<=[\s*\]])(?P<name>\w+)"
)


@dataclass(frozen=True, slots=True)
class Argument:
    """``out``: the library writes it. ``count``: elements of an array, 0 for a single value."""

    kind: str
    out: bool
    count: int

    @staticmethod
    def parse(text: str) -> Argument:
        match = _ARGUMENT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"unreadable argument {text!r}: write TYPE NAME, out TYPE[N] NAME")
        way = (match["way"] or "").strip()
        return Argument(match["type"].strip(), way == "out", int(match["count"] or 0))

    @property
    def c_type(self) -> str:
        base = "char" if self.kind == "text" else self.kind
        return f"{base} *" if self.out or self.kind == "text" or self.count else base


@dataclass(frozen=True, slots=True)
class Function:
    """One function. returns: its C type. fails: its rule, None for the library's, or ``value``
    when what it returns is a value and no status."""

    name: str
    arguments: str = ""
    returns: str = "int"
    fails: Rule | None = None
    value: bool = False

    def parsed(self) -> tuple[Argument, ...]:
        return tuple(Argument.parse(a) for a in self.arguments.split(",") if a.strip())

    @property
    def prototype(self) -> str:
        return (
            f"{self.returns} {self.name}({', '.join(a.c_type for a in self.parsed()) or 'void'});"
        )


@dataclass(frozen=True, slots=True)
class Prototypes:
    """All functions of one library that a driver uses.

    fails: the status rule of most of them. gone: the statuses for a device that is no longer
    connected. error_text: the function that puts a status in words: ``(char *text, int code)``;
    ``(int code, char *text)`` with ``code_first``; or ``char * (int code)``, declared with
    ``value=True``. own_process: the library may be opened only once in a process, so each opening
    gets one.
    """

    functions: Sequence[Function]
    fails: Rule = negative_fails
    gone: frozenset[int] = frozenset()
    error_text: str = ""
    code_first: bool = False
    own_process: bool = False

    @property
    def declarations(self) -> str:
        return "\n".join(function.prototype for function in self.functions)

    def named(self, name: str) -> Function:
        return next(f for f in self.functions if f.name == name)


TEXT_BYTES = 16_384


class Call:
    """One prepared call: buffers for the outputs, and their values afterwards."""

    def __init__(self, ffi: Any, function: Function, given: Sequence[Any]) -> None:
        self._ffi = ffi
        self._outputs: list[tuple[Argument, Any]] = []
        self.arguments: list[Any] = []
        rest = iter(given)
        for argument in function.parsed():
            if argument.out:
                buffer = self._buffer(argument)
                self._outputs.append((argument, buffer))
                self.arguments.append(buffer)
            else:
                value = next(rest)
                if argument.kind == "text" and isinstance(value, str):
                    value = ffi.new("char[]", value.encode("utf-8"))
                self.arguments.append(value)
        if list(rest):
            raise TypeError(f"{function.name}: too many arguments")

    def _buffer(self, argument: Argument) -> Any:
        if argument.kind == "text":
            return self._ffi.new("char[]", argument.count or TEXT_BYTES)
        if argument.count:
            return self._ffi.new(f"{argument.kind}[]", argument.count)
        return self._ffi.new(f"{argument.kind} *")

    def values(self) -> tuple[Any, ...]:
        return tuple(self._value(argument, buffer) for argument, buffer in self._outputs)

    def _value(self, argument: Argument, buffer: Any) -> Any:
        if argument.kind == "text":
            return self._ffi.string(buffer).decode("latin-1").strip()
        return list(buffer) if argument.count else buffer[0]
