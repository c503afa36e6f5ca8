"""The program's access to its machine: time, randomness, shared instruments.

On an ordinary event loop these are the operating system's. A loop may bring its own (``wall_s()``,
``seeded_bytes(n)``, ``holds_its_instruments``); only the runner of virtual time does. Bytes from a
loop can be reproduced from their seed, so they carry a provenance of their own, and no station can
allow the delivery of key made with them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from photonlink.hal.tags import Provenance

T = TypeVar("T")


def monotonic_s() -> float:
    """Time of the running event loop; outside of one, of the host. It never goes back."""
    loop = _loop()
    return time.monotonic() if loop is None else loop.time()


def wall_s() -> float:
    """Seconds since 1970."""
    own: Callable[[], float] | None = getattr(_loop(), "wall_s", None)
    return time.time() if own is None else own()


def randomness() -> tuple[Callable[[int], bytes], Provenance]:
    """The source of random bytes, and the provenance of key made with them."""
    own: Callable[[int], bytes] | None = getattr(_loop(), "seeded_bytes", None)
    return (os.urandom, Provenance.REAL) if own is None else (own, Provenance.SEEDED)


def random_bytes(n: int) -> bytes:
    """For nonces of a connection."""
    return randomness()[0](n)


def jitter() -> float:
    """A number from 0.5 to 1: what a factor for waiting times, so that two programs do not act at
    the same time.
    """
    return 0.5 + int.from_bytes(random_bytes(4), "big") / 2**33


def any_of(values: Sequence[T]) -> T:
    """One of them, chosen at random."""
    return values[int.from_bytes(random_bytes(8), "big") % len(values)]


def instruments_are_outside() -> bool:
    """True: instruments outlive this process or its loop, and other programs can reach them. Then a
    second process must watch the light, and an opened instrument is locked.
    """
    return not getattr(_loop(), "holds_its_instruments", False)


def _loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
