"""Prototypes of a vendor library, read from its table; the stand-in's C is generated from them.

``python prototypes.py TABLE.toml OUT.c`` (the build does it; standard library only) writes the
stand-in: every function of the table is an exported symbol that carries its arguments over a Unix
socket to the emulator program. The emulator reads the same table (``kit/library.py``), so numbers
and layouts cannot differ.

A function is ``NAME = "MODES [-> TYPE [or VALUE]]: ARGUMENTS"``. Without ``->`` it returns a
status of type int; with it a value (``text``: a string of the library's; ``void``: nothing), or the
error number as that type, or VALUE when the call fails. An argument is ``in|out|inout TYPE[LENGTH]
NAME``; LENGTH is a number or the name of the argument that holds it; ``in?``, ``out?``: NULL is
allowed.

On the socket, little-endian: request ``u32 function, u32 size`` and the in-arguments in order
(numbers as they are, texts and arrays with a u32 size in bytes before them); reply ``i32 code,
u32 size``, and unless the call failed the value and each out-argument with its u32 size in bytes
before it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TYPES = {  # C type, struct letter, bytes
    "int": ("int", "i", 4),
    "uint": ("unsigned int", "I", 4),
    "short": ("short", "h", 2),
    "ushort": ("unsigned short", "H", 2),
    "ulong": ("unsigned long", "Q", 8),
    "size": ("size_t", "Q", 8),
    "bool": ("_Bool", "?", 1),
    "int64": ("long long", "q", 8),
    "uint64": ("unsigned long long", "Q", 8),
    "double": ("double", "d", 8),
    "float": ("float", "f", 4),
    "byte": ("unsigned char", "B", 1),
    "text": ("char", "s", 1),
    "handle": ("void *", "Q", 8),
    "string": ("char *", "s", 1),  # out only: a pointer to a text of the library's
    "path": ("char", "s", 1),  # a text that names a file: made absolute in the caller's folder
}
TEXT_VALUE_BYTES = 1024
_FUNCTION = re.compile(r"([\w ]*?)\s*(?:->\s*(\w+)(?:\s+or\s+(-?[\d.e-]+))?\s*)?\Z")
_ARGUMENT = re.compile(r"(in|out|inout)(\??)\s+(\w+)(?:\[(\w+)\])?\s+(\w+)\Z")


@dataclass(frozen=True, slots=True)
class PrototypeArgument:
    """direction: in, out or inout.  length: elements of an array or text; 0: one value.  count:
    the argument that says the length instead.  optional: NULL is allowed."""

    direction: str
    type: str
    length: int
    name: str
    count: str = ""
    optional: bool = False

    @property
    def array(self) -> bool:
        return self.length > 0 or bool(self.count)

    @property
    def pointer(self) -> bool:
        return self.direction != "in" or self.array or self.type in ("text", "path")

    @property
    def room(self) -> int:
        """Size of the caller's memory in bytes, when the table has it."""
        return max(self.length, 1) * TYPES[self.type][2]

    @property
    def c_room(self) -> str:
        """The same in C."""
        if not self.count:
            return str(self.room)
        return f"({self.count} > 0 ? (size_t){self.count} * {TYPES[self.type][2]} : 0)"

    def c(self) -> str:
        """As it stands in the prototype."""
        constant = "const " if self.direction == "in" and self.pointer else ""
        return f"{constant}{TYPES[self.type][0]} {'*' if self.pointer else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class PrototypeFunction:
    """number: on the socket.  modes: in which it is allowed (the emulator's business).  returns:
    type of its value, "" for a status.  failure: what it returns instead of an error number."""

    number: int
    name: str
    modes: tuple[str, ...]
    arguments: tuple[PrototypeArgument, ...]
    returns: str = ""
    failure: str = ""

    @property
    def results(self) -> tuple[PrototypeArgument, ...]:
        """What the reply carries: the value, then the out-arguments."""
        outs = tuple(a for a in self.arguments if a.direction != "in")
        if self.returns in ("", "void"):
            return outs
        length = TEXT_VALUE_BYTES if self.returns == "text" else 0
        return (PrototypeArgument("out", self.returns, length, "result"), *outs)

    def c(self) -> str:
        kind = {"": "int", "void": "void", "text": "char *"}.get(self.returns)
        arguments = ", ".join(a.c() for a in self.arguments) or "void"
        return f"{kind or TYPES[self.returns][0]} {self.name}({arguments})"


