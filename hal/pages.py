"""Writes from the registrations: the table of instruments, the reference part of their pages, the
udev rules.

``python -m photonlink.hal.pages ROOT`` writes them into a checkout; a test compares.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from photonlink.hal.params import Param, describe
from photonlink.hal.registry import Registration, load_driver, registry
from photonlink.hal.settings import describe_settings

BEGIN, END = "<!-- from the registration: begin -->", "<!-- from the registration: end -->"
RULES_BEGIN, RULES_END = "# from the registration: begin", "# from the registration: end"
LOSSES = {
    "counted": "the wire counts them, and they come as gaps with their number",
    "flagged": "the wire says that there were some, and they come as a gap without a number",
    "": "inside the instrument they leave no sign on the wire, so keep below its highest rate",
}
_ACCESS = 'MODE="0660", GROUP="photonlink", TAG+="uaccess"'
_BY_USB = {"visa", "lib"}  # opened as a USB device, not as a line
_LINE = f'{_ACCESS}, \\\n  ENV{{ID_MM_DEVICE_IGNORE}}="1", SYMLINK+="photonlink/$env{{ID_SERIAL}}"'


def proofs(root: Path) -> dict[str, list[str]]:
    """Emulator → clients of others that work with it, with their versions: from the tests' marks
    ``@pytest.mark.proves(model, by=client)`` and the extra ``peers``, by reading."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    pins = [
        re.match(r"([\w.-]+)(?:==([\w.]+))?", pin)
        for pin in project["project"]["optional-dependencies"]["peers"]
    ]
    versions = {pin[1]: f"{pin[1]} {pin[2] or ''}".strip() for pin in pins if pin}
    found: dict[str, set[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if ".proves(" in text else ():
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.proves"):
                continue
            by = ast.literal_eval(node.keywords[0].value)
            model = ast.literal_eval(node.args[0])
            found.setdefault(model, set()).add(versions.get(by, by))
    return {model: sorted(clients, key=str.lower) for model, clients in found.items()}


def instrument_table(
    drivers: Iterable[Registration], proved: Mapping[str, Iterable[str]] | None = None
) -> str:
    """Every instrument in one row, as Markdown. proved: as ``proofs`` finds it."""
    rows = [
        "| driver | instrument | can | wire | emulator | evidence | proved against |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| [`{d.id}`]({d.page_name}) | {d.title} | {', '.join(d.facets)} "
        f"| {', '.join(d.transports)} | `{d.emulator}` | `{d.evidence}` "
        f"| {', '.join((proved or {}).get(d.emulator, ())) or '–'} |"
        for d in drivers
    ]
    return "\n".join(rows)


def reference(entry: Registration) -> str:
    """The reference part of an instrument's page: what it is, its settings, its parameters."""
    kind: Any = load_driver(entry.id)
    table: tuple[Param, ...] = getattr(kind, "PARAMS", ())
    usb = ", ".join(f"`{usb}`" for usb in entry.usb) or "not known"
    facts = [
        f"**{entry.title}.** Driver `{entry.id}`, emulator `{entry.emulator}`, evidence "
        f"`{entry.evidence}`. Can: {', '.join(entry.facets)}. Wire: {', '.join(entry.transports)}. "
        f"USB: {usb}.",
        "## Settings\n\n" + describe_settings(kind.Settings, table),
    ]
    if "StreamsTags" in entry.facets:
        facts[0] += f" **Losses** of events: {LOSSES[str(entry.case.get('loss', ''))]}."
    if table:
        facts.append("## Parameters\n\n" + describe(table))
    return "\n\n".join(facts)


def udev_rules(drivers: Iterable[Registration]) -> tuple[str, str]:
    """(rules for USB devices, rules for serial lines), one per kind of device."""
    usb: dict[str, list[str]] = {}
    lines: dict[str, list[str]] = {}
    for entry in drivers:
        title = entry.title.partition(":")[0]
        for device in entry.usb:
            if "serial" in entry.transports:
                lines.setdefault(f"{_matches(device, serial=True)}, {_LINE}", []).append(title)
            if _BY_USB & set(entry.transports):  # a device may show both faces: PM100D
                usb.setdefault(f"{_matches(device, serial=False)}, {_ACCESS}", []).append(title)
    return tuple(  # type: ignore[return-value]
        "\n".join(f"# {', '.join(titles)}\n{rule}" for rule, titles in found.items())
        for found in (usb, lines)
    )


def _matches(device: str, *, serial: bool) -> str:
    if device.startswith("name:"):
        return f'ENV{{ID_SERIAL}}=="{device.removeprefix("name:")}"'
    numbers, *more = device.split(" ")
    key = "ATTRS" if serial else "ATTR"
    vendor, product = numbers.split(":")
    keys = {"idVendor": vendor, "idProduct": product}
    keys |= {k: v for k, _, v in (part.partition("=") for part in more)}
    return ", ".join(f'{key}{{{k}}}=="{v}"' for k, v in keys.items())


def between(text: str, begin: str, end: str, new: str, where: str) -> str:
    """``text`` with the part between two marks replaced. ValueError when a mark is missing."""
    head, found, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"{where}: the marks {begin!r} and {end!r} are missing")
    return f"{head}{begin}\n{new}\n{end}{tail}"


def files(root: Path, drivers: Mapping[str, Registration]) -> Iterator[tuple[Path, str]]:
    """Every file that is written from the registrations, with its content."""
    docs = root / "docs" / "instruments"
    readme = docs / "README.md"
    table = "\n" + instrument_table(drivers.values(), proofs(root)) + "\n"
    yield readme, between(readme.read_text(encoding="utf-8"), BEGIN, END, table, readme.name)
    for entry in drivers.values():
        page = docs / entry.page_name
        text = page.read_text(encoding="utf-8")
        yield page, between(text, BEGIN, END, f"\n{reference(entry)}\n", page.name)
    rules = root / "udev" / "70-photonlink.rules"
    text = rules.read_text(encoding="utf-8")
    for kind, new in zip(("USB", "serial"), udev_rules(drivers.values()), strict=True):
        text = between(text, f"{RULES_BEGIN} ({kind})", f"{RULES_END} ({kind})", new, rules.name)
    yield rules, text


def main() -> None:
    """Write them below the folder given."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for path, text in files(root, registry().drivers):
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
