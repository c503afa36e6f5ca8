"""An asyncio event loop whose time jumps to the next timer as soon as nothing is ready.

Nothing in it depends on the machine's speed: its time only moves between turns, TCP connections are
made in memory, work for a thread is done at once in the loop, and random bytes from the loop come
from a seed. Signals still arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import selectors
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from photonlink.firmware_sim.virtual.streams import Factory, MemoryServer, Network

T = TypeVar("T")

START_S = 1000.0
RESOLUTION_S = 1e-8
"""Timers this near to each other fire together. It must be more than a step of a float at the time
of the loop, or a timer that is due would never count as due: enough for three years."""
EPOCH_S = 1_767_225_600.0
"""2026-01-01: the date of every virtual run, so that what carries a date is repeated too."""


class StandsStill(RuntimeError):
    """Nothing is ready and no timer runs, so the loop would wait for ever."""


class _Selector(selectors.SelectSelector):
    """Never waits. Real descriptors (mainly signals) are polled once per turn."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S
        self.idle = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None:
            raise StandsStill("the virtual run waits for something that nothing will bring")
        self.now_s += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """``seed``: of :meth:`seeded_bytes`. One loop is one machine, network and clock."""

    def __init__(self, seed: int = 1) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)
        self._clock_resolution = RESOLUTION_S
        self.network = Network(self)
        self._seeded = random.Random(seed)  # noqa: S311 - it is said to be no secret

    # ---- the interface for hal/machine.py ------------------------------------------------------

    def wall_s(self) -> float:
        """Seconds since 1970; a virtual run always begins at the same date."""
        return EPOCH_S + self.time() - START_S

    def seeded_bytes(self, n: int) -> bytes:
        """Bytes that follow from the seed."""
        return self._seeded.randbytes(n)

    @property
    def holds_its_instruments(self) -> bool:
        """The emulated instruments are in this process: no other process can reach them, and no
        guard has to outlive it to switch off their light.
        """
        return True

    # ---- time ----------------------------------------------------------------------------------

    def time(self) -> float:
        return self._jumping.now_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """At once, in the loop: how long a thread takes would depend on the machine."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except StopIteration as error:
            future.set_exception(RuntimeError(f"{error!r} cannot leave a future"))
        except Exception as error:  # noqa: BLE001 - whoever awaits it gets it
            future.set_exception(error)
        return future

    # ---- network -------------------------------------------------------------------------------

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Factory, host: Any = None, port: Any = None, **options: Any
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """A connection in memory. ValueError for TLS and for existing sockets."""
        if host is None or options.get("ssl") or options.get("sock") is not None:
            raise ValueError("a virtual run connects by host and port, without TLS")
        return self.network.connect(protocol_factory, str(host), int(port or 0))

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Factory, host: Any = None, port: Any = None, **options: Any
    ) -> MemoryServer:
        if host is None or options.get("ssl") or options.get("sock") is not None:
            raise ValueError("a virtual run listens at a host and a port, without TLS")
        return self.network.listen(protocol_factory, str(host), int(port or 0))

    async def create_datagram_endpoint(self, *_: Any, **__: Any) -> Any:
        raise OSError("a virtual run has byte streams only, no datagrams")

    async def subprocess_exec(self, *_: Any, **__: Any) -> Any:
        raise OSError("a virtual run is one process: another one would keep real time")


@contextlib.contextmanager
def virtual_runner(seed: int = 1) -> Iterator[asyncio.Runner]:
    """An asyncio.Runner on a fresh virtual loop; ``runner.get_loop()`` has the network's digest."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        yield runner