@dataclass(frozen=True, slots=True)
class Library:
    """A whole table. codes: the stand-in's own error numbers (argument, open_fail, busy, not_open,
    failed; closed: to closing what is not open).  connect, disconnect: functions that open and
    close the cable; without them it opens by itself at the first call.  reconnect: opening again
    closes first.  demo: calls succeed, with zeros, after an open that found no device.
    error_returns: the error function returns the text.  constants: functions without arguments,
    type and value. file_name: the vendor's. once: a second opening ends the process, as it does in
    libraries that cannot take up their USB layer again."""

    name: str
    functions: dict[str, PrototypeFunction]
    errors: dict[int, str]
    codes: dict[str, int]
    version: str
    version_function: str
    error_function: str
    connect: str
    disconnect: str
    index: str
    devices: int
    reconnect: bool
    demo: bool
    deadline_ms: int
    slow: str
    slow_ms: int
    error_returns: bool
    constants: dict[str, str]
    file_name: str
    once: bool

    @property
    def built_name(self) -> str:
        return f"lib{self.name}.so"

    @property
    def socket_name(self) -> str:
        return f"{self.name}.sock"


def load(path: Path) -> Library:
    """Read a table. ValueError names the function whose prototype cannot be read.

    ``base = "OTHER.toml"``: another table of the same library, of which this one changes or adds
    keys and functions; a function that becomes "" does not exist here.
    """
    table = _table(path)
    functions = {}
    for number, (name, text) in enumerate(table["functions"].items(), 1):
        head, _, arguments = text.partition(":")
        parts = [a.strip() for a in arguments.split(",") if a.strip()]
        found = _FUNCTION.match(head.strip())
        if found is None or (found[2] and found[2] not in (*TYPES, "void")):
            raise ValueError(f"{name}: cannot read {head!r}")
        functions[name] = PrototypeFunction(
            number,
            name,
            tuple(found[1].split()),
            tuple(_argument(name, p) for p in parts),
            found[2] or "",
            found[3] or "",
        )
    error_function = table.get("error_function", "")
    return Library(
        name=path.stem,
        functions=functions,
        errors={int(code): text for code, text in table.get("errors", {}).items()},
        codes={"closed": table["codes"]["not_open"], **table["codes"]},
        version=table.get("version", ""),
        version_function=table.get("version_function", ""),
        error_function=error_function.removeprefix("-> "),
        connect=table.get("connect", ""),
        disconnect=table.get("disconnect", ""),
        index=table.get("index", ""),
        devices=table.get("devices", 1),
        reconnect=table.get("reconnect", False),
        demo=table.get("demo", False),
        deadline_ms=table.get("deadline_ms", 2000),
        slow=table.get("slow", ""),
        slow_ms=table.get("slow_ms", 2000),
        error_returns=error_function.startswith("-> "),
        constants={n: text for n, text in table.get("constants", {}).items() if text},
        file_name=table.get("file_name", f"lib{path.stem}.so"),
        once=table.get("once", False),
    )


def _table(path: Path) -> dict[str, Any]:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    if "base" not in table:
        return table
    base = _table(path.with_name(table["base"]))
    for key, value in table.items():
        base[key] = {**base.get(key, {}), **value} if isinstance(value, dict) else value
    base["functions"] = {name: text for name, text in base["functions"].items() if text}
    return base


def _argument(function: str, text: str) -> PrototypeArgument:
    found = _ARGUMENT.match(text)
    if found is None or found[3] not in TYPES:
        raise ValueError(f"{function}: cannot read the argument {text!r}")
    length = found[4] or "0"
    number, count = (int(length), "") if length.isdigit() else (0, length)
    return PrototypeArgument(found[1], found[3], number, found[5], count, found[2] == "?")


def c_source(library: Library) -> str:
    """The stand-in, C11."""
    functions = library.functions
    codes = "".join(f"#define E_{n.upper()} ({v})\n" for n, v in library.codes.items())
    parts = [
        "/* Generated from the table of prototypes: see prototypes.py. */\n",
        f'#define SOCKET_NAME "{library.socket_name}"\n{codes}',
        f"#define AUTO_CONNECT {int(not library.connect)}\n",
        f"#define RECONNECT {int(library.reconnect)}\n#define DEMO {int(library.demo)}\n",
        f"#define ONCE {int(library.once)}\n",
        f"#define DEVICES {library.devices}\n#define DEADLINE_MS {library.deadline_ms}\n",
        f"#define SLOW_FUNCTION {functions[library.slow].number if library.slow else 0}\n"
        f"#define SLOW_MS {library.slow_ms}\n",
        '#include "cable.h"\n',
        "int SIM_IsEmulator(void);\nint SIM_IsEmulator(void) { return 1; }\n",
    ]
    if library.version_function:
        parts.append(
            f"int {library.version_function}(char *version);\n"
            f"int {library.version_function}(char *version) {{\n"
            f'    return version ? (strcpy(version, "{library.version}"), 0) : E_ARGUMENT;\n}}\n'
        )
    for name, constant in library.constants.items():
        kind, _, value = constant.partition(" ")
        head = f"{TYPES[kind][0]} {name}(void)"
        parts.append(f"{head};\n{head} {{ return {value}; }}\n")
    if library.error_function:
        parts.append(_error_texts(library))
    parts += [_body(library, f) for f in library.functions.values()]
    return "\n".join(parts)


