"""Interlock rules of a station: a condition that holds for some time ends light and keeps it off.

::

    [[interlock]]
    when = "spd-h.temperature_act_c > -20"   # instrument.parameter, one of == != < <= > >=, a value
    for = 2.0                                # seconds for which it must hold; 0: at once
    then = "safe"                            # the whole bench; or "safe pump spd-h"
    latch = true                             # light stays refused until the bench is opened again

When a reading fails, the rule counts as if it held. Software is no interlock (``hal.safety``).
"""

from __future__ import annotations

import asyncio
import logging
import math
import operator
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator

from photonlink.hal.errors import InstrumentError, PhotonlinkError
from photonlink.hal.foreign import ours
from photonlink.hal.params import Param, Value
from photonlink.hal.toml_file import TableModel

_log = logging.getLogger(__name__)

LOOK_S = 0.5
READ_S = 3.0
_RULE = re.compile(r"\s*([\w-]+)\.(\w+)\s*(==|!=|<=|>=|<|>)\s*(\S.*?)\s*")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class InterlockTripped(InstrumentError):
    """A rule of the station keeps the light off."""


class InterlockRule(TableModel):
    """One rule; see the module."""

    when: str
    for_s: float = Field(default=0.0, alias="for", ge=0, le=3600)
    then: str = Field(default="safe", pattern=r"^safe( [\w-]+)*$")
    latch: bool = True

    @field_validator("when")
    @classmethod
    def _readable(cls, value: str) -> str:
        if _RULE.fullmatch(value) is None:
            raise ValueError(
                f"cannot be read: {value!r}; write instrument.parameter > value, with one of "
                + " ".join(_COMPARE)
            )
        return value

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """(instrument, parameter, comparison, value as written)."""
        found = _RULE.fullmatch(self.when)
        assert found is not None  # noqa: S101 - the validator has seen to it
        return found.group(1), found.group(2), found.group(3), found.group(4)

    @property
    def targets(self) -> tuple[str, ...]:
        """Instruments that are made safe; none named: all."""
        return tuple(self.then.split()[1:])

    def holds(self, reading: Value | None) -> bool:
        """Whether it holds for this reading; without one it does."""
        if reading is None or (isinstance(reading, float) and math.isnan(reading)):
            return True
        _, _, comparison, text = self.parts
        return _COMPARE[comparison](reading, _value(text, type(reading)))


def _value(text: str, kind: type) -> Value:
    """The value of a rule as a parameter of this kind has it. ValueError when it is none."""
    if kind is bool:
        try:
            return {"true": True, "false": False, "on": True, "off": False}[text.lower()]
        except KeyError:
            raise ValueError(f"{text!r} is not true or false") from None
    if kind in (int, float):
        return float(text)
    return text.strip("\"'")


def problems(
    rules: Sequence[InterlockRule], tables: Mapping[str, Sequence[Param]],
    settings: Mapping[str, Mapping[str, Any]],
) -> list[tuple[int, str]]:  # fmt: skip
    """(number of the rule, what is wrong): unknown names, and rules that contradict themselves,
    the station's settings, or each other, so that there could never be light, or never a trip."""
    found: list[tuple[int, str]] = []
    spans: dict[tuple[str, str], list[tuple[int, float, float]]] = {}
    for number, rule in enumerate(rules):
        name, key, comparison, text = rule.parts
        unknown = [target for target in (name, *rule.targets) if target not in tables]
        found += [(number, f"there is no instrument {target!r}") for target in unknown]
        param = next((p for p in tables.get(name, ()) if p.name == key), None)
        if name not in tables:
            continue
        wrong = _wrong(param, key, comparison, text)
        if wrong or param is None:
            found.append((number, wrong))
            continue
        asked = settings.get(name, {}).get(param.setting) if param.setting else None
        if asked is not None and rule.holds(asked):
            found.append(
                (number, f"the station itself sets {key} to {asked}: there could never be light")
            )
        if param.numeric and comparison not in ("==", "!="):
            low, high = _span(comparison, float(text))
            spans.setdefault((name, key), []).append((number, low, high))
            bottom, top = param.plausible or param.limits or (-math.inf, math.inf)
            if low > top or high < bottom:
                found.append((number, f"it can never hold: {key} lies in {bottom:g}…{top:g}"))
    return [*found, *_cover_everything(spans)]


