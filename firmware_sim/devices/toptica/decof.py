"""The command language of Toptica's DeCoF firmware: a small Scheme, as far as clients use it.

Grammar and replies follow the vendor's client (``toptica-lasersdk`` 3.3.0). The *numbers* in error
replies are not publicly documented: those here are this emulator's own, and only their sign is
meaningful.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

Value = bool | int | float | str | bytes | tuple["Value", ...]

# Unverified numbers (a public simulator uses -14, -3 and -1).
E_SYNTAX, E_VALUE, E_ACCESS, E_READ_ONLY, E_COMMAND, E_STATE, E_NAME = -1, -3, -5, -6, -8, -10, -14
E_UNAVAILABLE = -20  # recorded: ``Error: -20 unavailable on your system``
MAX_DEPTH = 32
INT_LIMIT = 1 << 63


class DecofError(Exception):
    """A refused request: negative ``code`` and a text for people."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    def __str__(self) -> str:
        return f"Error: {self.code} {self.args[0]}"


@dataclass(frozen=True, slots=True)
class Symbol:
    name: str


@dataclass(frozen=True, slots=True)
class Quoted:
    """``'x``, `` `x `` or ``,x``; ``mark`` is the character."""

    mark: str
    inner: Node


Node = Symbol | Quoted | Value | list["Node"]

_TOKEN = re.compile(r"""\s*(?:([()'`,])|("(?:[^"\\]|\\.)*")|([^\s()'`,"]+))""", re.DOTALL)
_INT = re.compile(r"[+-]?\d+\Z")
_FLOAT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?\Z")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def _number(value: int | float) -> int | float:
    if not -INT_LIMIT <= value < INT_LIMIT if isinstance(value, int) else not isfinite(value):
        raise DecofError(E_VALUE, "number out of range")
    return value


def _atom(text: str) -> Node:
    if text in ("#t", "#T", "#f", "#F"):
        return text[1] in "tT"
    if _INT.match(text):
        return _number(int(text[:30]))  # cut: still too large, but quickly known
    if _FLOAT.match(text):
        return _number(float(text))
    if text.startswith("&"):
        try:
            return base64.b64decode(text[1:], validate=True)
        except ValueError:
            raise DecofError(E_SYNTAX, "invalid base64") from None
    if text.startswith("#"):
        raise DecofError(E_SYNTAX, f"unknown literal {text}")
    return Symbol(text)


def parse(text: str) -> Node:
    """One expression; DecofError for anything before, after or unbalanced."""
    tokens: list[str] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at, end)
        if match is None:
            raise DecofError(E_SYNTAX, "syntax error")
        tokens.append(match.group().strip())
        at = match.end()
    tokens.reverse()
    node = _expression(tokens, 0)
    if tokens:
        raise DecofError(E_SYNTAX, "text after expression")
    return node


def _expression(tokens: list[str], depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise DecofError(E_SYNTAX, "nested too deeply")
    if not tokens:
        raise DecofError(E_SYNTAX, "unexpected end of input")
    word = tokens.pop()
    if word in "'`,":
        return Quoted(word, _expression(tokens, depth + 1))
    if word == ")":
        raise DecofError(E_SYNTAX, "unexpected )")
    if word[0] == '"':
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), word[1:-1], flags=re.DOTALL)
    if word != "(":
        return _atom(word)
    items: list[Node] = []
    while tokens and tokens[-1] != ")":
        items.append(_expression(tokens, depth + 1))
    if not tokens:
        raise DecofError(E_SYNTAX, "missing )")
    tokens.pop()
    return items


def encode(value: Value) -> str:
    """A value as the device prints it; a float always carries a dot."""
    if isinstance(value, bool):
        return "#t" if value else "#f"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        mantissa, _, exponent = text.partition("e")
        if "." not in mantissa and mantissa.lstrip("-").isdigit():
            mantissa += ".0"
        return mantissa + ("e" + exponent if exponent else "")
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bytes):
        return "&" + base64.b64encode(value).decode()
    return "(" + " ".join(encode(v) for v in value) + ")"


class Host(Protocol):
    """The object of the language: one client's view of the device."""

    def get(self, name: str) -> Value: ...
    def get_set_value(self, name: str) -> Value: ...
    def display(self, name: str) -> str: ...
    def set(self, name: str, value: Value) -> int: ...
    def run(self, name: str, args: list[Value]) -> list[str]: ...


def execute(text: str, host: Host) -> str:
    """Evaluate one request line; the reply without prompt. Never raises for bad input."""
    try:
        result = _evaluate(parse(text), host)
    except DecofError as error:
        return str(error)
    return "\n".join(result) if isinstance(result, list) else encode(result)


def _evaluate(node: Node, host: Host) -> Value | list[str]:
    """A value, or the lines that a command printed."""
    if isinstance(node, Quoted):
        if node.mark == ",":
            raise DecofError(E_SYNTAX, "unquote outside of a quasi-quote")
        return _literal(node.inner, host, quasi=node.mark == "`")
    if isinstance(node, Symbol):
        raise DecofError(E_NAME, f"unbound variable: {node.name}")
    if not isinstance(node, list):
        return node
    if not node or not isinstance(node[0], Symbol):
        raise DecofError(E_SYNTAX, "no procedure to apply")
    return _apply(node[0].name, node[1:], host)


def _literal(node: Node, host: Host, *, quasi: bool) -> Value:
    if isinstance(node, Quoted):
        if node.mark == "," and quasi:
            return _value(node.inner, host)
        return _literal(node.inner, host, quasi=quasi)
    if isinstance(node, Symbol):
        return node.name
    if isinstance(node, list):
        return tuple(_literal(n, host, quasi=quasi) for n in node)
    return node


def _value(node: Node, host: Host) -> Value:
    result = _evaluate(node, host)
    if isinstance(result, list):
        raise DecofError(E_SYNTAX, "no value")
    return result


def _name(args: list[Node]) -> str:
    if args and isinstance(args[0], Quoted) and isinstance(args[0].inner, Symbol):
        return args[0].inner.name
    raise DecofError(E_SYNTAX, "a quoted name is needed")


def _apply(procedure: str, args: list[Node], host: Host) -> Value | list[str]:
    if procedure == "+":
        total: int | float = 0
        for arg in args:
            value = _value(arg, host)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise DecofError(E_VALUE, "+ needs numbers")
            total = _number(total + value)
        return total
    if procedure in ("param-ref", "param-gsv", "param-disp"):
        name = _name(args)
        if len(args) != 1:
            raise DecofError(E_SYNTAX, f"{procedure} takes one argument")
        if procedure == "param-disp":
            return [host.display(name)]
        return host.get(name) if procedure == "param-ref" else host.get_set_value(name)
    if procedure == "param-set!":
        name = _name(args)
        if len(args) != 2:
            raise DecofError(E_SYNTAX, "param-set! takes a name and a value")
        try:
            return host.set(name, _value(args[1], host))
        except DecofError as error:
            return error.code  # a failed set answers with its status alone
    if procedure == "exec":
        return host.run(_name(args), [_value(a, host) for a in args[1:]])
    raise DecofError(E_NAME, f"unbound variable: {procedure}")