def _error_texts(library: Library) -> str:
    """The function that puts an error number in words: into memory of the caller, or its own."""
    entries = "".join(f'    {{{code}, "{text}"}},\n' for code, text in library.errors.items())
    table = f"static const error_text_t error_texts[] = {{\n{entries}}};\n"
    size = "sizeof error_texts / sizeof *error_texts"
    name = library.error_function
    if library.error_returns:
        head = f"char *{name}(int code)"
        body = f"static char text[256];\n    error_text(text, code, error_texts, {size});\n"
        return f"{table}{head};\n{head} {{\n    {body}    return text;\n}}\n"
    head = f"int {name}(char *text, int code)"
    return (
        f"{table}{head};\n{head} {{\n    return error_text(text, code, error_texts, {size});\n}}\n"
    )


def _returning(function: PrototypeFunction, code: str) -> str:
    """The C expression for a failed call."""
    if function.returns == "void":
        return ""
    if function.returns == "text":
        return '(char *)""'
    kind = TYPES[function.returns or "int"][0]
    return f"({kind}){function.failure or code}"


def _body(library: Library, function: PrototypeFunction) -> str:
    lines = [f"{function.c()};", f"{function.c()} {{"]
    pointers = [a.name for a in function.arguments if a.pointer and not a.optional]
    if pointers:
        wrong = _returning(function, "E_ARGUMENT")
        lines.append(f"    if ({' || '.join('!' + p for p in pointers)}) return {wrong};")
    lines.append(f"    request_t request; request.function = {function.number};")
    lines.append("    request.size = 0; request.overfull = 0;")
    lines += _puts(function)
    lines += _value(function)
    strings = [a for a in function.arguments if a.type == "string"]
    for a in strings:
        lines += [f"    static char {a.name}_text[{a.room}];", f"    *{a.name} = {a.name}_text;"]
    rows = ", ".join(_row(function, a) for a in function.results)
    lines.append(f"    out_t out[] = {{{rows or '{0}'}}};")
    kind = "CONNECT" if function.name == library.connect else "CALL"
    kind = "DISCONNECT" if function.name == library.disconnect else kind
    index = library.index if any(a.name == library.index for a in function.arguments) else "0"
    call = f"carry(&request, {kind}, (int){index}, out, {len(function.results)})"
    if not function.returns:
        lines.append(f"    return {call};")
    elif function.returns == "void":
        lines.append(f"    (void){call};")
    else:
        lines.append(f"    int code = {call};")
        lines.append(f"    return code ? {_returning(function, 'code')} : result;")
    return "\n".join([*lines, "}\n"])


def _puts(function: PrototypeFunction) -> list[str]:
    """The lines that put the in-arguments into the request."""
    lines = []
    for a in function.arguments:
        if a.direction == "out":
            continue
        if a.type == "path":
            lines.append(f"    put_path(&request, {a.name});")
        elif a.type == "text" and not a.array:
            lines.append(f"    put_block(&request, {a.name}, {a.name} ? strlen({a.name}) : 0);")
        elif a.array:
            lines.append(f"    put_block(&request, {a.name}, {a.name} ? {a.c_room} : 0);")
        else:
            source = a.name if a.pointer else f"&{a.name}"
            lines.append(f"    put(&request, {source}, {TYPES[a.type][2]});")
    return lines


def _value(function: PrototypeFunction) -> list[str]:
    """The memory of what the function returns."""
    if function.returns in ("", "void"):
        return []
    if function.returns == "text":
        return [f"    static char result[{TEXT_VALUE_BYTES}];"]
    return [f"    {TYPES[function.returns][0]} result = 0;"]


def _row(function: PrototypeFunction, a: PrototypeArgument) -> str:
    """One initialiser of ``out_t``."""
    data = "&result" if a.name == "result" and not a.array else a.name
    if a.type == "string":
        return f"{{{a.name}_text, {a.room}, TEXT}}"
    kind = "TEXT" if a.type == "text" else "ARRAY" if a.array else "VALUE"
    return f"{{{data}, {a.c_room}, {kind}}}"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(c_source(load(Path(sys.argv[1]))), encoding="utf-8")
