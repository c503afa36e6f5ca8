"""The contract suite's cases: every registered driver, walked from the registration."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from photonlink.hal.opening import Bench, open_bench
from photonlink.hal.registry import registry

CASES = {
    str(entry.case.get("place", entry.id)).replace(".", "-"): entry
    for entry in registry().drivers.values()
}
"""Every registered driver, under the name of its emulator on the contract's bench."""

BENCH = 'name = "contract"\nseed = 7\n[devices]\n' + "".join(
    f'{name} = {{ model = "{entry.emulator}"'
    + (f', place = "{entry.case["place"]}"' if "place" in entry.case else "")
    + " }\n"
    for name, entry in CASES.items()
)


def settings_text(name: str) -> str:
    """The example settings of a driver as TOML, with a short deadline."""
    timeout_s = CASES[name].case.get("reply_timeout_s", 0.5)
    settings = {"reply_timeout_s": timeout_s, **CASES[name].settings}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


@contextlib.asynccontextmanager
async def opened(program: Any, *names: str) -> AsyncIterator[Bench]:
    """A bench of these instruments at their emulators; faults are healed at the end."""
    bench = await open_bench(program.station(*names))
    try:
        yield bench
    finally:
        for name in names:
            program.fault(name, "none")
        await bench.close()
