"""Checks the rules of the house: imports, sizes, forbidden words."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("hal", "drivers", "firmware_sim", "pipeline")
# allowed imports, besides a room's own; nothing above the wire imports the emulators
ARROWS: dict[str, set[str]] = {
    "hal": set(),
    "drivers": {"hal"},
    "pipeline": {"hal"},
    "firmware_sim": set(),
}
# the runner of virtual time starts both sides of the wire in one process (decision 0014)
EXCEPTIONS: dict[str, set[str]] = {"pipeline/demo/virtual.py": {"firmware_sim"}}
# only one module may import each of these
ALONE: dict[str, str | tuple[str, ...]] = {
    "photonlink.pipeline._core": "pipeline/native/",
    "photonlink.hal._decode": "hal/decoders",
    "photonlink.firmware_sim.physics._kernels": "firmware_sim/physics/",
    "aiomqtt": ("pipeline/status/", "pipeline/watch/listener"),
    "serial": "hal/links/",
    "pyvisa": "hal/links/",
}
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


def _python_files() -> list[Path]:
    return [p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))]


def _all_python_files() -> list[Path]:
    beside = (p for folder in ("tests", "benchmarks", ".ci") for p in (ROOT / folder).rglob("*.py"))
    return [*_python_files(), *sorted(beside)]


# third-party libraries that are built with the core
VENDOR = ROOT / "pipeline/core/vendor"


def _c_files() -> list[Path]:
    found = [p for room in ROOMS for p in sorted((ROOT / room).rglob("*.[ch]"))]
    return [p for p in found if not p.is_relative_to(VENDOR)]


def _imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _wrong_arrows(room: str, modules: set[str], file: str = "") -> set[str]:
    allowed = ARROWS[room] | {room} | EXCEPTIONS.get(file, set())
    return {m for m in modules if m.startswith("photonlink.") and m.split(".")[1] not in allowed}


def test_arrows() -> None:
    wrong = []
    for path in _python_files():
        file = path.relative_to(ROOT)
        found = _wrong_arrows(file.parts[0], _imports(path), file.as_posix())
        wrong += [f"{file} imports {m}" for m in found]
    assert not wrong, "\n".join(wrong)


def test_the_arrow_test_fires() -> None:
    assert _wrong_arrows("hal", {"photonlink.pipeline.native"})
    assert _wrong_arrows("firmware_sim", {"photonlink.hal.tags"})
    assert not _wrong_arrows("pipeline", {"photonlink.hal.tags", "numpy"})
    both = {"photonlink.firmware_sim.program"}
    assert _wrong_arrows("pipeline", both, "pipeline/demo/demo.py")
    assert not _wrong_arrows("pipeline", both, "pipeline/demo/virtual.py")


def test_every_exception_is_needed_and_reached_from_the_command_line_only() -> None:
    for file, rooms in EXCEPTIONS.items():
        found = {m.split(".")[1] for m in _imports(ROOT / file) if m.startswith("photonlink.")}
        assert rooms <= found, f"{file} no longer imports {rooms - found}"
        module = "photonlink." + file.removesuffix(".py").replace("/", ".")
        users = [str(p.relative_to(ROOT)) for p in _python_files() if module in _imports(p)]
        assert users == ["pipeline/cli/main.py"]


@pytest.mark.parametrize("module", ALONE)
def test_one_place_speaks_to(module: str) -> None:
    place = ALONE[module]
    wrong = [
        str(path.relative_to(ROOT))
        for path in _python_files()
        if any(m == module or m.startswith(module + ".") for m in _imports(path))
        and not str(path.relative_to(ROOT)).startswith(place)
        and not str(path.relative_to(ROOT)).startswith("firmware_sim")
    ]
    assert not wrong, f"{module} belongs to {place}, but is imported by {wrong}"


def test_nothing_above_the_wire_asks_whether_it_is_simulated() -> None:
    word = re.compile(r"\b(if|elif|while|and|or|not)\b[^\n]*\b(is_)?(simulated|emulated|is_sim)\b")
    hits = []
    for room in ("drivers", "hal"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if word.search(line.split("#")[0]):
                    hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not hits, "\n".join(hits)


def _switches_light_on(tree: ast.AST) -> list[int]:
    """Lines of calls ``….set_emission(x)`` with any argument other than the literal False."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "set_emission"
        and not (
            len(node.args) == 1
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value is False
        )
    ]


@pytest.mark.row("emission leases have no caller")
def test_light_is_switched_on_under_a_lease_only() -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{line}"
        for room in ("hal", "pipeline")
        for path in sorted((ROOT / room).rglob("*.py"))
        for line in _switches_light_on(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert [hit.partition(":")[0] for hit in hits] == ["hal/safety.py"], hits


def test_the_test_of_leases_fires() -> None:
    assert _switches_light_on(ast.parse("await laser.set_emission(True)")) == [1]
    assert _switches_light_on(ast.parse("laser.set_emission(on)")) == [1]
    assert not _switches_light_on(ast.parse("laser.set_emission(False)"))


def test_files_fit_on_a_few_screens() -> None:
    files = [*_all_python_files(), *_c_files()]
    long = [
        f"{p.relative_to(ROOT)}: {n} lines"
        for p in files
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > MAX_FILE_LINES
    ]
    assert not long, "\n".join(long)


def test_python_functions_are_short() -> None:
    long = []
    for path in _all_python_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(
                        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines"
                    )
    assert not long, "\n".join(long)


def _c_functions(text: str) -> list[tuple[int, int]]:
    """(first line, length) of every function body: braces opened at depth 0 after a ``)``."""
    found, start, depth = [], 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])\'|//.*', "", line)
        if depth == 0 and re.search(r"\)\s*\{\s*$", code):
            start = number
        depth += code.count("{") - code.count("}")
        if depth == 0 and start and "}" in code:
            found.append((start, number - start + 1))
            start = 0
    return found


def test_the_function_counter_counts() -> None:
    body = "\n".join(["int f(int a,", "      int b) {", *["  a++;"] * 70, "}"])
    assert _c_functions(body) == [(2, 72)]


def test_c_functions_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{first}: {length} lines"
        for path in _c_files()
        for first, length in _c_functions(path.read_text(encoding="utf-8"))
        if length > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_no_registry_hosts_or_lock_files_are_committed() -> None:
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False
    )
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    assert not [f for f in tracked.stdout.split() if f.endswith((".so", "uv.lock", ".whl"))]
