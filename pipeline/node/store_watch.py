"""A node whose ledger cannot be written makes no light, says so, and goes on when the disk does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from photonlink.pipeline.node.emission import Emission

LOOK_S = 1.0


async def mind_store(
    works: Callable[[], Awaitable[bool]],
    emission: Emission,
    tell: Callable[[str], None],
) -> None:
    """Runs until it is cancelled. works: tries what failed before again. tell: for the operator.

    Light that was on comes back with the store, and no other.
    """
    while True:
        await asyncio.sleep(LOOK_S)
        if await works():
            continue
        lit = emission.lit
        await emission.off()
        tell("the ledger cannot be written: no light and no key until it can")
        while not await works():  # noqa: ASYNC110 - nobody tells when a disk is whole again
            await asyncio.sleep(LOOK_S)
        tell("the ledger can be written again")
        if lit:
            await emission.switch(on=True, names=lit)
