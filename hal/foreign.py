"""Maps foreign exceptions to errors of ``hal.errors``, in one place.

Vendor packages, C bindings, drivers with a fault: every exception of a public coroutine of an
instrument is raised as an error of ``hal.errors`` with the original as its cause. So the supervisor
treats a broken instrument as lost or refusing, and the node goes on. Cancellation,
KeyboardInterrupt and SystemExit pass.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

from photonlink.hal.errors import DriverFault, LinkClosed, LinkTimeout, PhotonlinkError

_log = logging.getLogger(__name__)


def ours(error: Exception, where: str, doing: str) -> PhotonlinkError:
    """The error of ``hal.errors`` for any exception."""
    if isinstance(error, PhotonlinkError):
        return error
    text = f"{doing}: {type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, TimeoutError):
        return LinkTimeout(text, where=where)
    if isinstance(error, OSError):
        return LinkClosed(text, where=where)
    _log.error("%s: %s", where, text, exc_info=error)  # a programming error: keep its traceback
    return DriverFault(text, where=where)


class Mapped:
    """Wraps every public coroutine and asynchronous generator of its subclasses with ``ours``."""

    def __init_subclass__(cls, **more: object) -> None:
        super().__init_subclass__(**more)
        for name, member in list(vars(cls).items()):
            if name.startswith("_"):
                continue
            if inspect.iscoroutinefunction(member):
                setattr(cls, name, _coroutine(member))
            elif inspect.isasyncgenfunction(member):
                setattr(cls, name, _generator(member))


def _where(instrument: Any) -> str:
    return str(getattr(instrument, "name", "") or type(instrument).__name__)


def _coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def mapped(self: Any, *args: Any, **named: Any) -> Any:
        try:
            return await function(self, *args, **named)
        except PhotonlinkError:
            raise
        except Exception as error:
            raise ours(error, _where(self), function.__name__) from error

    return mapped


def _generator(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def mapped(self: Any, *args: Any, **named: Any) -> Any:
        inner = function(self, *args, **named)
        try:
            async for item in inner:
                yield item
        except PhotonlinkError:
            raise
        except Exception as error:
            raise ours(error, _where(self), function.__name__) from error
        finally:
            await inner.aclose()

    return mapped
