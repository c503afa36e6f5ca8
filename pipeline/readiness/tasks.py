"""Calibration tasks of a station, and whether each is in date and in limits. Pure.

::

    [[task]]
    name = "thresholds"
    text = "discriminator levels by a threshold scan"
    valid_h = 168                              # for how long it holds once done
    after = ["powers"]                         # done again whenever one of these is
    require = ["pump.current_act_ma > 90"]     # what must hold now, as in [[interlock]] when

Two names are the program's own: ``calibration`` (the link's file: delays, efficiencies, jitter)
and ``alignment``. A node's bench always has them; a table of that name adds ``after`` and
``require`` to it.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, field_validator

from photonlink.hal.interlock import InterlockRule
from photonlink.hal.params import Value
from photonlink.hal.toml_file import TableModel

CALIBRATION, ALIGNMENT = "calibration", "alignment"
OWN = {
    CALIBRATION: "delays, efficiencies and jitter of the detectors",
    ALIGNMENT: "polarization of the link",
}
HOW = {
    CALIBRATION: "photonlink check --calibrate, at both ends",
    ALIGNMENT: "photonlink align, at both ends",
}
FUTURE_S = 60.0
"""A task done later than this from now says that a clock is wrong."""


class CalibrationTask(TableModel):
    """One task; see the module."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    text: str = ""
    valid_h: float = Field(default=24.0, gt=0, le=8784)
    after: tuple[str, ...] = ()
    require: tuple[str, ...] = ()

    @field_validator("require")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            InterlockRule(when=text)
        return value

    @property
    def rules(self) -> tuple[InterlockRule, ...]:
        return tuple(InterlockRule(when=text) for text in self.require)


@dataclass(frozen=True, slots=True)
class Done:
    """When and by whom a task was done; valid_until_s where the task itself says so."""

    at_s: float
    by: str = ""
    valid_until_s: float | None = None
    problem: str = ""
    """Why what was done does not count, whatever its date."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One task now. why: "" when it is in date and in limits."""

    name: str
    text: str
    why: str
    done_at_s: float | None
    left_s: float | None
    how: str

    @property
    def ok(self) -> bool:
        return not self.why


def problems(tasks: Sequence[CalibrationTask], own: Iterable[str]) -> list[str]:
    """Faults of the graph: duplicate names, unknown names, tasks that depend on each other in a
    circle.
    """
    names = [task.name for task in tasks]
    known = {*names, *own}
    found = [f"task {n!r} stands here twice" for n in dict.fromkeys(names) if names.count(n) > 1]
    for task in tasks:
        found += [
            f"task {task.name!r} comes after {each!r}, which is no task; "
            f"known: {', '.join(sorted(known))}"
            for each in task.after
            if each not in known
        ]
    try:
        graphlib.TopologicalSorter({t.name: t.after for t in tasks}).prepare()
    except graphlib.CycleError as error:
        found.append(f"tasks wait for each other: {' ← '.join(error.args[1])}")
    return found


def all_tasks(tasks: Sequence[CalibrationTask], own: Iterable[str]) -> list[CalibrationTask]:
    """The station's tasks and the program's own, each behind the tasks it depends on."""
    named = {task.name: task for task in tasks}
    for name in own:
        named.setdefault(name, CalibrationTask(name=name))
    order = graphlib.TopologicalSorter({n: t.after for n, t in named.items()}).static_order()
    return [named[name] for name in order]


def judge(
    tasks: Sequence[CalibrationTask],
    done: Mapping[str, Done],
    readings: Mapping[str, Value | None],
    now_s: float,
) -> list[Standing]:
    """The state of each task, in the order given (``all_tasks``).

    readings: ``instrument.parameter`` → its value; None or absent: it cannot be read.
    """
    found: dict[str, Standing] = {}
    for task in tasks:
        did = done.get(task.name)
        until = _until(task, did)
        found[task.name] = Standing(
            task.name,
            task.text or OWN.get(task.name, ""),
            _why(task, did, until, found, done, readings, now_s),
            None if did is None else did.at_s,
            None if until is None else until - now_s,
            HOW.get(task.name, f"photonlink ready STATION --done {task.name} --operator NAME"),
        )
    return list(found.values())


def _until(task: CalibrationTask, did: Done | None) -> float | None:
    if did is None:
        return None
    return did.at_s + 3600.0 * task.valid_h if did.valid_until_s is None else did.valid_until_s


def _why(
    task: CalibrationTask,
    did: Done | None,
    until: float | None,
    before: Mapping[str, Standing],
    done: Mapping[str, Done],
    readings: Mapping[str, Value | None],
    now_s: float,
) -> str:
    if did is None or until is None:
        return "never done"
    if did.problem:
        return did.problem
    if did.at_s > now_s + FUTURE_S:
        return "done in the future: is this host's clock right?"
    if now_s >= until:
        return f"out of date for {_span(now_s - until)}"
    for name in task.after:
        if not before[name].ok:
            return f"waits for {name}"
        if done[name].at_s > did.at_s:
            return f"{name} was done after it"
    for rule in task.rules:
        instrument, parameter, _, _ = rule.parts
        reading = readings.get(f"{instrument}.{parameter}")
        if reading is None:
            return f"{instrument}.{parameter} cannot be read"
        if not rule.holds(reading):
            return f"not in limits: {rule.when}, it reads {reading}"
    return ""


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def wanted_readings(tasks: Iterable[CalibrationTask]) -> dict[str, list[str]]:
    """Instrument → parameters that the tasks ask about."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        for rule in task.rules:
            instrument, parameter, _, _ = rule.parts
            if parameter not in found.setdefault(instrument, []):
                found[instrument].append(parameter)
    return found
