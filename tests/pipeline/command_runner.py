"""Runs many commands fast: imports them once, then forks one process per command.

Reads jobs as JSON lines on stdin: {"arguments": […], "folder": …, "seconds": …}; answers each with
{"status": number or null when it did not end, "out": text, "err": text}.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from photonlink.pipeline.cli import main as program

for _module in (
    "bench.target", "check.measure", "claim.document", "node.node", "planning.plan",
    "recordings.analyze", "recordings.files", "recordings.session", "watch.run",
):  # fmt: skip
    __import__(f"photonlink.pipeline.{_module}")

MEMORY_BYTES = 3 << 30  # address space: reading a huge file whole fails, no swapping


def run(job: dict[str, Any]) -> dict[str, Any]:
    folder = Path(job["folder"])
    files = [os.open(folder / n, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600) for n in (".o", ".e")]
    child = os.fork()
    if child == 0:
        _be(job["arguments"], folder, files)
    deadline = time.monotonic() + job["seconds"]
    status = None
    while status is None and time.monotonic() < deadline:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if ended else None
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # kills its child processes too
    if status is None:
        os.waitpid(child, 0)
    texts = [os.pread(f, 1 << 20, 0).decode("utf-8", "replace") for f in files]
    for file in files:
        os.close(file)
    return {"status": status, "out": texts[0], "err": texts[1]}


def _be(arguments: list[str], folder: Path, files: list[int]) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, file in enumerate(files, 1):
            os.dup2(file, number)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
        sys.argv = ["photonlink", *arguments]
        program.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
