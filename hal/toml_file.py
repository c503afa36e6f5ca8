"""Reads files that people write, with bounds; every mistake is reported with its line.

For station files and link files alike. A file is read only if it is a regular file of a sane size;
an editor's byte order mark is accepted.
"""

from __future__ import annotations

import math
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import ErrorDetails

from photonlink.hal.regular_file import FileError, read_text

MAX_BYTES = 1 << 20  # more than a thousand instruments need
MAX_DEPTH = 64  # nested brackets


def read_toml_text(path: Path) -> str:
    """Text of a regular UTF-8 file of at most MAX_BYTES; FileError says what it is else."""
    return read_text(path, at_most=MAX_BYTES)


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """TOML as a dict. FileError names the line; deep nesting is refused, not recursed into."""
    depth, line = 0, 1
    for mark in re.finditer(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}\n]', text):
        found = mark.group()
        line += found == "\n"
        if len(found) == 1:
            depth = max(0, depth + (found in "[{") - (found in "]}"))
        if depth > MAX_DEPTH:
            raise FileError(
                f"more than {MAX_DEPTH} nested brackets", where=f"{where}:{line}",
            )  # fmt: skip
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+)", str(error))
        number = at.group(1) if at else str(text.count("\n") + 1)
        raise FileError(f"this is not TOML: {error}", where=f"{where}:{number}") from error
    except RecursionError:
        raise FileError("the brackets are nested too deeply", where=where) from None


class TableModel(BaseModel):
    """Base of every table that a file may hold: unknown keys are refused, numbers are numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: Any) -> Any:
        field = cls.model_fields.get(info.field_name)
        if field is not None:
            check_numbers(value, field.annotation)
        return value


def check_numbers(value: Any, annotation: Any) -> None:
    """ValueError for ``true`` or ``"1e9"`` where the annotation is a number."""
    kinds = _kinds(annotation)
    wants_number = bool(kinds & {int, float})
    for each in value if isinstance(value, list | tuple) else (value,):
        if wants_number and isinstance(each, bool) and bool not in kinds:
            raise ValueError(f"must be a number, not {str(each).lower()}")
        if wants_number and isinstance(each, str) and not kinds - {int, float, type(None)}:
            raise ValueError(f'must be a number, not the text "{each[:40]}"')
        if isinstance(each, float) and not math.isfinite(each):
            raise ValueError(f"must be a finite number, not {each}")


def _kinds(annotation: Any) -> set[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType, tuple, list):
        return {k for a in typing.get_args(annotation) if a is not ... for k in _kinds(a)}
    return {annotation}


_WORDS = {
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "path_type": "must be the name of a file",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "finite_number": "must be a finite number",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def in_words(item: ErrorDetails) -> str:
    """A pydantic error in plain words."""
    value, context = item.get("input"), item.get("ctx", {})
    kind = item["type"]
    if kind == "value_error":
        return item["msg"].removeprefix("Value error, ")
    if kind in _WORDS:
        return f"{_WORDS[kind]}, not {_shown(value)}"
    if kind in _BOUNDS:
        relation, key = _BOUNDS[kind]
        return f"must be {relation} {context[key]:g}, not {_shown(value)}"
    if kind == "literal_error":
        return f"must be {context.get('expected', 'another value')}, not {_shown(value)}"
    if kind == "string_pattern_mismatch":
        return f"must fit {context.get('pattern')}, not {_shown(value)}"
    return f"{item['msg']}: {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)[:60]
