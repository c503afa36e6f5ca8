"""Run the examples of ``docs/virtual_time.md``: its command as a program, its test as a test."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "virtual_time.md"
TEXT = PAGE.read_text(encoding="utf-8")
(TEST,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(COMMAND,) = re.findall(r"```\n(photonlink .*?)\n```", TEXT, re.DOTALL)


def test_the_page_s_test_passes(photonlink_bench: Callable[..., Any]) -> None:
    names: dict[str, Any] = {"asyncio": asyncio}
    exec(compile(TEST, str(PAGE), "exec"), names)  # noqa: S102 - code of our own page
    ran = [work(photonlink_bench) for name, work in list(names.items()) if name[:5] == "test_"]
    assert ran == [None]


def test_the_page_s_command_is_one() -> None:
    """The command is accepted; ``tests/system/test_virtual.py`` tests its effect."""
    words = shlex.split(COMMAND)
    assert words[0] == "photonlink"
    asked = words[1 : words.index("--seed") + 2]
    done = subprocess.run(
        [sys.executable, "-m", "photonlink.pipeline.cli", *asked, "--help"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in words if word.startswith("--"))
