"""Prototypes of a vendor library, read from its table; the stand-in's C is generated from them.

``python prototypes.py TABLE.toml OUT.c`` (the build does it; standard library only) writes the
stand-in: every function of the table is an exported symbol that carries its arguments over a Unix
socket to the emulator program. The emulator reads the same table (``kit/library.py``), so numbers
and layouts cannot differ.

On the socket, little-endian: request ``u32 function, u32 size`` and the in-arguments in order
(numbers as they are, texts and arrays with a u32 size in bytes before them); reply ``i32 code,
u32 size`` and each out-argument with its u32 size in bytes before it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

TYPES = {  # C type, struct letter, bytes
    "int": ("int", "i", 4),
    "uint": ("unsigned int", "I", 4),
    "short": ("short", "h", 2),
    "int64": ("long long", "q", 8),
    "uint64": ("unsigned long long", "Q", 8),
    "double": ("double", "d", 8),
    "float": ("float", "f", 4),
    "byte": ("unsigned char", "B", 1),
    "text": ("char", "s", 1),
    "handle": ("void *", "Q", 8),
}
_ARGUMENT = re.compile(r"(in|out|inout)\s+(\w+)(?:\[(\d+)\])?\s+(\w+)\Z")


@dataclass(frozen=True, slots=True)
class Argument:
    """direction: in, out or inout.  length: elements of an array or text; 0: one value."""

    direction: str
    type: str
    length: int
    name: str

    @property
    def pointer(self) -> bool:
        return self.direction != "in" or self.length > 0 or self.type == "text"

    @property
    def room(self) -> int:
        """Bytes that the caller's memory holds."""
        return max(self.length, 1) * TYPES[self.type][2]

    def c(self) -> str:
        """As it stands in the prototype."""
        constant = "const " if self.direction == "in" and self.pointer else ""
        return f"{constant}{TYPES[self.type][0]} {'*' if self.pointer else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Function:
    """number: on the socket.  modes: in which it is allowed (the emulator's business)."""

    number: int
    name: str
    modes: tuple[str, ...]
    arguments: tuple[Argument, ...]

    def c(self) -> str:
        return f"int {self.name}({', '.join(a.c() for a in self.arguments) or 'void'})"


@dataclass(frozen=True, slots=True)
class Library:
    """A whole table. codes: what the stand-in itself answers (argument, open_fail, busy, not_open,
    failed).  connect, disconnect: functions that open and close the cable; without them it opens
    by itself at the first call."""

    name: str
    functions: dict[str, Function]
    errors: dict[int, str]
    codes: dict[str, int]
    version: str
    version_function: str
    error_function: str
    connect: str
    disconnect: str
    index: str
    devices: int

    @property
    def file_name(self) -> str:
        return f"lib{self.name}.so"

    @property
    def socket_name(self) -> str:
        return f"{self.name}.sock"


def load(path: Path) -> Library:
    """Read a table. ValueError names the function whose prototype cannot be read."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    functions = {}
    for number, (name, text) in enumerate(table["functions"].items(), 1):
        modes, _, arguments = text.partition(":")
        parts = [a.strip() for a in arguments.split(",") if a.strip()]
        functions[name] = Function(
            number, name, tuple(modes.split()), tuple(_argument(name, p) for p in parts)
        )
    return Library(
        name=path.stem,
        functions=functions,
        errors={int(code): text for code, text in table.get("errors", {}).items()},
        codes=table["codes"],
        version=table.get("version", ""),
        version_function=table.get("version_function", ""),
        error_function=table.get("error_function", ""),
        connect=table.get("connect", ""),
        disconnect=table.get("disconnect", ""),
        index=table.get("index", ""),
        devices=table.get("devices", 1),
    )


def _argument(function: str, text: str) -> Argument:
    found = _ARGUMENT.match(text)
    if found is None or found[2] not in TYPES:
        raise ValueError(f"{function}: cannot read the argument {text!r}")
    return Argument(found[1], found[2], int(found[3] or 0), found[4])


def c_source(library: Library) -> str:
    """The stand-in, C11."""
    codes = "".join(f"#define E_{n.upper()} ({v})\n" for n, v in library.codes.items())
    parts = [
        "/* Generated from the table of prototypes: see prototypes.py. */\n",
        f'#define SOCKET_NAME "{library.socket_name}"\n{codes}',
        f"#define AUTO_CONNECT {int(not library.connect)}\n",
        f"#define DEVICES {library.devices}\n",
        '#include "cable.h"\n',
        "int SIM_IsEmulator(void);\nint SIM_IsEmulator(void) { return 1; }\n",
    ]
    if library.version_function:
        parts.append(
            f"int {library.version_function}(char *version);\n"
            f"int {library.version_function}(char *version) {{\n"
            f'    return version ? (strcpy(version, "{library.version}"), 0) : E_ARGUMENT;\n}}\n'
        )
    if library.error_function:
        entries = "".join(f'    {{{code}, "{text}"}},\n' for code, text in library.errors.items())
        parts.append(
            f"static const error_text_t error_texts[] = {{\n{entries}}};\n"
            f"int {library.error_function}(char *text, int code);\n"
            f"int {library.error_function}(char *text, int code) {{\n"
            "    return error_text(text, code, error_texts, "
            "sizeof error_texts / sizeof *error_texts);\n}\n"
        )
    parts += [_body(library, f) for f in library.functions.values()]
    return "\n".join(parts)


def _body(library: Library, function: Function) -> str:
    lines = [f"{function.c()};", f"{function.c()} {{"]
    outs = [a for a in function.arguments if a.direction != "in"]
    pointers = [a.name for a in function.arguments if a.pointer]
    if pointers:
        lines.append(f"    if ({' || '.join('!' + p for p in pointers)}) return E_ARGUMENT;")
    lines.append(f"    request_t request = {{.function = {function.number}}};")
    for a in function.arguments:
        if a.direction == "out":
            continue
        if a.type == "text" and not a.length:
            lines.append(f"    put_block(&request, {a.name}, strlen({a.name}));")
        elif a.length:
            lines.append(f"    put_block(&request, {a.name}, {a.room});")
        else:
            source = a.name if a.pointer else f"&{a.name}"
            lines.append(f"    put(&request, {source}, {TYPES[a.type][2]});")
    rows = ", ".join(
        f"{{{a.name}, {a.room}, {int(a.type == 'text')}, {int(a.length == 0)}}}" for a in outs
    )
    lines.append(f"    out_t out[] = {{{rows or '{0}'}}};")
    kind = "CONNECT" if function.name == library.connect else "CALL"
    kind = "DISCONNECT" if function.name == library.disconnect else kind
    index = library.index if any(a.name == library.index for a in function.arguments) else "0"
    lines.append(f"    return carry(&request, {kind}, {index}, out, {len(outs)});")
    return "\n".join([*lines, "}\n"])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(c_source(load(Path(sys.argv[1]))), encoding="utf-8")
