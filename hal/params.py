"""Parameters of an instrument, declared once: what may be set, read, within which limits.

From a table of :class:`Param` come validation (the instrument's limits and the station's, whichever
is narrower; refused, never clipped), read-back, the driver's typed settings, the snapshot, the
command line, the MQTT topics and the page in ``docs``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from photonlink.hal import machine
from photonlink.hal.errors import InstrumentError, LimitError, ReadbackMismatch

Value = float | int | bool | str
Limits = tuple[float, float]
Poll = Literal["fast", "slow", "once"]

SLOW_S = 10.0
_STEP_S = 0.05
UNITS = {
    "A": "_a", "mA": "_ma", "V": "_v", "mV": "_mv", "W": "_w", "dB": "_db", "dBm": "_dbm",
    "°C": "_c", "Hz": "_hz", "s": "_s", "ms": "_ms", "ns": "_ns", "ps": "_ps", "m": "_m",
    "nm": "_nm", "deg": "_deg", "deg/s": "_deg_per_s", "%": "_percent", "mm": "_mm", "K": "_k",
}  # fmt: skip
"""The ending that a parameter's name has for each unit."""


def _plain(number: float) -> float:
    """Without the last binary digits that a scale leaves (1550.0 nm, not 1549.9999999999998)."""
    return float(f"{number:.14g}")


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. ``get`` and ``set`` are names in the instrument's own dialect.

    name:      our name, ending in its unit (``current_ma``).
    choices:   our word → the instrument's, for a parameter that takes one of a few.
    scale:     what the wire carries per one of our unit (1000 when the wire says mA for our A).
    channels:  one parameter per channel: ``{ch}`` in name, doc, get and set is replaced.
    tolerance: how far a read-back may lie from what was set, in the parameter's unit.
    at_least:  the instrument may take more than it was asked for (the next range).
    settle_s:  how long the read-back may take to agree.
    plausible: the possible range of a reading; a reply outside it is refused.
    poll:      read in every snapshot, at most every 10 s, or once after opening.
    setting:   its name in the station file's ``settings``; ``deferred``: the driver applies it
               itself when it is asked to (a bias), not ``configure``.
    required:  the setting has no default.
    family:    why a unit may refuse what lies within ``limits``: they are those of all models.
    ours:      why ``limits`` are narrower than what the instrument takes.
    only:      the values that can be set, for what can only be ended (a motion, a pattern).
    trips:     the instrument may change it by itself with good reason (an interlock): then a
               reading that differs from what was asked is no sign of a restart.
    of_clicks: the reading tells what a detector clicked. Whoever asks gets it; a node, which makes
               key of these clicks, tells nobody.
    stops:     value → sentence, for a reading that stops light or measurement: while it holds,
               it is a condition (an alarm) under the parameter's name.
    """

    name: str
    kind: type[float] | type[int] | type[bool] | type[str]
    doc: str
    get: str = ""
    set: str = ""
    unit: str = ""
    limits: Limits | None = None
    plausible: Limits | None = None
    tolerance: float = 0.0
    at_least: bool = False
    trips: bool = False
    choices: Mapping[Value, str] | None = None
    scale: float = 1.0
    channels: tuple[int | str, ...] = ()
    settle_s: float = 0.0
    poll: Poll = "fast"
    setting: str = ""
    deferred: bool = False
    required: bool = False
    family: str = ""
    ours: str = ""
    only: tuple[Value, ...] = ()
    of_clicks: bool = False
    stops: Mapping[Value, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """ValueError for an impossible declaration: it is found when the driver is loaded."""
        wrong = ""
        if not (self.get or self.set):
            wrong = "can be neither read nor set"
        elif self.unit and not self.name.endswith(UNITS.get(self.unit, "?")):
            wrong = f"must end in the ending of its unit {self.unit!r} (hal.params.UNITS)"
        elif self.channels and "{ch}" not in self.name:
            wrong = "has channels but no {ch} in its name"
        elif any(x is not None and not x[0] <= x[1] for x in (self.limits, self.plausible)):
            wrong = "has limits the wrong way round"
        elif self.scale != 1.0 and self.kind is not float:
            wrong = "has a scale but is no float"
        elif self.setting and not self.set:
            wrong = "is a setting but cannot be set"
        elif self.limits is None and (self.family or self.ours):
            wrong = "says whose limits it has, and has none"
        elif not self.doc:
            wrong = "has no meaning (doc)"
        if wrong:
            raise ValueError(f"parameter {self.name!r} {wrong}")

    @property
    def numeric(self) -> bool:
        return self.kind in (float, int)

    def agrees(self, wanted: Value, found: Value) -> bool:
        """Whether a read-back confirms what was set."""
        if self.at_least:
            return float(found) >= float(wanted)
        if self.numeric:
            return abs(float(found) - float(wanted)) <= self.tolerance
        return found == wanted

    def check(self, value: Value, *narrower: Limits | None, where: str = "") -> None:
        """LimitError unless ``value`` is of the right kind and inside all limits."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if self.numeric and not (number and math.isfinite(float(value))):
            raise LimitError(f"{self.name} must be a finite number", where=where, seen=repr(value))
        if not self.numeric and not isinstance(value, self.kind):
            raise LimitError(
                f"{self.name} must be {self.kind.__name__}", where=where, seen=repr(value)
            )
        if self.choices is not None and value not in self.choices:
            known = ", ".join(str(word) for word in self.choices)
            raise LimitError(f"{self.name} must be one of {known}", where=where, seen=repr(value))
        if self.only and value not in self.only:
            words = ", ".join(str(word).lower() for word in self.only)
            raise LimitError(
                f"{self.name} can only be set to {words}", where=where, hint=f"It says: {self.doc}"
            )
        for limits in (self.limits, *narrower):
            if limits is not None and not limits[0] <= float(value) <= limits[1]:
                raise LimitError(
                    f"{self.name} = {value} {self.unit}".rstrip()
                    + f" is outside {limits[0]:g}…{limits[1]:g}",
                    where=where,
                    hint="Nothing was changed",
                )

    def whole(self, value: float, *narrower: Limits | None, where: str = "") -> int:
        """``value`` rounded to a whole number inside all limits; LimitError."""
        number = round(value) if math.isfinite(value) else value  # the check names what is not
        self.check(number, *narrower, where=where)
        return int(number)

    def wire(self, value: Value) -> Value:
        """The value as the instrument takes it: its word for a choice, its unit."""
        if self.choices is not None:
            return self.choices[value]
        return _plain(float(value) * self.scale) if self.kind is float else value

    def text(self, value: Value) -> str:
        """``wire`` as plain text: all digits, 1 and 0 for a switch."""
        wired = self.wire(value)
        return str(int(wired)) if isinstance(wired, bool) else str(wired)

    def parse(self, text: str, where: str = "") -> Value:
        """Read a plain-text reply; InstrumentError when it makes no sense."""
        text = text.strip()
        try:
            value: Value
            if self.choices is not None:
                value = {word: ours for ours, word in self.choices.items()}[text]
            elif self.kind is bool:
                value = {"0": False, "1": True}[text]
            elif self.kind is int:
                value = int(text)
            elif self.kind is float:
                value = _plain(float(text) / self.scale)
            else:
                return text
        except (ValueError, KeyError):
            raise InstrumentError(
                f"{self.name}: unreadable reply", where=where, seen=text
            ) from None
        return self.sensible(value, where)

    def sensible(self, value: Value, where: str = "") -> Value:
        """The value, unless it is infinite, not a number, or not plausible."""
        if self.numeric:
            low, high = self.plausible or (-math.inf, math.inf)
            if not (math.isfinite(float(value)) and low <= float(value) <= high):
                raise InstrumentError(
                    f"{self.name}: a reading that cannot be", where=where, seen=str(value)
                )
        return value

    def per_channel(self) -> tuple[Param, ...]:
        """Itself, or one parameter for each of its channels."""
        if not self.channels:
            return (self,)
        fields = ("name", "doc", "get", "set", "setting")
        return tuple(
            replace(
                self,
                channels=(),
                **{f: str(getattr(self, f)).replace("{ch}", str(ch)) for f in fields},  # type: ignore[arg-type]
            )
            for ch in self.channels
        )


