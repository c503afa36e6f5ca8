"""``python -m photonlink.hal.dark MODULE:CLASS ADDRESS SETTINGS``: makes one instrument safe.

The light guard runs it for instruments that cannot be reached by plain bytes (vendor libraries,
VISA): the driver opens the instrument, and opening makes it safe. Exit code 0 when it reads back
safe.
"""

from __future__ import annotations

import asyncio
import importlib
import sys

from photonlink.hal.errors import PhotonlinkError

TIMEOUT_S = 15.0


async def make_dark(target: str, address: str, settings: str) -> None:
    """Open the instrument, which switches off what its driver names, and give it back."""
    module, _, name = target.partition(":")
    kind = getattr(importlib.import_module(module), name)
    driver = kind("dark", address, kind.Settings.model_validate_json(settings))
    async with asyncio.timeout(TIMEOUT_S):
        await driver.open()
        await driver.release()


def main() -> None:
    try:
        asyncio.run(make_dark(*sys.argv[1:4]))
    except (PhotonlinkError, TimeoutError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
