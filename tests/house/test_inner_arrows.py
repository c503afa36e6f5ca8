"""Inside pipeline/: allowed imports, modules that no node uses, and unique class names."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "pipeline"
ROOMS = ("hal", "drivers", "pipeline", "firmware_sim")
# The two ends of one wire may share a class name. An emulator has the name and the path of its
# driver; the emulators' kit mirrors the base classes of drivers.
MIRROR = ("drivers/", "firmware_sim/devices/")
BOTH_ENDS = {
    "Apt": "a framing, as the driver reads it and as the instrument writes it",
    "Fixed": "likewise",
    "Itla": "likewise",
    "Registration": "how a room finds its instruments",
    "Session": "of two nodes that make key; of one client at an emulator",
}
UNUSED = "No node uses this yet"

# each room may import the lower rooms named here; `status` and `keys` import no stage
_STAGES = {"native", "stages"}
_PROTOCOL = _STAGES | {"keys", "status", "calibration", "protocol"}
_SHELLS = _PROTOCOL | {"readiness", "recordings", "node"}
INNER: dict[str, set[str]] = {
    "core": set(),
    "native": {"_core"},
    "stages": {"native"},
    "status": set(),
    "keys": {"native"},
    "calibration": _STAGES | {"keys"},
    "readiness": {"calibration"},
    "planning": {"stages"},
    "claim": _STAGES | {"planning"},
    "protocol": _PROTOCOL,
    "recordings": _PROTOCOL,
    "node": _SHELLS,
    "check": _SHELLS,
    "bench": _SHELLS | {"check"},
    "agents": _SHELLS | {"bench"},
    "demo": _SHELLS | {"check"},
    "attacks": _SHELLS | {"check"},
    "watch": {"status"},
    "top": {"status", "watch"},
    "cli": _SHELLS
    | {"bench", "check", "demo", "attacks", "planning", "claim", "watch", "top", "agents"},
}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def wrong_arrows(room: str, modules: set[str]) -> set[str]:
    """Modules in ``modules`` that this room of pipeline/ must not import."""
    allowed = INNER.get(room, set()) | {room}
    inner = {m for m in modules if m.startswith("photonlink.pipeline.")}
    return {m for m in inner if m.split(".")[2] not in allowed}


def test_inner_arrows() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {m}"
        for path in sorted(PIPELINE.rglob("*.py"))
        for m in sorted(wrong_arrows(path.relative_to(PIPELINE).parts[0], _imports(path)))
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_has_its_arrows_and_pipeline_has_rooms_only() -> None:
    rooms = {p.name for p in PIPELINE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert rooms <= set(INNER), "a room without arrows: add it to INNER"
    loose = [p.name for p in PIPELINE.glob("*.py") if p.name != "__init__.py"]
    assert not loose


@pytest.mark.parametrize(
    ("room", "module"),
    [
        ("stages", "photonlink.pipeline.protocol.session"),
        ("status", "photonlink.pipeline.stages.estimate"),
        ("keys", "photonlink.pipeline.stages.amplify"),
        ("recordings", "photonlink.pipeline.node.node"),
        ("node", "photonlink.pipeline.cli.main"),
        ("somewhere_new", "photonlink.pipeline.native.secret"),
    ],
)
def test_the_inner_arrow_test_fires(room: str, module: str) -> None:
    assert wrong_arrows(room, {module}) == {module}


def test_arrows_make_no_circle() -> None:
    floor: dict[str, int] = {}

    def height(room: str, above: tuple[str, ...]) -> int:
        assert room not in above, f"a circle: {' -> '.join((*above, room))}"
        if room not in floor:
            below = INNER.get(room, set()) - {room}
            floor[room] = 1 + max((height(b, (*above, room)) for b in below), default=0)
        return floor[room]

    for room in INNER:
        height(room, ())
    assert height("native", ()) < height("stages", ()) < height("protocol", ())
    assert height("protocol", ()) < height("recordings", ()) < height("node", ())
    assert height("node", ()) < height("check", ()) < height("demo", ()) < height("cli", ())


def _reached_by_a_node() -> tuple[set[str], dict[str, Path]]:
    modules = {
        "photonlink." + ".".join(p.relative_to(ROOT).with_suffix("").parts): p
        for p in PIPELINE.rglob("*.py")
        if p.name != "__init__.py"
    }
    packages = {
        "photonlink." + ".".join(p.relative_to(ROOT).parent.parts): p
        for p in PIPELINE.rglob("__init__.py")
    }
    reached: set[str] = set()
    waiting = [m for m in modules if m.split(".")[2] in ("node", "check")]
    while waiting:
        module = waiting.pop()
        path = modules.get(module) or packages.get(module)
        if module not in reached and path is not None:
            reached.add(module)
            waiting += _imports(path)
    return reached, modules


def test_what_no_node_reaches_says_so_in_its_first_line() -> None:
    reached, modules = _reached_by_a_node()
    assert "photonlink.pipeline.native.cascade" in reached, "the search goes through all floors"
    used_elsewhere = {"photonlink.pipeline.native.correlate"} - reached  # used by analyze
    for name, path in modules.items():
        if name.split(".")[2] in ("native", "stages", "protocol") and name not in used_elsewhere:
            first = path.read_text(encoding="utf-8").split("\n", 1)[0]
            assert (UNUSED in first) == (name not in reached), f"{path}: {first}"


def _classes(paths: list[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path)
    return found


def _mirrored(places: list[str]) -> bool:
    """Whether these are a driver and the emulator of the same vendor and model."""
    ends = [place.removeprefix(MIRROR[0]).removeprefix(MIRROR[1]) for place in places]
    driver, emulator = (sum(p.startswith(m) for p in places) for m in MIRROR)
    return len(set(ends)) == 1 and (driver, emulator) == (1, 1)


def _names_there_twice(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Names of several classes that are not the two ends of one wire."""
    twice = {name: places for name, places in found.items() if len(places) > 1}
    for name, places in list(twice.items()):
        ours = [p for p in places if not p.startswith("firmware_sim/")]
        ends = len(places) == 2 and len(ours) == 1
        if ends and (_mirrored(places) or name in BOTH_ENDS):
            del twice[name]
    return twice


def test_no_class_name_is_there_twice() -> None:
    paths = [p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))]
    found = {k: [str(p.relative_to(ROOT)) for p in v] for k, v in _classes(paths).items()}
    twice = _names_there_twice(found)
    assert not twice, "\n".join(f"{name}: {', '.join(p)}" for name, p in sorted(twice.items()))
    assert not [name for name in BOTH_ENDS if len(found.get(name, ())) < 2], "no longer there"


@pytest.mark.parametrize(
    ("places", "name", "allowed"),
    [
        (["drivers/a/b.py", "firmware_sim/devices/a/b.py"], "B", True),
        (["drivers/a/b.py", "firmware_sim/devices/a/c.py"], "B", False),
        (["drivers/a/b.py", "pipeline/b.py"], "B", False),
        (["firmware_sim/devices/a/b.py", "firmware_sim/kit/b.py"], "B", False),
        (["hal/x.py", "firmware_sim/kit/y.py"], "Apt", True),
        (["hal/x.py", "pipeline/y.py"], "Apt", False),
    ],
)
def test_only_the_two_ends_of_a_wire_share_a_name(
    places: list[str], name: str, allowed: bool
) -> None:
    assert (_names_there_twice({name: places}) == {}) == allowed


def test_the_search_for_names_sees_two(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("class Same:\n    class Settings: ...\n")
    assert {k: len(v) for k, v in _classes(sorted(tmp_path.glob("*.py"))).items()} == {"Same": 2}