def expand(table: Iterable[Param]) -> tuple[Param, ...]:
    """The table with one row per channel. ValueError when a name occurs twice."""
    rows = tuple(row for param in table for row in param.per_channel())
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"parameter {twice[0]!r} is declared twice")
    return rows


Read = Callable[[Param], Awaitable[Value]]
Write = Callable[[Param, Value], Awaitable[None]]


class Parameters:
    """A driver's table of parameters, bound to how it reads and writes one."""

    def __init__(
        self,
        table: Sequence[Param],
        read: Read,
        write: Write,
        *,
        where: str,
        limits: Mapping[str, Limits] | None = None,
        settle_s: float | None = None,
    ) -> None:
        self.table = {param.name: param for param in expand(table)}
        self.wanted: dict[str, Value] = {}
        """What was last asked for and confirmed; forgotten when the instrument is opened."""
        self._read, self._write, self._where = read, write, where
        self._settle_s = settle_s
        self._kept: dict[str, tuple[float, Value]] = {}
        self.limits = dict(limits or {})
        unknown = sorted(set(self.limits) - {p.name for p in self.table.values() if p.set})
        if unknown:
            known = ", ".join(p.name for p in self.table.values() if p.set and p.numeric)
            raise LimitError(
                f"limits name an unknown parameter {unknown[0]!r}",
                where=where,
                hint=f"Known: {known}" if known else "Nothing of this instrument can be limited",
            )

    def __getitem__(self, name: str) -> Param:
        try:
            return self.table[name]
        except KeyError:
            raise LimitError(
                f"there is no parameter {name!r}",
                where=self._where,
                hint=f"Known: {', '.join(self.table)}",
            ) from None

    def forget(self) -> None:
        """The instrument was opened again: drop all known values."""
        self.wanted.clear()
        self._kept.clear()

    async def get(self, name: str) -> Value:
        param = self[name]
        return param.sensible(await self._read(param), self._where)

    async def get_float(self, name: str) -> float:
        return float(await self.get(name))

    async def set(self, name: str, value: Value, *narrower: Limits | None, hint: str = "") -> None:
        """Check, write, read back. LimitError, ReadbackMismatch."""
        param = self[name]
        param.check(value, self.limits.get(name), *narrower, where=self._where)
        self.wanted.pop(name, None)  # until it is confirmed, no reading contradicts it
        self._kept.pop(name, None)
        await self._write(param, value)
        if param.get:
            await self.becomes(name, value, hint=hint)
            self.wanted[name] = value

    async def becomes(self, name: str, value: Value, *, hint: str = "") -> None:
        """Wait until the reading agrees, at most the parameter's settling time."""
        param, loop = self[name], asyncio.get_running_loop()
        settle_s = param.settle_s
        if settle_s and self._settle_s is not None:
            settle_s = self._settle_s
        deadline = loop.time() + settle_s
        while not param.agrees(value, back := await self.get(name)):
            if loop.time() >= deadline:
                was = "was set to" if param.set else "should become"
                raise ReadbackMismatch(
                    f"{name} {was} {value} {param.unit}".rstrip() + f" but reads back {back}",
                    where=self._where,
                    hint=hint or "Is the instrument in local mode, interlocked or out of range?",
                )
            await asyncio.sleep(_STEP_S)

    async def snapshot(self) -> dict[str, Value]:
        """All readable parameters. Parameters that the instrument refuses are left out."""
        values: dict[str, Value] = {}
        for param in self.table.values():
            if param.get:
                try:
                    values[param.name] = await self._fresh_enough(param)
                except InstrumentError as error:
                    values[f"{param.name}_error"] = error.what
        return values

    async def _fresh_enough(self, param: Param) -> Value:
        keep_s = {"fast": 0.0, "slow": SLOW_S, "once": math.inf}[param.poll]
        read_at, value = self._kept.get(param.name, (-math.inf, False))
        if machine.monotonic_s() - read_at < keep_s:
            return value
        value = await self.get(param.name)
        if keep_s:
            self._kept[param.name] = machine.monotonic_s(), value
        return value

    def deviation(self, readings: Mapping[str, Value]) -> str:
        """The first setting that differs from the request, in words; "" when all agree."""
        for name, wanted in self.wanted.items():
            param, found = self.table[name], readings.get(name)
            if found is not None and not param.trips and not param.agrees(wanted, found):
                return f"{name} is {found} {param.unit}".rstrip() + f", asked for was {wanted}"
        return ""

    def conditions(self, readings: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
        """(parameter, sentence) of the readings that stop light or measurement."""
        return tuple(
            (param.name, param.stops[readings[param.name]])
            for param in self.table.values()
            if readings.get(param.name) in param.stops
        )


def describe(table: Iterable[Param]) -> str:
    """The table as Markdown, for the instrument's page."""
    rows = [
        "| parameter | unit | access | limits | setting | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for param in table:
        access = "/".join(word for word, name in (("read", param.get), ("set", param.set)) if name)
        limits = f"{param.limits[0]:g}…{param.limits[1]:g}" if param.limits else ""
        if param.choices is not None:
            limits = ", ".join(f"`{word}`" for word in param.choices)
        name = param.name
        if param.channels:
            name = name.replace("{ch}", f"{param.channels[0]}…{param.channels[-1]}")
        setting = f"`{param.setting}`" if param.setting else ""
        limits += "".join(f" ({why})" for why in (param.family, param.ours) if why)
        rows.append(f"| `{name}` | {param.unit} | {access} | {limits} | {setting} | {param.doc} |")
    return "\n".join(rows)
