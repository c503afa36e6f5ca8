"""Several emulated benches in one program: ``python emulator_host.py FOLDER`` with a
``bench.toml`` in each folder below it. Prints their ready lines as one list; ends with stdin."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path

from photonlink.firmware_sim.config import load_bench
from photonlink.firmware_sim.program import Program


async def host(benches: list[Path]) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)  # stdin carries no data, so this is its end
    async with contextlib.AsyncExitStack() as stack:
        ready = []
        for bench in benches:
            program = Program(load_bench(bench), bench.parent)
            ready.append((await stack.enter_async_context(program)).ready())
        print(json.dumps(ready), flush=True)
        await ended.wait()


if __name__ == "__main__":
    found = Path(sys.argv[1]).resolve().glob("*/bench.toml")
    asyncio.run(host(sorted(found, key=lambda path: int(path.parent.name))))
