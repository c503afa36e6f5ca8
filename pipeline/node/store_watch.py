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
    losses: Callable[[], int] = lambda: 0,
) -> None:
    """Runs until it is cancelled. works: retries what failed before. tell: a notice for the
    operator. losses: how many instruments were lost so far.

    Lasers that were lit are lit again when the store works, unless somebody or something has asked
    for dark meanwhile (a command, an interlock, a lease, the guard), or an instrument was lost:
    then they stay dark until they are asked for.
    """
    while True:
        await asyncio.sleep(LOOK_S)
        if await works():
            continue
        tell("the ledger cannot be written: no light and no key until it can")
        lit: tuple[str, ...] = ()
        asked = 0  # for dark, our own request among them
        while not await works():
            if emission.lit:
                lit, asked = emission.lit, emission.dark_orders + losses() + 1
                await emission.off()
            await asyncio.sleep(LOOK_S)
        tell("the ledger can be written again")
        if lit and emission.dark_orders + losses() == asked:
            await emission.switch(on=True, names=lit)
            if emission.dark_orders + losses() != asked:  # an order came while they were lit
                await emission.off()
        elif lit:
            tell("the light stays off: dark was asked for meanwhile")
