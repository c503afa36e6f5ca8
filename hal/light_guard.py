"""Starts and serves the light guard: a separate process that outlives the program it watches.

``safety.guard`` makes a bench safe however a program *ends by itself*. A program that is killed, or
stopped, or gets no CPU time, cannot; its :class:`LightGuard` then sends every instrument's dark
command (:meth:`Instrument.dark_command`). It is started and gets the commands before any light is
on; for an instrument that joins later (:meth:`LightGuard.watch`), before its light can be
requested.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from photonlink.hal import light_guard_program, machine
from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.facets import Instrument
from photonlink.hal.links.address import Address

LEASE_S = 5.0
BEAT_S = 0.5
READY_TIMEOUT_S = 10.0
END_TIMEOUT_S = 3.0

Event = Callable[[Mapping[str, Any]], None]


class LightGuardError(PhotonlinkError):
    """The guard could not be started or has ended: without it there is no light."""


class LightGuard:
    """The guard process of one bench.

    on_event: called with the guard's messages: ``fired`` (why), ``dark`` (name), ``failed`` (name,
    reason), ``ended`` (the guard is gone: the light has to go off).
    """

    def __init__(self, on_event: Event, *, lease_s: float = LEASE_S) -> None:
        self._on_event = on_event
        self._lease_s = lease_s
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # one message with dark commands at a time
        self._heard = asyncio.Event()
        self._watching: set[str] | None = None
        """What the guard watches, by its own last answer; None while it owes one."""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, instruments: Iterable[tuple[str, Instrument]]) -> None:
        """Start the process and hand it the dark commands. LightGuardError when it does not watch.

        In a session of its own: no signal that ends a terminal's or a service's programs politely
        reaches it, and it ignores those that a whole group is sent.
        """
        async with self._turn:
            await self._start(instruments)

    async def _start(self, instruments: Iterable[tuple[str, Instrument]]) -> None:
        by_rank = sorted(instruments, key=lambda named: named[1].safety_rank)
        commands = [_target(name, i) for name, i in by_rank]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(Path(light_guard_program.__file__)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            cwd="/" if os.name == "posix" else None,
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen(self._process))
        dark = [command for command in commands if command is not None]
        try:
            await self._tell_commands(
                {"lease_s": self._lease_s, "node": os.getpid(), "dark": dark}, dark
            )
        except LightGuardError as error:
            await self.stop()
            raise LightGuardError(
                f"the light guard did not start: {error.what}",
                hint="Without it the light would stay on if this program were killed",
            ) from None

    async def watch(self, name: str, instrument: Instrument) -> None:
        """One more instrument, or one that is back: returns when the running guard has its command.

        Before ``start`` nothing is sent: ``start`` sends all commands. LightGuardError
        when it does not answer or cannot reach the instrument; no light of it may be on then.
        """
        async with self._turn:
            command = _target(name, instrument)
            if command is not None and self.alive:
                await self._tell_commands({"add": [command]}, [command])

    async def _tell_commands(
        self, message: Mapping[str, Any], commands: Iterable[Mapping[str, Any]]
    ) -> None:
        """Send the commands and wait until the guard has confirmed them."""
        names = {command["name"] for command in commands}
        self._watching = None
        await self._say(message)
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while self.alive and not (self._watching is not None and names <= self._watching):
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            raise LightGuardError("the light guard does not answer") from None
        if not self.alive:
            raise LightGuardError("the light guard has ended", hint="Ask for the light again")

    async def beat(self) -> None:
        """Send a heartbeat; due every BEAT_S. LightGuardError when the guard is gone."""
        if not self.alive:
            raise LightGuardError("the light guard has ended", hint="Ask for the light again")
        await self._say({"beat": 1})

    async def stop(self) -> None:
        """The bench is safe: end the guard without any action."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(LightGuardError):
            await self._say_to(process, {"done": 1})
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def abandon(self) -> None:
        """The bench may still emit: leave the guard running; it switches off and ends by itself."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()

    async def _say(self, message: Mapping[str, Any]) -> None:
        if self._process is not None:
            await self._say_to(self._process, message)

    async def _say_to(
        self, process: asyncio.subprocess.Process, message: Mapping[str, Any]
    ) -> None:
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            async with asyncio.timeout(1.0):
                await process.stdin.drain()
        except (OSError, TimeoutError) as error:
            raise LightGuardError(f"the light guard does not listen: {error}") from error

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        async for line in process.stdout:
            event: dict[str, Any] = json.loads(line)
            if "watching" in event:
                self._watching = set(event["watching"])
                self._heard.set()
            else:
                self._on_event(event)
        await process.wait()
        self._heard.set()  # release callers that wait for an answer
        if process is self._process:  # not stopped by us
            self._on_event({"ended": f"the light guard ended with {process.returncode}"})


class InsideGuard(LightGuard):
    """For emulated light in this process: it ends with the process, so no second process
    watches.
    """

    _watches = False

    @property
    def alive(self) -> bool:
        return self._watches

    async def start(self, instruments: Iterable[tuple[str, Instrument]]) -> None:
        self._watches = True

    async def watch(self, name: str, instrument: Instrument) -> None:
        return

    async def stop(self) -> None:
        self._watches = False

    async def abandon(self) -> None:
        self._watches = False


def guard_of_light(on_event: Event) -> LightGuard:
    """The guard for light that is driven from the running event loop."""
    return LightGuard(on_event) if machine.instruments_are_outside() else InsideGuard(on_event)


def _target(name: str, instrument: Instrument) -> dict[str, Any] | None:
    """The guard's data for switching one instrument off; None when it has nothing to switch off."""
    command = instrument.dark_command()
    if command is None:
        return None
    address = Address.parse(command.address)
    target: dict[str, Any] = {"name": name, "scheme": address.scheme, "data": command.data.hex()}
    if command.data and address.scheme in ("tcp", "udp"):
        return target | {"host": address.host, "port": address.port}
    if command.data and address.scheme == "serial":
        return target | {"path": address.path, "baud": address.number("baud", 115200)}
    if command.program:
        argv = [sys.executable, "-m", "photonlink.hal.dark", *command.program]
        return target | {"scheme": "program", "argv": argv}
    raise LightGuardError(
        f"the light guard cannot reach an instrument on {address.scheme}:",
        where=name,
        hint="Its driver must say how it is switched off from outside; leave its output off",
    )
