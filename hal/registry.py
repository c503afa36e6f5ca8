"""Finds the drivers: each declares itself in its own module; there is no central list.

A driver's module ``drivers/<vendor>/<model>.py`` holds one declaration of literals::

    INSTRUMENT = Registration(id="acme.one", title="Acme One: laser", driver="One", …)

It is read from the source text: listing imports no driver, and a broken module is a named problem
and does not affect the others. Other packages join through the entry point group
``photonlink.drivers``: name = the driver's id, value = its module. Loading imports one module.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from photonlink.hal.driver import Driver
from photonlink.hal.errors import StationError
from photonlink.hal.facets import Instrument, facets_of
from photonlink.hal.links.address import SCHEMES
from photonlink.hal.links.base import Tap
from photonlink.hal.params import Limits
from photonlink.hal.settings import DriverSettings

GROUP = "photonlink.drivers"
_OWN = "photonlink.drivers"  # found by name, like any entry point: hal imports no driver
_NAME = "INSTRUMENT"
EVIDENCE = ("manual", "transcript", "hardware")
_ID = re.compile(r"[a-z0-9]+\.[a-z0-9_]+")
_USB = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}( \w+=[^ ]+)*|name:\S+")


@dataclass(frozen=True, slots=True)
class Registration:
    """A driver's declaration. Literals only: it is read without importing the module.

    id:         ``vendor.model``, as a station file writes it. title: one line for people.
    driver:     the class in the module. facets: names of the facets it implements.
    transports: schemes of addresses, the usual one first.
    usb:        ``vvvv:pppp``, with ``key=value`` attributes where the numbers are shared
                (``0403:faf0 product=APT*``), or ``name:GLOB`` for the by-id name of a serial line.
    network:    how it is found by a datagram: (UDP port, what is asked, regular expression of the
                reply with a group ``serial``, the address with ``{host}``); () if it is not.
    evidence:   what it was proved against: ``manual``, ``transcript``, ``hardware``.
    emulator:   the emulator's model name. emulator_wire: its scheme, "" for the first transport.
    settings:   an example: what the contract suite and the page use.
    case:       for the contract suite: what its emulator needs and what must be found there; of a
                tagger, how its wire tells of losses (``"loss"``: ``counted``, ``flagged``) and the
                settings it needs beside ``settings`` to hear all its inputs (``"streaming"``),
                which are four unless it has fewer (``"inputs"``).
    page:       the page in ``docs/instruments``, "" for the model's name.
    module:     filled in by the registry.
    """

    id: str
    title: str
    driver: str
    facets: tuple[str, ...]
    transports: tuple[str, ...]
    evidence: str
    emulator: str
    usb: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    emulator_wire: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    case: Mapping[str, Any] = field(default_factory=dict)
    page: str = ""
    module: str = ""

    @property
    def wire(self) -> str:
        return self.emulator_wire or self.transports[0]

    @property
    def page_name(self) -> str:
        return self.page or f"{self.id.partition('.')[2]}.md"

    def problems(self) -> list[str]:
        """The faults of the declaration, each in words."""
        wrong = []
        if not _ID.fullmatch(self.id):
            wrong.append(f"id {self.id!r} is not vendor.model in small letters")
        if self.network and not (len(self.network) == 4 and self.network[0].isdigit()):
            wrong.append("network is not (port, question, reply, address)")
        if not self.facets:
            wrong.append("no facets: what can it do?")
        wrong += [f"unknown transport {t!r}" for t in self.transports if t not in SCHEMES]
        if not self.transports:
            wrong.append("no transports")
        if self.evidence not in EVIDENCE:
            wrong.append(f"evidence {self.evidence!r} is none of {', '.join(EVIDENCE)}")
        if not self.emulator:
            wrong.append("no emulator")
        wrong += [f"unreadable usb entry {usb!r}" for usb in self.usb if not _USB.fullmatch(usb)]
        return wrong


@dataclass(frozen=True, slots=True)
class Problem:
    """A driver that cannot be used, and why. The others can."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class DriverClass(Protocol):
    """The interface of a driver class beside the contract of its instrument."""

    Settings: type[DriverSettings]

    def __call__(
        self,
        name: str,
        address: str,
        settings: Any,
        *,
        limits: Mapping[str, Limits] | None = None,
        tap: Tap | None = None,
    ) -> Instrument: ...


@dataclass(frozen=True)
class Registry:
    """All drivers by id, and what is wrong with those that are not among them."""

    drivers: Mapping[str, Registration]
    problems: tuple[Problem, ...]


def registry(emulators: frozenset[str] | None = None) -> Registry:
    """Walk our own drivers, then those of other packages. Of several with one id the first is used.

    emulators: model names of the emulators that exist, when the caller knows them; a driver whose
    emulator is missing is then a problem too.
    """
    drivers: dict[str, Registration] = {}
    problems: list[Problem] = []
    for module, source in (*_own_modules(), *_other_modules()):
        if isinstance(source, Exception):
            problems.append(Problem(module, f"cannot be read: {source}"))
            continue
        try:
            found = declaration(source, module)
        except ValueError as error:
            problems.append(Problem(module, str(error)))
            continue
        if found is None:
            continue
        wrong = found.problems()
        if found.id in drivers:
            wrong.append(f"id {found.id!r} is already that of {drivers[found.id].module}")
        if emulators is not None and found.emulator not in emulators:
            wrong.append(f"its emulator {found.emulator!r} does not exist")
        problems += [Problem(module, what) for what in wrong]
        if not wrong:
            drivers[found.id] = found
    return Registry(dict(sorted(drivers.items())), tuple(problems))


