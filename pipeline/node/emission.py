"""A node's light: on only under a lease, and only while the light guard watches.

Each laser that emits has a lease (:func:`hal.safety.arm`) which this module renews as long as the
event loop turns. The same heartbeat goes to the light guard, a separate process. When the node
dies, is stopped or gets no CPU time, the guard switches the light off; when the guard dies, the
node does.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from photonlink.hal.driver import Driver
from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.facets import Biased, Emits, SafetyStep
from photonlink.hal.foreign import ours
from photonlink.hal.interlock import LOOK_S, InterlockRule, Interlocks, InterlockTripped
from photonlink.hal.light_guard import BEAT_S, LightGuardError, guard_of_light
from photonlink.hal.opening import Bench
from photonlink.hal.params import Value
from photonlink.hal.safety import Lease, LeaseExpired, arm

Said = Callable[[str, str, bool], None]
"""Called with an alarm's code, its text, and whether it holds."""


class Emission:
    """The lasers of a bench: enter with ``async with`` around the bench, run ``run`` in a task.

    report: read-backs after switching off. alarm: code and text of the reason for switching off.
    reason, max_s: of every lease.
    """

    def __init__(
        self,
        bench: Bench,
        report: Callable[[tuple[SafetyStep, ...]], None],
        alarm: Said,
        *,
        reason: str = "key distribution",
        max_s: float = math.inf,
    ) -> None:
        self._bench, self._report, self._alarm = bench, report, alarm
        self._reason, self._max_s = reason, max_s
        self._guard = guard_of_light(self._guard_event)
        self._leases: dict[str, tuple[Lease, contextlib.AsyncExitStack]] = {}
        self._turn = asyncio.Lock()
        self.dark_orders = 0  # how often somebody or something has asked for dark
        self._dark_wanted = asyncio.Event()
        self._biased: set[str] | None = None  # detectors that got their bias; None: none wanted
        self._safe = False
        self._interlocks = Interlocks(bench.interlock, self._read, self._trip, self._tell_interlock)

    async def start_guard(self) -> None:
        """Start the light guard, before any light. LightGuardError when it does not start."""
        if not self._guard.alive:
            await self._guard.start(self._bench.instruments.items())

    async def bias(self) -> None:
        """Bias of every detector on. A detector that joins the bench later is biased then; one that
        was lost returns without bias and stays so until this or ``switch``.
        """
        await self.start_guard()
        self._biased = set()
        await self._bias_new()

    async def _bias_new(self) -> None:
        """Bias detectors that have none yet; errors are raised once, after all were tried."""
        if self._biased is None:
            return
        found = self._bench.having(Biased)
        new = [name for name in found if name not in self._biased]
        self._biased.update(new)
        done = await asyncio.gather(
            *(found[name].set_bias(True) for name in new), return_exceptions=True
        )
        for error in done:
            if isinstance(error, BaseException):
                raise error

    async def on(self, names: Iterable[str] | None = None) -> None:
        """Switch these lasers (all) on, each under a fresh lease; a laser's refusal is raised.

        InterlockTripped while a rule of the station holds, or has tripped and is latched.
        """
        await self._interlocks.check()
        async with self._turn:
            await self.start_guard()
            for name in self._bench.having(Emits) if names is None else names:
                await self._release(name)
                stack = contextlib.AsyncExitStack()
                laser = self._bench.having(Emits)[name]
                lease = await stack.enter_async_context(
                    arm(laser, self._reason, self._max_s, report=self._report)
                )
                self._leases[name] = (lease, stack)
            for code in ("light_guard_lost", "light_lease_expired"):
                self._alarm(code, "", False)

    async def off(self, names: Iterable[str] | None = None) -> None:
        """Switch these lasers (all) off and read back."""
        self.dark_orders += 1
        async with self._turn:
            for name in self._bench.having(Emits) if names is None else names:
                held = name in self._leases
                await self._release(name)
                if not held:
                    self._report(await self._bench.instruments[name].safe_state())

    async def _release(self, name: str) -> None:
        lease = self._leases.pop(name, None)
        if lease is not None:
            await lease[1].aclose()

    async def run(self) -> None:
        """Send heartbeats and renew leases until cancelled; then end the leases, the guard last."""
        watching = asyncio.create_task(self._watch_interlocks(), name="interlocks")
        try:
            while True:
                if watching.done():  # if this ends before its task, the light must go off
                    raise InterlockTripped("the watch of the interlocks has ended")
                await self._beat()
                await self._bias_late()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        await self._dark_wanted.wait()
                if self._dark_wanted.is_set():
                    self._dark_wanted.clear()
                    await self.off()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._release_all()

    async def _release_all(self) -> None:
        for name in list(self._leases):
            with contextlib.suppress(PhotonlinkError):
                await self._release(name)

    async def _bias_late(self) -> None:
        try:
            await self._bias_new()
        except Exception as error:  # noqa: BLE001 - a late detector never ends the light
            told = str(ours(error, "bias", "set"))
            self._report((SafetyStep("late detector: bias on", False, told),))

    async def _watch_interlocks(self) -> None:
        """Check the rules until cancelled. When a check cannot be made, the bench is switched off
        and stays off (``on`` checks first) until a check succeeds and light is requested.
        """
        failed = ""
        while True:
            try:
                await self._interlocks.look()
            except Exception as error:  # noqa: BLE001 - rules that nobody judges end the light
                text = str(ours(error, "interlock", "look"))
                if text != failed or self._leases:
                    await self._fail_interlocks(text)
                failed = text
            else:
                if failed:
                    self._alarm("interlock_failed", "", False)
                failed = ""
            await asyncio.sleep(LOOK_S)

    async def _fail_interlocks(self, text: str) -> None:
        try:
            await self._trip(())
        finally:
            self._alarm("interlock_failed", text, True)

    async def _read(self, name: str, parameter: str) -> Value:
        instrument = self._bench.instruments[name]
        if isinstance(instrument, Driver):
            return await instrument.get(parameter)
        return (await instrument.snapshot())[parameter]

    async def _trip(self, names: tuple[str, ...]) -> None:
        """A rule of the station has tripped: these instruments (none named: all) are made safe."""
        self.dark_orders += 1
        lasers = self._bench.having(Emits)
        if not names:
            self._biased = None
            self._report(await self._bench.safe_state())  # first: releasing a lease may fail
        for name in names or lasers:
            try:
                if name in lasers:
                    await self.off([name])
                elif name in self._bench.instruments:
                    self._report(await self._bench.instruments[name].safe_state())
            except Exception as error:  # noqa: BLE001 - the others are made safe all the same
                told = str(ours(error, name, "interlock"))
                self._report((SafetyStep(f"{name}: interlock", False, told),))

    def _tell_interlock(self, rule: InterlockRule, tripped: bool) -> None:
        text = f"{rule.when} held for {rule.for_s:g} s" if rule.for_s else rule.when
        self._alarm("interlock_tripped", text if tripped else "", tripped)

    @property
    def lit(self) -> tuple[str, ...]:
        """Lasers that hold a lease."""
        return tuple(self._leases)

    async def switch(self, *, on: bool, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Carry out a request: these lasers (all) on or off, each read back; a refusal is given as
        its read-back.

        On includes the bias of detectors that were lost and are back.
        """
        steps = []
        if on:
            try:
                await self.bias()
            except PhotonlinkError as error:
                steps.append({"instrument": "detectors: bias", "ok": False, "readback": str(error)})
        lasers = self._bench.having(Emits)
        for name in lasers if names is None else names:
            laser = lasers[name]
            action = {"instrument": f"{name}: emission"}
            try:
                await (self.on([name]) if on else self.off([name]))
                steps.append(action | {"ok": True, "readback": str(await laser.emission())})
            except PhotonlinkError as error:
                steps.append(action | {"ok": False, "readback": str(error)})
        return steps

    @property
    def dark(self) -> str:
        """Why a requested laser does not emit any more; "" while all do."""
        return next((lease.expired for lease, _ in self._leases.values() if lease.expired), "")

    def closed(self, steps: tuple[SafetyStep, ...]) -> None:
        """Add the read-back of the bench, which was closed last."""
        self._safe = all(step.ok for step in steps)
        self._report(steps)

    async def __aenter__(self) -> Self:
        self._bench.joining.append(self._guard.watch)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the leases (``run`` may have been cancelled before its first step, or have failed),
        then the guard, unless an instrument did not read back dark: then the guard goes on trying.
        """
        await self._release_all()
        self._bench.joining.remove(self._guard.watch)
        if self._safe:
            await self._guard.stop()
        else:
            await self._guard.abandon()

    async def _beat(self) -> None:
        if not self._leases:
            if self._guard.alive:
                await self._guard.beat()
            return
        try:
            await self._guard.beat()
        except LightGuardError as error:
            self._alarm("light_guard_lost", f"{error}", True)
            await self.off()
        for name, (lease, _) in list(self._leases.items()):
            try:
                lease.renew()
            except LeaseExpired as error:
                self._alarm("light_lease_expired", f"the light went off: {error}", True)
                await self._expire(name, lease)

    async def _expire(self, name: str, lease: Lease) -> None:
        """End an expired lease, unless light was requested under a new one."""
        self.dark_orders += 1
        async with self._turn:
            if name in self._leases and self._leases[name][0] is lease:
                await self._release(name)

    def _guard_event(self, event: Mapping[str, Any]) -> None:
        self.dark_orders += 1
        if "ended" in event:
            self._alarm("light_guard_lost", str(event["ended"]), True)
            self._dark_wanted.set()
        elif "fired" in event:
            text = f"the light guard switched off: {event['fired']}"
            self._alarm("light_lease_expired", text, True)
            self._dark_wanted.set()
        elif "failed" in event:
            text = f"{event['failed']} could not be switched off: {event['reason']}"
            self._alarm("light_guard_failed", text, True)
