"""The order of writes of docs/ledger.md, traced by strace; violations are detected."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def order() -> ModuleType:
    spec = importlib.util.spec_from_file_location("store_order", HERE / "store_order.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["store_order"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def seen(order: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[list, Path]:  # type: ignore[type-arg]
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    folder = tmp_path_factory.mktemp("order")
    may = subprocess.run(["strace", "-o", str(folder / "may"), "true"], capture_output=True)
    if may.returncode:
        pytest.skip("nothing may be traced here")
    order.traced(folder, folder / "trace")
    return list(order.calls(folder / "trace", folder)), folder


def test_what_reaches_disk_and_wire_is_in_the_specified_order(
    order: ModuleType,
    seen: tuple[list, Path],  # type: ignore[type-arg]
) -> None:
    found, folder = seen
    assert order.check(found, folder) == []


def test_m13_no_call_on_a_store_is_left_out_of_the_fault_harnesses(
    order: ModuleType,
    seen: tuple[list, Path],  # type: ignore[type-arg]
) -> None:
    found, folder = seen
    assert order.foreign(found, folder) == set()
    other = order.Call("copy_file_range", f"{folder}/alice/state/psk", "")
    assert order.foreign([*found, other], folder) == {"copy_file_range"}


BREAKS: dict[str, Callable[[str, str], bool]] = {
    "records are not synced": lambda name, path: name == "fsync" and path.endswith("ledger.log"),
    "the anchor is not written": lambda name, path: path.endswith("state.anchor"),
    "files are not synced before they are renamed": lambda name, path: (
        name == "fsync" and path.endswith(".key.new")
    ),
    "folders are not synced": lambda name, path: name == "fsync" and path.endswith("keys"),
    "given key stays": lambda name, path: name == "unlink" and path.endswith(".key"),
    "the tagged message is not kept": lambda name, path: path.endswith(".msg"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_break_of_the_order_is_seen(
    order: ModuleType,
    seen: tuple[list, Path],  # type: ignore[type-arg]
    what: str,
) -> None:
    found, folder = seen
    left = [c for c in found if not BREAKS[what](c.name, c.path)]
    assert len(left) < len(found)
    assert order.check(left, folder)


def test_a_word_before_its_record_is_seen(
    order: ModuleType,
    seen: tuple[list, Path],  # type: ignore[type-arg]
) -> None:
    found, folder = seen
    for said in ("alice/Amplify", "bob/Prepared", "alice/Commit", "bob/BlockBases"):
        at = next(k for k, c in enumerate(found) if c.name == "mark" and c.path == said)
        back = next(
            k for k in range(at, 0, -1)
            if found[k].name == "mark" and found[k].path.startswith(said[:3]) and k < at
        )  # fmt: skip
        early = [*found[: back + 1], found[at], *found[back + 1 : at], *found[at + 1 :]]
        assert order.check(early, folder), said
