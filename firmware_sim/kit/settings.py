"""Settings of an emulator: one dataclass per model, filled from the bench file or the command line.

``DeviceSettings`` has the settings of every model. The docstring of a model's own class explains
its fields; ``emulate MODEL --help-settings`` prints it.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


@dataclasses.dataclass
class DeviceSettings:
    """serial_number: by default made from the seed.  address: of the wire, by default a free one
    (``tcp://127.0.0.1:0``, ``serial:///path/of/the/link``, ``zmq://127.0.0.1:0`` …)."""

    serial_number: str = ""
    address: str = ""


def fill(cls: type[T], device: str, config: Mapping[str, Any]) -> T:
    """The dataclass ``cls`` filled from ``config``; ValueError names what is wrong."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    defaults = cls()
    values: dict[str, Any] = {}
    for key, value in config.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            raise ValueError(f"{device}: unknown setting {key!r}{hint}")
        kind = type(getattr(defaults, key))
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ValueError(f"{device}: setting {key!r} must be {kind.__name__}, not {value!r}")
        values[key] = value
    return cls(**values)


def describe(cls: type[Any]) -> list[str]:
    """One line ``name = default`` per setting."""
    return [f"{f.name} = {getattr(cls(), f.name)!r}" for f in dataclasses.fields(cls)]
