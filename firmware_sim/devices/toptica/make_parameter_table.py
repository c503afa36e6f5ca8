"""``python -m photonlink.firmware_sim.devices.toptica.make_parameter_table SDK_MODULE.py``: the
parameter tree of a DLC pro as a table (names, types and access only), from the vendor's Python
package ``toptica-lasersdk`` (``toptica/lasersdk/dlcpro/v3_3_3.py`` of version 3.3.3).

Each class of that module becomes a node ``[Class]`` with lines ``name type`` (b, i, r, s, x; a
capital letter: writable) ``name @Class`` for a branch, and ``name !`` for a command.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

LETTERS = {"Boolean": "b", "Integer": "i", "Real": "r", "String": "s", "Binary": "x"}


def table(source: str) -> list[str]:
    """The lines of the table."""
    lines: list[str] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            entries = [e for e in map(_entry, ast.walk(node)) if e]
            if entries:
                lines += [f"[{node.name}]", *entries]
    return lines


def _entry(node: ast.AST) -> str:
    """``self._x = Type(client, name + ':x')`` or ``self.__client.exec(name + ':cmd', …)``."""
    if not isinstance(node, ast.Call) or len(node.args) < 1:
        return ""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "exec":
        return f"{_suffix(node.args[0])} !"
    if not isinstance(node.func, ast.Name) or len(node.args) != 2:
        return ""
    name, kind = _suffix(node.args[1]), node.func.id
    if not name:
        return ""
    plain = kind.removeprefix("Mutable").removeprefix("Settable").removeprefix("Decop")
    if plain not in LETTERS:
        return f"{name} @{kind}"
    letter = LETTERS[plain]
    return f"{name} {letter if kind.startswith('Decop') else letter.upper()}"


def _suffix(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        node = node.right
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.removeprefix(":")
    return ""


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]).read_text(encoding="utf-8"))))
