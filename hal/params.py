"""Parameters of an instrument, declared once: what may be set, read, within which limits.

From a table of ``Param`` come validation (the instrument's limits and the station's, whichever
is narrower; refused, never clipped), read-back, the snapshot and the page in ``docs``.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from photonlink.hal.errors import InstrumentError, LimitError, ReadbackMismatch

Value = float | int | bool | str
Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. ``get`` and ``set`` are names in the instrument's own dialect.

    name:      our name, with its unit (``current_ma``).
    tolerance: how far a read-back may lie from what was set, in the parameter's unit.
    plausible: what a reading may be at all; outside it the reply is nonsense and refused.
    trips:     the instrument may change it by itself with good reason (an interlock): then a
               reading that differs from what was asked is no sign of a restart.
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
    trips: bool = False

    def agrees(self, wanted: Value, found: Value) -> bool:
        """Whether a read-back confirms what was set."""
        if self.kind in (float, int):
            return abs(float(found) - float(wanted)) <= self.tolerance
        return found == wanted

    def check(self, value: Value, *narrower: Limits | None, where: str = "") -> None:
        """LimitError unless ``value`` is of the right kind and inside all limits."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if self.kind in (float, int) and not (number and math.isfinite(value)):  # type: ignore[arg-type]
            raise LimitError(f"{self.name} must be a finite number", where=where, seen=repr(value))
        if self.kind in (bool, str) and not isinstance(value, self.kind):
            raise LimitError(
                f"{self.name} must be {self.kind.__name__}", where=where, seen=repr(value)
            )
        for limits in (self.limits, *narrower):
            if limits is not None and not limits[0] <= float(value) <= limits[1]:
                raise LimitError(
                    f"{self.name} = {value} {self.unit}".rstrip()
                    + f" is outside {limits[0]:g}…{limits[1]:g}",
                    where=where,
                    hint="Nothing was changed",
                )

    def parse(self, text: str, where: str = "") -> Value:
        """Read a plain-text reply; InstrumentError when it makes no sense."""
        try:
            value: Value
            if self.kind is bool:
                value = {"0": False, "1": True}[text.strip()]
            elif self.kind is int:
                value = int(text)
            elif self.kind is float:
                value = float(text)
            else:
                return text
        except (ValueError, KeyError):
            raise InstrumentError(
                f"{self.name}: unreadable reply", where=where, seen=text
            ) from None
        return self.sensible(value, where)

    def sensible(self, value: Value, where: str = "") -> Value:
        """The value, unless it is infinite, not a number, or not plausible."""
        if self.kind in (float, int):
            low, high = self.plausible or (-math.inf, math.inf)
            if not (math.isfinite(float(value)) and low <= float(value) <= high):
                raise InstrumentError(
                    f"{self.name}: a reading that cannot be", where=where, seen=str(value)
                )
        return value


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
    ) -> None:
        self.table = {param.name: param for param in table}
        self.wanted: dict[str, Value] = {}
        """What was last asked for and confirmed; forgotten when the instrument is opened."""
        self._read, self._write, self._where = read, write, where
        self._limits = dict(limits or {})
        unknown = sorted(set(self._limits) - set(self.table))
        if unknown:
            raise LimitError(
                f"limits name an unknown parameter {unknown[0]!r}",
                where=where,
                hint=f"Known: {', '.join(self.table)}",
            )

    async def get(self, name: str) -> Value:
        param = self.table[name]
        return param.sensible(await self._read(param), self._where)

    async def get_float(self, name: str) -> float:
        return float(await self.get(name))

    async def set(self, name: str, value: Value, *narrower: Limits | None) -> None:
        """Check, write, read back. LimitError, ReadbackMismatch."""
        param = self.table[name]
        param.check(value, self._limits.get(name), *narrower, where=self._where)
        self.wanted.pop(name, None)  # until it is confirmed, no reading contradicts it
        await self._write(param, value)
        if not param.get:
            return
        back = await self.get(name)
        if not param.agrees(value, back):
            raise ReadbackMismatch(
                f"{name} was set to {value} {param.unit}".rstrip() + f" but reads back {back}",
                where=self._where,
                hint="Is the instrument in local mode, interlocked or out of range?",
            )
        self.wanted[name] = value

    async def snapshot(self) -> dict[str, Value]:
        """All readable parameters. One that the instrument refuses is left out, not guessed."""
        values: dict[str, Value] = {}
        for param in self.table.values():
            if param.get:
                try:
                    values[param.name] = await self.get(param.name)
                except InstrumentError as error:
                    values[f"{param.name}_error"] = error.what
        return values

    def deviation(self, readings: Mapping[str, Value]) -> str:
        """The first setting that no longer is what was asked, in words; "" when all are."""
        for name, wanted in self.wanted.items():
            param, found = self.table[name], readings.get(name)
            if found is not None and not param.trips and not param.agrees(wanted, found):
                return f"{name} is {found} {param.unit}".rstrip() + f", asked for was {wanted}"
        return ""


def describe(table: Sequence[Param]) -> str:
    """The table as Markdown, for the instrument's page."""
    rows = ["| parameter | unit | access | limits | meaning |", "|---|---|---|---|---|"]
    for param in table:
        access = "/".join(word for word, name in (("read", param.get), ("set", param.set)) if name)
        limits = f"{param.limits[0]:g}…{param.limits[1]:g}" if param.limits else ""
        rows.append(f"| `{param.name}` | {param.unit} | {access} | {limits} | {param.doc} |")
    return "\n".join(rows)
