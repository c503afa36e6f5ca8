"""The station file: TOML, typed, unknown keys refused with line number and nearest known key."""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from photonlink.hal import interlock
from photonlink.hal.errors import LimitError, StationError
from photonlink.hal.interlock import InterlockRule
from photonlink.hal.links.address import Address
from photonlink.hal.ownership import device_key
from photonlink.hal.params import expand
from photonlink.hal.registry import load_driver
from photonlink.hal.regular_file import FileError
from photonlink.hal.toml_file import TableModel, in_words, parse_toml, read_toml_text

M = TypeVar("M", bound=BaseModel)
Path_ = tuple[str | int, ...]

EMULATOR_NAME = "sim:"
"""Begins an ``emulator`` entry that is a name, to be replaced by an address before opening."""


class StationModel(TableModel):
    """Base of every table of a station file."""

    model_config = ConfigDict(populate_by_name=True)


class Match(StationModel):
    """The device that must answer at the address. Another device is not used."""

    serial: str | None = None
    model: str | None = None


class InstrumentEntry(StationModel):
    """One instrument.

    backend: ``real`` never falls back; ``auto`` attaches to ``emulator`` when ``address`` is absent
    or silent, and says why; ``emulator`` uses ``emulator`` only.
    An ``emulator`` may also be a name, ``sim:NAME``: the loader of the station replaces it by the
    address of that emulator before the bench is opened. limits: parameter → [lowest, highest],
    narrowing the instrument's own. optional: the bench starts without it, reports it, and opens it
    when it appears.
    """

    driver: str
    backend: Literal["real", "auto", "emulator"] = "real"
    address: str | None = None
    emulator: str | None = None
    match: Match = Match()
    settings: dict[str, Any] = Field(default_factory=dict)
    limits: dict[str, tuple[float, float]] = Field(default_factory=dict)
    open_timeout_s: float = Field(default=8.0, gt=0, le=120)
    optional: bool = False

    @field_validator("address", "emulator")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(EMULATOR_NAME):
            Address.parse(value)
        return value

    @model_validator(mode="after")
    def _has_addresses(self) -> Self:
        if self.backend in ("real", "auto") and self.address is None:
            raise ValueError(f'backend = "{self.backend}" needs an address')
        if self.backend in ("auto", "emulator") and self.emulator is None:
            raise ValueError(f'backend = "{self.backend}" needs the address of an emulator')
        return self


class BenchStation(StationModel):
    """The instruments of one place. The node's station file adds its own tables to it."""

    schema_version: Literal[2] = Field(alias="schema")
    name: str
    instruments: dict[str, InstrumentEntry]
    interlock: tuple[InterlockRule, ...] = ()

    @model_validator(mode="after")
    def _one_device_once(self) -> Self:
        """Refuse two names for one device: one would switch off what the other has switched on."""
        seen: dict[str, str] = {}
        for name, entry in self.instruments.items():
            own = {
                a if a.startswith(EMULATOR_NAME) else device_key(a)
                for a in (entry.address, entry.emulator)
                if a is not None
            }
            for key in sorted(own):
                if key in seen:
                    raise ValueError(
                        f"{seen[key]} and {name} are one device ({key}): write it once, "
                        "or correct one address"
                    )
                seen[key] = name
        return self


def load_station(path: Path, model: type[M]) -> M:
    """Read and check a station file. StationError names file, line, key and nearest known key."""
    try:
        text = read_toml_text(path)
    except FileError as error:
        raise StationError(
            f"the station file cannot be read: {error.what}", where=error.where, hint=error.hint
        ) from error
    return parse_station(text, model, where=str(path))


def parse_station(text: str, model: type[M], *, where: str = "station") -> M:
    """As ``load_station``, from text."""
    text = text.removeprefix("\ufeff")
    try:
        data = parse_toml(text, where)
    except FileError as error:
        raise StationError(error.what, where=error.where, hint=error.hint) from error
    lines = key_lines(text)
    if data.get("schema") == 1:
        raise _old(data, lines, where)
    problems: list[tuple[int, str]] = []
    station: M | None = None
    try:
        station = model.model_validate(data)
    except ValidationError as error:
        problems += model_problems(error, model, (), lines, text)
    if isinstance(station, BenchStation):
        for name, entry in station.instruments.items():
            problems += _settings_problems(name, entry, lines, text)
        problems += [] if problems else _interlock_problems(station, lines, text)
    if problems or station is None:
        listing = [f"{where}:{line}: {what}" for line, what in sorted(set(problems))]
        raise StationError("the station file is wrong:\n  " + "\n  ".join(listing))
    return station


def _old(data: dict[str, Any], lines: dict[Path_, int], where: str) -> StationError:
    """The edits that a file of schema 1 needs, with their lines."""
    edits = [(lines.get(("schema",), 1), "write schema = 2")]
    instruments = data.get("instruments")
    for name, entry in instruments.items() if isinstance(instruments, dict) else ():
        settings = entry.get("settings") if isinstance(entry, dict) else None
        if not isinstance(settings, dict):
            continue
        place: Path_ = ("instruments", name, "settings")
        for key, edit in (
            ("channels", "move this to a table of its own: [channels], H = 1, V = 2, …"),
            ("detector", "delete this: which input is which state says [channels]"),
            ("call_timeout_s", "call it reply_timeout_s"),
            ("emission_timeout_s", "call it settle_s"),
            ("offsets_ps", "name inputs by number, not by letter"),
        ):
            if key in settings:
                line = lines.get((*place, key)) or lines.get(place) or 1
                edits.append((line, f"{name}: settings.{key}: {edit}"))
    listing = [f"{where}:{line}: {what}" for line, what in sorted(edits)]
    return StationError(
        "this station file is of schema 1; it needs these edits:\n  " + "\n  ".join(listing)
    )


