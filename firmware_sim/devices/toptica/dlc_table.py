"""The parameter tree of a DLC pro: every name the vendor's client library 3.3.0 knows, with type.

``dlc_parameters.txt`` is made by ``make_parameter_table.py``. The meaning of values is in
:mod:`.dlc_model`; other names hold a value of their type, or are unavailable when they belong to a
part that this unit does not have.
"""

from __future__ import annotations

import functools
from importlib import resources

DEFAULTS: dict[str, bool | int | float | str | bytes] = {
    "b": False,
    "i": 0,
    "r": 0.0,
    "s": "",
    "x": b"",
}
NOT_FITTED = (
    *(f"laser{n}" for n in (2, 3, 4)),
    *(f"laser1:{part}" for part in ("amp", "dpss", "nlo", "uv", "pd-ext")),
    *(f"cc{n}" for n in (2, 3, 4)),
    *(f"{board}{n}" for board in ("falc", "servo-control", "mot", "pfd") for n in (1, 2, 3, 4)),
    *("ampcc1", "ampcc2", "pc2", "pc3", "tc2", "pdh1", "pdh2", "uv", "auto-nlo", "si"),
)
"""One laser head with grating motor (CTL) and nothing else."""


@functools.cache
def parameters() -> dict[str, tuple[str, bool]]:
    """name → (type letter, writable)."""
    found: dict[str, tuple[str, bool]] = {}
    for name, kind in _expand("DLCpro"):
        if kind.lower() in DEFAULTS:
            found[name] = (kind.lower(), kind.isupper())
    return found


@functools.cache
def commands() -> frozenset[str]:
    """Every command's name."""
    return frozenset(name for name, kind in _expand("DLCpro") if kind == "!")


@functools.cache
def _nodes() -> dict[str, list[tuple[str, str]]]:
    text = (
        resources.files("photonlink.firmware_sim.devices.toptica")
        .joinpath("dlc_parameters.txt")
        .read_text(encoding="ascii")
    )
    nodes: dict[str, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            entries = nodes[line.strip("[]")] = []
        else:
            name, _, kind = line.partition(" ")
            entries.append((name, kind))
    return nodes


def _expand(node: str, prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for name, kind in _nodes()[node]:
        if kind.startswith("@"):
            if kind[1:] in _nodes():
                found += _expand(kind[1:], f"{prefix}{name}:")
        else:
            found.append((prefix + name, kind))
    return found


def fitted(name: str) -> bool:
    """Whether this unit has the part that a parameter belongs to."""
    return not any(name == part or name.startswith(part + ":") for part in NOT_FITTED)
