"""PYON, the text of sipyco's remote calls (``sipyco/pyon.py``, m-labs/sipyco): both versions.

Version 1 is an expression in Python's syntax with the names ``null``, ``true``, ``false``, ``inf``,
``nan`` and calls like ``nparray((3,), "<i8", b"…")``; version 2 is JSON with ``__jsonclass__``. It
is read by walking the syntax tree: nothing that arrives is ever executed.
"""

from __future__ import annotations

import ast
import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from photonlink.hal.errors import LinkDesync

NAMES = {"null": None, "true": True, "false": False, "inf": math.inf, "nan": math.nan,
         "None": None, "True": True, "False": False}  # fmt: skip
DEEPEST = 64


def encode(value: Any) -> str:
    """Version 2, one line. LinkDesync for what has no form."""
    try:
        return json.dumps(_plain(value), separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise LinkDesync(f"this cannot be sent: {error}", seen=type(value).__name__) from None


def encode_1(value: Any) -> str:
    """Version 1, one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, tuple):
        inner = ", ".join(map(encode_1, value))
        return f"({inner}, )" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return f"[{', '.join(map(encode_1, value))}]"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(map(encode_1, sorted(value))) + "}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{encode_1(k)}: {encode_1(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (int, float, complex, bytes)):
        return repr(value)
    raise LinkDesync("this cannot be sent", seen=type(value).__name__)


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, set, frozenset)):
        items = [_plain(v) for v in (value if isinstance(value, tuple) else sorted(value))]
        return _class("tuple" if isinstance(value, tuple) else "set", items)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return _class("bytes", base64.b64encode(value).decode())
    if isinstance(value, complex):
        return _class("complex", value.real, value.imag)
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return _class("nparray", list(value.shape), value.dtype.str, data)
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _plain(v) for key, v in value.items()}
        return _class("dict", [[_plain(k), _plain(v)] for k, v in value.items()])
    return value


def _class(name: str, *parts: Any) -> dict[str, Any]:
    return {"__jsonclass__": [name, list(parts)]}


def decode(line: bytes) -> Any:
    """A line of either version. LinkDesync when it is none."""
    try:
        text = line.decode("utf-8").strip()
        try:
            return json.loads(text, object_hook=_from_json)
        except json.JSONDecodeError:
            return _walk(ast.parse(text, mode="eval").body, 0)
    except (
        ValueError, TypeError, KeyError, IndexError, SyntaxError, RecursionError, MemoryError,
        binascii.Error,
    ):  # fmt: skip
        raise LinkDesync("a line that is no PYON", seen=ascii(line[:80])) from None


def _array(shape: Any, dtype: str, data: Any) -> Any:
    raw = base64.b64decode(data)
    return np.frombuffer(raw, np.dtype(dtype)).reshape([int(n) for n in shape]).copy()


def _scalar(dtype: str, data: Any) -> Any:
    return np.frombuffer(base64.b64decode(data), np.dtype(dtype))[0].item()


_CLASSES: dict[str, Callable[..., Any]] = {
    "tuple": tuple,
    "set": set,
    "dict": dict,
    "OrderedDict": dict,
    "bytes": base64.b64decode,
    "complex": complex,
    "nparray": _array,
    "npscalar": _scalar,
    "Fraction": lambda top, bottom: top / bottom,
}


def _from_json(found: dict[str, Any]) -> Any:
    if set(found) != {"__jsonclass__"}:
        return found
    name, parts = found["__jsonclass__"]
    return _CLASSES[name](*parts)


def _walk(node: ast.expr, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError("too deep")
    down = depth + 1
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return NAMES[node.id]
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        items = [_walk(item, down) for item in node.elts]
        return {ast.Tuple: tuple, ast.List: list, ast.Set: set}[type(node)](items)
    if isinstance(node, ast.Dict):
        keys = [_walk(key, down) for key in node.keys if key is not None]
        return dict(zip(keys, [_walk(v, down) for v in node.values], strict=True))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _walk(node.operand, down)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        left, right = _walk(node.left, down), _walk(node.right, down)
        if not (isinstance(left, (int, float)) and isinstance(right, complex)):
            raise ValueError("no complex number")
        return left + right if isinstance(node.op, ast.Add) else left - right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _CLASSES[node.func.id](*(_walk(a, down) for a in node.args))
    raise ValueError("no value")