def _interlock_problems(
    station: BenchStation, lines: dict[Path_, int], text: str
) -> list[tuple[int, str]]:
    kinds: dict[str, Any] = {n: load_driver(e.driver) for n, e in station.instruments.items()}
    tables = {name: expand(getattr(kind, "PARAMS", ())) for name, kind in kinds.items()}
    settings = {name: entry.settings for name, entry in station.instruments.items()}
    return [
        (line_of(("interlock", number, "when"), lines, text), f"interlock: {what}")
        for number, what in interlock.problems(station.interlock, tables, settings)
    ]


def _settings_problems(
    name: str, entry: InstrumentEntry, lines: dict[Path_, int], text: str
) -> list[tuple[int, str]]:
    place: Path_ = ("instruments", name)
    try:
        driver = load_driver(entry.driver)
    except StationError as error:
        return [(line_of((*place, "driver"), lines, text), str(error))]
    try:
        settings = driver.Settings.model_validate(entry.settings)
    except ValidationError as error:
        return model_problems(error, driver.Settings, (*place, "settings"), lines, text)
    problems = []
    for key, address in (("address", entry.address), ("emulator", entry.emulator)):
        if address is not None and not address.startswith(EMULATOR_NAME):
            try:  # making a driver does no I/O, but checks its address and its limits
                driver(name, address, settings, limits=entry.limits)
            except LimitError as error:
                problems.append((line_of((*place, "limits"), lines, text), str(error)))
            except StationError as error:
                problems.append((line_of((*place, key), lines, text), str(error)))
    return problems


def model_problems(
    error: ValidationError,
    model: type[BaseModel],
    place: Path_,
    lines: dict[Path_, int],
    text: str,
) -> list[tuple[int, str]]:
    """(line, what is wrong) for each mistake that the model found in a table at ``place``."""
    found = []
    for item in error.errors(include_url=False):
        loc = tuple(part for part in item["loc"] if part != "[key]")
        key = ".".join(str(part) for part in (*place, *loc)) or "the file"
        if item["type"] == "extra_forbidden":
            known = _known_keys(model, loc[:-1])
            near = difflib.get_close_matches(str(loc[-1]), known, 1, 0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
            what = f"unknown key '{key}'; {hint}"
        elif item["type"] == "missing":
            what = f"'{key}' is missing"
        else:
            what = f"'{key}' {in_words(item)}" if loc else in_words(item)
        found.append((line_of((*place, *loc), lines, text), what))
    return found


def _known_keys(model: type[BaseModel], loc: Path_) -> list[str]:
    """The keys allowed at ``loc``, following fields, dicts, lists and unions."""
    places: list[Any] = [model]
    for part in loc:
        places = [found for place in places for found in _step(place, part)]
    keys: set[str] = set()
    for place in places:
        if isinstance(place, type) and issubclass(place, BaseModel):
            keys |= {field.alias or name for name, field in place.model_fields.items()}
    return sorted(keys)


def _step(place: Any, part: str | int) -> Iterator[Any]:
    if isinstance(place, type) and issubclass(place, BaseModel):
        for name, field in place.model_fields.items():
            if part in (name, field.alias):
                yield from _alternatives(field.annotation)
    elif typing.get_origin(place) in (dict, list, tuple):
        for argument in typing.get_args(place)[-1:]:
            yield from _alternatives(argument)
    else:
        yield place  # the tag of a union in pydantic's path


def _alternatives(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for argument in typing.get_args(annotation):
            yield from _alternatives(argument)
    else:
        yield annotation


_HEADER = re.compile(r"^\s*(\[\[?[^\[\]]+\]\]?)\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[\w"'-]+)*)\s*=""")


def key_lines(text: str) -> dict[Path_, int]:
    """Line number of every table header and key at the start of a line (tomllib keeps none)."""
    lines: dict[Path_, int] = {}
    table: Path_ = ()
    for number, line in enumerate(text.splitlines(), 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = _dotted(header.group(1), "")
            if header.group(1).startswith("[["):
                index = 0
                while (*table, index) in lines:
                    index += 1
                table = (*table, index)
            lines.setdefault(table, number)
        elif key:
            path = (*table, *_dotted(key.group(1), " = 0"))
            for length in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:length], number)
    return lines


def _dotted(text: str, rest: str) -> Path_:
    """``a."b c".d`` → ("a", "b c", "d"), by asking tomllib itself."""
    try:
        value: Any = tomllib.loads(text + rest)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str | int] = []
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        path.append(name)
        if isinstance(value, list):
            break
    return tuple(path)


def line_of(path: Path_, lines: dict[Path_, int], text: str) -> int:
    """The line of a key: its own, or that of the nearest table around it."""
    for length in range(len(path), 0, -1):
        start = lines.get(path[:length])
        if start is None:
            continue
        if length < len(path):  # perhaps inside an inline table that begins there
            name = re.compile(rf"""[{{,\s]["']?{re.escape(str(path[-1]))}["']?\s*=""")
            for number, line in enumerate(text.splitlines()[start - 1 :], start):
                if number > start and (_HEADER.match(line) or _KEY.match(line)):
                    break
                if name.search(line):
                    return number
        return start
    return 1