def _wrong(param: Param | None, key: str, comparison: str, text: str) -> str:
    if param is None:
        return f"there is no parameter {key!r}"
    if not param.get:
        return f"{key} cannot be read"
    if comparison not in ("==", "!=") and not param.numeric:
        return f"{key} is no number: use == or !="
    try:
        value = _value(text, param.kind)
    except ValueError as error:
        return f"{key}: {error}"
    if param.numeric and not math.isfinite(float(value)):
        return f"{key}: {text} is not finite"
    return ""


def _span(comparison: str, value: float) -> tuple[float, float]:
    return (-math.inf, value) if comparison in ("<", "<=") else (value, math.inf)


def _cover_everything(
    spans: Mapping[tuple[str, str], Sequence[tuple[int, float, float]]],
) -> Iterable[tuple[int, str]]:
    """Rules of one parameter that leave no value at which light is allowed."""
    for (name, key), rows in spans.items():
        below = max((high for _, low, high in rows if low == -math.inf), default=-math.inf)
        above = min((low for _, low, high in rows if high == math.inf), default=math.inf)
        if below >= above:
            for number, _, _ in rows:
                yield (
                    number,
                    (f"the rules for {name}.{key} contradict each other: every value trips one"),
                )


@dataclass
class RuleState:
    """since: start of the time for which it has held (monotonic). It outlives a lease of light."""

    since: float | None = None
    tripped: bool = False


class Interlocks:
    """The rules of one open bench, with their states.

    read: one parameter now. safe: these instruments (none: all). tell: called with the rule and
    whether it tripped (True) or is free again (False).
    """

    def __init__(
        self,
        rules: dict[InterlockRule, RuleState],
        read: Callable[[str, str], Any],
        safe: Callable[[tuple[str, ...]], Any],
        tell: Callable[[InterlockRule, bool], None],
    ) -> None:
        self._rules = rules
        self._read, self._safe, self._tell = read, safe, tell

    async def check(self) -> None:
        """Before light: InterlockTripped when a rule holds now, is latched, or cannot be judged."""
        try:
            await self.look()
        except Exception as error:
            why = ours(error, "interlock", "look")
            raise InterlockTripped(f"the interlocks cannot be judged: {why.what}") from error
        for rule, state in self._rules.items():
            if state.tripped or state.since is not None:
                raise InterlockTripped(
                    f"an interlock keeps the light off: {rule.when}",
                    where=rule.parts[0],
                    hint="It stays until the bench is opened again" if rule.latch and state.tripped
                    else "It ends with its cause",
                )  # fmt: skip

    async def look(self) -> None:
        """Check every rule once, with all readings taken together. Exceptions of ``safe`` and
        ``tell`` pass.
        """
        readings = await asyncio.gather(*(self._reading(rule) for rule in self._rules))
        now = time.monotonic()
        for (rule, state), reading in zip(self._rules.items(), readings, strict=True):
            if not rule.holds(reading):
                state.since = None
                if state.tripped and not rule.latch:
                    state.tripped = False
                    self._tell(rule, False)
                continue
            state.since = now if state.since is None else state.since
            if not state.tripped and now - state.since >= rule.for_s:
                state.tripped = True
                try:
                    await self._safe(rule.targets)
                finally:
                    self._tell(rule, True)

    async def _reading(self, rule: InterlockRule) -> Value | None:
        name, key, _, _ = rule.parts
        try:
            async with asyncio.timeout(READ_S):
                value: Value | None = await self._read(name, key)
                return value
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None  # this task was not cancelled: the link was closed during the question
        except Exception as error:  # noqa: BLE001 - why it cannot be had makes no difference
            if not isinstance(error, PhotonlinkError | TimeoutError | KeyError):
                _log.exception("%s.%s cannot be read", name, key)
            return None