@functools.cache
def _own_modules() -> tuple[tuple[str, str | Exception], ...]:
    package = importlib.import_module(_OWN)
    return tuple(modules_of(_OWN, package.__path__))


def modules_of(name: str, path: Any) -> Iterator[tuple[str, str | Exception]]:
    """(module, source) of ``<vendor>/<model>.py`` below a package, importing nothing."""
    for vendor in pkgutil.iter_modules(path):
        if not vendor.ispkg:
            continue
        inner = [f"{entry}/{vendor.name}" for entry in path]
        for model in pkgutil.iter_modules(inner):
            full = f"{name}.{vendor.name}.{model.name}"
            spec = model.module_finder.find_spec(full, None)
            yield full, _source(spec, full)


def _other_modules() -> Iterator[tuple[str, str | Exception]]:
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            spec = importlib.util.find_spec(point.value)
        except Exception as error:  # noqa: BLE001 - finding it imports the foreign parent package
            yield point.value, error
        else:
            yield point.value, _source(spec, point.value)


def _source(spec: Any, module: str) -> str | Exception:
    if spec is None or spec.loader is None:
        return ImportError("no such module")
    try:
        return cast(str, spec.loader.get_source(module) or "")
    except (ImportError, OSError, SyntaxError, UnicodeError) as error:
        return error


@functools.lru_cache(maxsize=1024)
def declaration(source: str, module: str) -> Registration | None:
    """The registration in a module's source, None when there is none. ValueError: it is broken."""
    if _NAME not in source:
        return None
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == _NAME for t in targets):
            assert isinstance(node, ast.Assign)  # noqa: S101 - for the type checker
            return _build(node.value, module)
    return None


def _build(node: ast.expr, module: str) -> Registration:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError(f"line {node.lineno}: write {_NAME} = Registration(key=value, …)")
    known = {f.name for f in fields(Registration)} - {"module"}
    values: dict[str, Any] = {}
    for keyword in node.keywords:
        name = keyword.arg or "**"
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"line {keyword.value.lineno}: unknown key {name!r}{hint}")
        try:
            values[name] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError):
            raise ValueError(f"line {keyword.value.lineno}: {name} is no literal") from None
    try:
        return Registration(**values, module=module)
    except TypeError as error:
        raise ValueError(
            f"line {node.lineno}: {error}".replace("Registration.__init__() ", "")
        ) from None


def registration(name: str) -> Registration | None:
    """One driver's registration; None when there is none. Other packages are looked at last."""
    for module, source in _own_modules():
        with contextlib.suppress(ValueError):
            found = declaration(source, module) if isinstance(source, str) else None
            if found is not None and found.id == name and not found.problems():
                return found
    return registry().drivers.get(name)


def load_driver(name: str) -> DriverClass:
    """Import a driver's class. StationError names what is wrong, or the nearest known driver."""
    entry = registration(name)
    if entry is None:
        found = registry()
        own = [p for p in found.problems if p.where.endswith(f".{name}") or f"{name!r}" in p.what]
        near = difflib.get_close_matches(name, found.drivers, 1, 0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(found.drivers)}"
        raise StationError(f"no driver is called {name!r}", hint=str(own[0]) if own else hint)
    try:
        return cast(DriverClass, getattr(importlib.import_module(entry.module), entry.driver))
    except Exception as error:  # a driver's module may be foreign code and raise anything
        raise StationError(
            f"driver {name!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def check_driver(entry: Registration) -> list[str]:
    """What is wrong with a driver once it is imported: facets, class, safe state. [] when nothing.

    ``registry`` finds what the declaration alone shows; this needs the module.
    """
    try:
        kind: Any = load_driver(entry.id)
    except StationError as error:
        return [error.what]
    if not (inspect.isclass(kind) and issubclass(kind, Instrument)):
        return [f"{entry.driver} is no Instrument"]
    wrong = []
    if inspect.isabstract(kind):
        wrong.append(f"does not implement {', '.join(sorted(kind.__abstractmethods__))}")
    found = {facet.__name__: facet for facet in facets_of(kind)}
    wrong += [f"declares {n}, which the class is not" for n in entry.facets if n not in found]
    wrong += [f"is {n}, which it does not declare" for n in found if n not in entry.facets]
    off = getattr(kind, "OFF", ())
    if not off and kind.safe_state in (Instrument.safe_state, Driver.safe_state):
        needy = sorted(n for n, facet in found.items() if facet.needs_off)
        wrong += [f"is {n} but says nowhere how it is switched off (OFF)" for n in needy]
    if off and issubclass(kind, Driver) and kind.make_codec is not Driver.make_codec:
        own = kind.emergency_off is not Driver.emergency_off
        wrong += [] if own else ["has OFF and its own link, but no emergency_off of its own"]
    return wrong
