"""The target of a command: ``STATION``, ``STATION:instrument`` or ``DRIVER@ADDRESS``."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photonlink.hal.errors import StationError
from photonlink.hal.registry import load_driver, registration
from photonlink.hal.regular_file import FileError
from photonlink.hal.station import InstrumentEntry, load_station
from photonlink.hal.toml_file import parse_toml, read_toml_text
from photonlink.pipeline.node.simulated_station import (
    SimulatedStation,
    with_emulator_addresses,
    with_sim_paths,
)

_DIRECT = re.compile(r"([a-z0-9]+\.[a-z0-9_]+)@(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """The station, and the selected instrument ("" for all).

    path: of the station file; None when an address was given directly.
    """

    station: SimulatedStation
    instrument: str
    path: Path | None

    @property
    def entries(self) -> dict[str, InstrumentEntry]:
        """The selected instruments by name."""
        if not self.instrument:
            return dict(self.station.instruments)
        return {self.instrument: self.station.instruments[self.instrument]}

    def one(self) -> tuple[str, InstrumentEntry]:
        """The one selected instrument. StationError when the station has several."""
        if len(self.entries) != 1:
            raise StationError(
                f"which of {', '.join(self.entries)}?", where=str(self.path),
                hint=f"Write {self.path}:{next(iter(self.entries), 'NAME')}",
            )  # fmt: skip
        return next(iter(self.entries.items()))

    def only(self) -> SimulatedStation:
        """The station with the selected instruments only."""
        return self.station.model_copy(update={"instruments": self.entries})

    def tagger(self) -> tuple[str, InstrumentEntry]:
        """The one selected time tagger. StationError when there is none, or several."""
        found = {
            name: entry
            for name, entry in self.entries.items()
            if (known := registration(entry.driver)) and "StreamsTags" in known.facets
        }
        if len(found) != 1:
            what = f"which time tagger: {', '.join(found)}?" if found else "no time tagger here"
            raise StationError(what, where=str(self.path or self.instrument))
        return next(iter(found.items()))


def parse_target(text: str) -> Target:
    """Parse the argument, and read the station file it names. StationError names the fault."""
    direct = _DIRECT.fullmatch(text)
    if direct:
        name, address = direct.group(1).partition(".")[2], direct.group(2)
        return Target(_direct(name, direct.group(1), address), name, None)
    path, instrument = _split(text)
    station = with_emulator_addresses(load_any_station(path))
    if instrument and instrument not in station.instruments:
        near = difflib.get_close_matches(instrument, station.instruments, 1, 0.4)
        hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(station.instruments)}"
        raise StationError(f"there is no instrument {instrument!r}", where=str(path), hint=hint)
    return Target(station, instrument, path)


@contextlib.contextmanager
def with_sim(text: str, *, start: bool) -> Iterator[None]:
    """With ``start``, the emulators of the target's station run for the body."""
    if not start:
        yield
        return
    if _DIRECT.fullmatch(text):
        raise StationError("--sim needs a station file with [sim]", where=text)
    from photonlink.pipeline.node.emulators import emulators

    with emulators(load_any_station(_split(text)[0]), start=True):
        yield


def _split(text: str) -> tuple[Path, str]:
    if Path(text).exists():
        return Path(text), ""
    head, colon, name = text.rpartition(":")
    if colon and head and re.fullmatch(r"[\w. -]+", name) and len(head) > 1:
        return Path(head), name
    return Path(text), ""


def load_any_station(path: Path) -> SimulatedStation:
    """A node's station file, or one of a bench alone. StationError as ``hal.station``."""
    try:
        tables = parse_toml(read_toml_text(path), str(path))
    except FileError:
        tables = {}  # reported below, with the reason
    if "node" in tables or "peer" in tables:
        from photonlink.pipeline.node.station import load_node_station  # loads what makes key

        return load_node_station(path)
    return with_sim_paths(load_station(path, SimulatedStation), path.resolve().parent)


def direct_entry(driver: str, address: str) -> InstrumentEntry:
    """A station's entry for one address; settings that the driver requires are its example's."""
    kind, known = load_driver(driver), registration(driver)
    example = known.settings if known is not None else {}
    required = {k for k, field in kind.Settings.model_fields.items() if field.is_required()}
    settings: dict[str, Any] = {k: v for k, v in example.items() if k in required}
    return InstrumentEntry(driver=driver, address=address, settings=settings)


def _direct(name: str, driver: str, address: str) -> SimulatedStation:
    """A station of one instrument, given by its address, of which nothing is configured."""
    entry = direct_entry(driver, address)
    return SimulatedStation(schema=2, name=name, instruments={name: entry})
