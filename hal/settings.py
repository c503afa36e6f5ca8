"""A driver's typed settings: common ones, its parameters' ones, and what it adds itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from photonlink.hal.params import Param


class DriverSettings(BaseModel):
    """Base of every driver's settings: unknown keys are refused, kinds are not mixed.

    reply_timeout_s: deadline of one question. settle_s: replaces the time that parameters are
    given to settle.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reply_timeout_s: float = Field(default=1.0, gt=0, le=60)
    settle_s: float | None = Field(default=None, gt=0, le=600)


def settings_of(
    base: type[DriverSettings], table: Iterable[Param], name: str
) -> type[DriverSettings]:
    """``base`` with a field for every parameter that is a setting."""
    fields: dict[str, Any] = {}
    for param in table:
        if not param.setting or param.setting in base.model_fields:
            continue
        kind: Any = param.kind
        if param.choices is not None:
            kind = Literal[tuple(param.choices)]
        bounds: dict[str, Any] = {"description": param.doc}
        if param.limits is not None:
            bounds |= {"ge": param.limits[0], "le": param.limits[1]}
        if param.numeric and param.choices is None:
            bounds["strict"] = True  # neither true nor "1" is a number
            bounds["allow_inf_nan"] = False if param.kind is float else None
            bounds = {k: v for k, v in bounds.items() if v is not None}
        if param.required:
            fields[param.setting] = (kind, Field(**bounds))
        else:
            fields[param.setting] = (kind | None, Field(default=None, **bounds))
    if not fields:
        return base
    return create_model(name, __base__=base, __doc__=base.__doc__, **fields)


def describe_settings(model: type[DriverSettings], table: Iterable[Param]) -> str:
    """The settings as Markdown: name, default, meaning."""
    units = {p.setting: p.unit for p in table if p.setting}
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    common = {
        "reply_timeout_s": "deadline of one question",
        "settle_s": "replaces the time that parameters are given to settle",
    }
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] in common):
        if field.is_required():
            default = "required"
        elif field.default is None:
            default = "leave as it is" if name in units else "none"
        else:
            value = field.get_default(call_default_factory=True, validated_data={})
            default = f"`{value!r}`" if value not in ({}, [], ()) else "none"
        text = common.get(name) or field.description or ""
        unit = f", {units[name]}" if units.get(name) else ""
        rows.append(f"| `{name}` | {default} | {text}{unit} |")
    return "\n".join(rows)
