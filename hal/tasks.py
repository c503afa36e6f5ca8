"""Several coroutines at once, with one error instead of a group."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from photonlink.hal.errors import first_error

T = TypeVar("T")


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Results in order. When one fails, the others are cancelled and its error is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as several:
        raise first_error(several) from None
    return [task.result() for task in tasks]
