"""The base of all drivers: from declarations to an instrument.

A driver declares its parts (``PARAMS``, ``CODEC``, ``OFF``), implements ``identify`` and its
facets; opening, closing on failure, settings, snapshot, deviation, safe state with read-back and
emergency off are here, once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from photonlink.hal.codecs.base import Codec, CodecFactory
from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.facets import (
    Condition,
    DarkCommand,
    Identity,
    Instrument,
    Reading,
    SafetyStep,
)
from photonlink.hal.foreign import ours
from photonlink.hal.links import Address, StreamLink, Tap
from photonlink.hal.params import Limits, Param, Parameters, Value, expand
from photonlink.hal.settings import DriverSettings, settings_of
from photonlink.hal.tags import Provenance

_CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Off:
    """One step of the safe state: a parameter and its safe value.

    action: in words (``bias off``). For a parameter that cannot be set the step only waits, for its
    settling time (light that follows its current). hint: what to do when it fails.
    """

    param: str
    value: Value
    action: str
    hint: str = ""


class Driver(Instrument):
    """Base of a driver. Declarations:

    PARAMS: what can be read and set. CODEC: how (a codec with its dialect filled in). OFF: the
    steps of the safe state, in order. PACE_S: commands come no faster. OPTIONS: options of the
    address that are the driver's own. BAUD: of a serial address that names none. Settings: a
    subclass of DriverSettings for settings that are no parameters; parameters with ``setting`` are
    added.
    """

    PARAMS: ClassVar[tuple[Param, ...]] = ()
    CODEC: ClassVar[CodecFactory | None] = None
    OFF: ClassVar[tuple[Off, ...]] = ()
    PACE_S: ClassVar[float] = 0.0
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    BAUD: ClassVar[int] = 0
    Settings: type[DriverSettings] = DriverSettings

    def __init_subclass__(cls, **more: object) -> None:
        super().__init_subclass__(**more)
        names = {param.name for param in expand(cls.PARAMS)}
        unknown = [step.param for step in cls.OFF if step.param not in names]
        if unknown:
            raise ValueError(f"{cls.__name__}.OFF names an unknown parameter {unknown[0]!r}")
        cls.Settings = settings_of(cls.Settings, expand(cls.PARAMS), f"{cls.__name__}Settings")

    def __init__(
        self,
        name: str,
        address: str,
        settings: DriverSettings,
        *,
        limits: Mapping[str, Limits] | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.name, self.address = name, address
        self.settings: Any = settings  # of the driver's own Settings, made from its declarations
        self.params = Parameters(
            self.parameters(), self.read, self.write,
            where=name, limits=limits, settle_s=settings.settle_s,
        )  # fmt: skip
        self.codec: Any = self.make_codec(address, tap)
        if isinstance(self.codec, Codec):
            self.codec.link.pace_s = self.PACE_S
        self._check_settings()

    # ---- what a driver may replace ----
    def parameters(self) -> tuple[Param, ...]:
        """The table, when it depends on the settings (one of two laser heads)."""
        return self.PARAMS

    def make_codec(self, address: str, tap: Tap | None) -> Any:
        """The codec; a driver of a vendor's library or package makes that instead."""
        if self.CODEC is None:
            raise TypeError(f"{type(self).__name__} declares no CODEC")
        return self.CODEC(
            self._link_address(address),
            tap=tap,
            where=self.name,
            timeout_s=self.settings.reply_timeout_s,
            wanted=lambda name: self.params.wanted.get(name),
        )

    def _link_address(self, address: str) -> str:
        link = Address.parse(address).without(*self.OPTIONS)
        if self.BAUD and link.scheme == "serial":
            link = link.default("baud", str(self.BAUD))
        return link.uri

    async def connect(self) -> None:
        """Reach the instrument; the base then identifies it and makes it safe."""
        await self.codec.connect()

    async def identify(self) -> Identity:
        """Ask who answers; IdentityError when it is another kind of instrument."""
        raise NotImplementedError

    async def read(self, param: Param) -> Value:
        """Read one parameter, in the parameter's unit."""
        value: Value = await self.codec.get(param)
        return value

    async def write(self, param: Param, value: Value) -> None:
        """Write one parameter; the base reads it back."""
        await self.codec.set(param, value)

    async def release(self) -> None:
        """Close the device in its present state. It need not make anything safe."""
        await self.codec.close()

    # ---- for all users ----
    @property
    def provenance(self) -> Provenance:
        found: Provenance = self.codec.provenance
        return found

    @property
    def is_open(self) -> bool:
        return bool(self.codec.is_open)

    @property
    def gone(self) -> asyncio.Event | None:
        found: asyncio.Event | None = getattr(getattr(self.codec, "link", None), "gone", None)
        return found

    async def get(self, name: str) -> Value:
        """Read a parameter by its name."""
        return await self.params.get(name)

    async def set(self, name: str, value: Value) -> None:
        """Set a parameter by its name: checked, written, read back."""
        await self.params.set(name, value)

    async def open(self) -> Identity:
        self.params.forget()
        try:
            await self.connect()
            identity = await self.identify()
            for step in self.OFF:
                await self._take_off(step)
        except BaseException:
            await self._release_quietly()
            raise
        return identity

    async def look(self) -> Identity:
        self.params.forget()
        try:
            await self.connect()
            return await self.identify()
        except BaseException:
            await self._release_quietly()
            raise

    async def leave(self) -> None:
        await self._release_quietly()

    async def configure(self) -> None:
        for param in self.params.table.values():
            value = getattr(self.settings, param.setting, None) if param.setting else None
            if value is not None and not param.deferred:
                await self.set(param.name, value)

    async def snapshot(self) -> Mapping[str, Reading]:
        return await self.params.snapshot()

    @property
    def of_clicks(self) -> frozenset[str]:
        return frozenset(name for name, param in self.params.table.items() if param.of_clicks)

    def deviation(self, readings: Mapping[str, Reading]) -> str:
        return self.params.deviation(readings)

    def conditions(self, readings: Mapping[str, Reading]) -> tuple[Condition, ...]:
        return tuple(Condition(*found) for found in self.params.conditions(readings))

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        steps = []
        for step in self.OFF:
            action = f"{self.name}: {step.action}"
            try:
                await self._take_off(step)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next step must run
                told = ours(error, self.name, step.action)
                steps.append(SafetyStep(action, False, str(told)))
            else:
                steps.append(SafetyStep(action, True, "off"))
        return tuple(steps)

    def off_bytes(self) -> bytes:
        """The bytes that end light, bias and outputs at any time; b"" when there are none."""
        settable = [(self.params[step.param], step.value) for step in self.OFF]
        return b"".join(self.command_bytes(p, value) for p, value in settable if p.set)

    def command_bytes(self, param: Param, value: Value) -> bytes:
        """A set as bytes that may come in the middle of an unfinished command."""
        data: bytes = self.codec.command_bytes(param, value)
        return data

    def dark_command(self) -> DarkCommand | None:
        if not self.OFF:
            return None
        link = getattr(self.codec, "link", None)
        if isinstance(link, StreamLink) and (data := self.off_bytes()):
            return DarkCommand(link.uri, data)
        kind = f"{type(self).__module__}:{type(self).__qualname__}"
        return DarkCommand(self.address, b"", (kind, self.address, self.settings.model_dump_json()))

    def emergency_off(self) -> None:
        """As every instrument's. A driver of a vendor's library or package has its own: it posts
        its calls to their thread (``VendorLibrary.post``)."""
        if self.OFF:
            self.codec.link.send_blocking(self.off_bytes())

    async def close(self) -> None:
        try:
            if self.is_open:
                await self.safe_state()
        finally:
            await self.release()

    # ---- inside ----
    async def _take_off(self, step: Off) -> None:
        if self.params[step.param].set:
            await self.params.set(step.param, step.value, hint=step.hint)
        else:
            await self.params.becomes(step.param, step.value, hint=step.hint)

    async def _release_quietly(self) -> None:
        with contextlib.suppress(PhotonlinkError, OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.release()

    def _check_settings(self) -> None:
        """Settings within the station's limits too: found when the file is read."""
        for param in self.params.table.values():
            value = getattr(self.settings, param.setting, None) if param.setting else None
            limits = self.params.limits.get(param.name)
            if value is not None and limits is not None:
                param.check(value, limits, where=self.name)
