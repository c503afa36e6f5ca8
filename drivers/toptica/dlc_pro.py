"""Toptica DLC pro: controller of a diode laser, over its TCP command line (port 1998).

Protocol: shared fact sheet, section 3.1, proved there with the vendor's SDK against a stub; this
driver has not met hardware. Currents are in mA, temperatures in °C, as the controller says them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from pydantic import Field

from photonlink.drivers.toptica import decof, monitoring
from photonlink.hal.codecs.text import PromptCodec
from photonlink.hal.errors import InstrumentError, PhotonlinkError, ReadbackMismatch
from photonlink.hal.instruments import Condition, DarkCommand, Identity, Laser, SafetyStep
from photonlink.hal.links import Address, Tap, make_link
from photonlink.hal.params import Limits, Param, Parameters, Value
from photonlink.hal.registry import DriverSettings

PROMPT = b"\n> "


def params(head: str) -> tuple[Param, ...]:
    """The parameters of one laser head (``laser1`` or ``laser2``) and of the controller."""
    cc, tc = f"{head}:dl:cc", f"{head}:dl:tc"
    return (
        Param("emission", bool, "light leaves the head", get=f"{head}:emission"),
        Param(
            "drive_enabled",
            bool,
            "current source on",
            f"{cc}:enabled",
            f"{cc}:enabled",
            trips=True,
        ),
        Param(
            "current_set_ma",
            float,
            "diode current asked for",
            f"{cc}:current-set",
            f"{cc}:current-set",
            unit="mA",
            limits=(0.0, 10_000.0),
            plausible=(-1.0, 10_000.0),
            tolerance=0.05,
        ),
        Param("current_act_ma", float, "diode current measured", f"{cc}:current-act", unit="mA"),
        Param(
            "current_clip_ma",
            float,
            "the head's own limit of the current",
            f"{cc}:current-clip",
            unit="mA",
            plausible=(0.0, 10_000.0),
        ),
        Param("voltage_act_v", float, "diode voltage", f"{cc}:voltage-act", unit="V"),
        Param("monitor_diode_ma", float, "current of the photodiode", f"{cc}:pd", unit="mA"),
        Param("drive_status", str, "the current source in words", f"{cc}:status-txt"),
        Param(
            "temperature_set_c",
            float,
            "diode temperature asked for",
            f"{tc}:temp-set",
            f"{tc}:temp-set",
            unit="°C",
            limits=(5.0, 60.0),
            tolerance=0.01,
        ),
        Param("temperature_act_c", float, "diode temperature", f"{tc}:temp-act", unit="°C"),
        Param("temperature_ready", bool, "temperature settled", f"{tc}:ready"),
        Param("interlock_open", bool, "interlock circuit open", "interlock-open"),
        Param("front_key_locked", bool, "key switch locked", "frontkey-locked"),
        Param("emission_button", bool, "emission button enabled", "emission-button-enabled"),
        Param("health", int, "0 is well", "system-health"),
        Param("health_text", str, "health in words", "system-health-txt"),
        Param("uptime_s", int, "seconds since power-on", "uptime", unit="s", plausible=(0, 1e10)),
    )


class DlcPro(Laser):
    """One laser head of a DLC pro. ``open`` switches emission off."""

    evidence = "manual"

    class Settings(DriverSettings):
        """current_ma: applied before emission may be asked for; None leaves the head's own."""

        current_ma: float | None = Field(default=None, ge=0)
        temperature_c: float | None = None
        head: Literal["laser1", "laser2"] = "laser1"
        reply_timeout_s: float = Field(default=2.0, gt=0, le=30)
        emission_timeout_s: float = Field(default=5.0, gt=0, le=60)

    def __init__(
        self,
        name: str,
        address: str,
        settings: Settings,
        *,
        limits: Mapping[str, Limits] | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.name, self.settings = name, settings
        self._link = make_link(address, tap=tap)
        self._address = Address.parse(address).only("monitor", "baud")
        greet = self._greet_serial if self._address.scheme == "serial" else None
        self._codec = PromptCodec(
            self._link, PROMPT, timeout_s=settings.reply_timeout_s, greet=greet
        )
        self._params = Parameters(
            params(settings.head), self._read, self._write, where=name, limits=limits
        )

    async def _greet_serial(self) -> None:
        # The USB line does not greet by itself; the vendor's SDK opens it with these two bytes.
        await self._link.write(b"\x12\x03", self.settings.reply_timeout_s)
        await self._link.read_until(PROMPT, self.settings.reply_timeout_s)

    async def _ask(self, question: str, what: str) -> decof.DecofValue:
        reply = await self._codec.ask(question, lambda text: decof.parse(text, self.name))
        if isinstance(reply, decof.Refusal):
            raise InstrumentError(
                f"{what} was refused: {reply.words}", where=self.name, seen=reply.code
            )
        return reply

    async def _read(self, param: Param) -> Value:
        value = await self._ask(f"(param-ref '{param.get})", param.name)
        if param.kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, param.kind) or isinstance(value, bool) != (param.kind is bool):
            raise InstrumentError(
                f"{param.name}: a reply of the wrong kind", where=self.name, seen=repr(value)
            )
        return value

    async def _write(self, param: Param, value: Value) -> None:
        value = float(value) if param.kind is float else value
        what = f"{param.name} = {value}"
        status = await self._ask(f"(param-set! '{param.set} {decof.render(value)})", what)
        if isinstance(status, bool) or not isinstance(status, int) or status < 0:
            raise InstrumentError(f"{what} was refused", where=self.name, seen=repr(status))

    async def open(self) -> Identity:
        self._params.wanted.clear()
        try:
            await self._codec.connect(self.settings.reply_timeout_s)
            identity = Identity(
                vendor="Toptica",
                model=await self._text("system-type"),
                serial=await self._text("serial-number"),
                firmware=await self._text("fw-ver"),
            )
            await self.set_emission(False)
        except BaseException:
            await self._link.close()
            raise
        return identity

    async def _text(self, parameter: str) -> str:
        return str(await self._read(Param(parameter, str, "", get=parameter)))

    async def configure(self) -> None:
        if self.settings.temperature_c is not None:
            await self._params.set("temperature_set_c", self.settings.temperature_c)
        if self.settings.current_ma is not None:
            await self.set_current_ma(self.settings.current_ma)

    async def close(self) -> None:
        if self._link.is_open:
            await self.safe_state()
        await self._link.close()

    def deviation(self, readings: Mapping[str, Value]) -> str:
        return self._params.deviation(readings)

    async def snapshot(self) -> Mapping[str, Value]:
        return await self._params.snapshot()

    async def notices(self) -> AsyncIterator[str]:
        """Interlock, key, emission and health, within 0.1 s of their change.

        Needs ``?monitor=1999`` in the address; without it there is nothing to hear.
        """
        port = self._address.number("monitor", 0)
        if not port:
            return
        emission = f"{self.settings.head}:emission"
        names = (emission, "interlock-open", "frontkey-locked", "system-health-txt")
        link = make_link(f"tcp://{self._address.host}:{port}")
        words = {
            (emission, False): "emission is off",
            (emission, True): "emission is ON",
            ("interlock-open", True): "the interlock opened",
            ("interlock-open", False): "the interlock is closed",
            ("frontkey-locked", True): "the key switch was locked",
            ("frontkey-locked", False): "the key switch is unlocked",
        }
        timeout_s, known = self.settings.reply_timeout_s, set[str]()
        pushes = monitoring.changes(link, names, interval_ms=100, timeout_s=timeout_s)
        async with contextlib.aclosing(pushes):
            async for name, value in pushes:
                if name not in known:
                    known.add(name)  # the state it is in now: no change
                elif isinstance(value, bool):
                    yield words[name, value]
                elif isinstance(value, str):
                    yield f"health: {value}"

    async def emission(self) -> bool:
        return bool(await self._params.get("emission"))

    async def set_current_ma(self, value: float) -> None:
        """Diode current in mA, within the station's limits and the head's own clip."""
        clip = await self._params.get_float("current_clip_ma")
        await self._params.set("current_set_ma", value, (0.0, clip))

    async def set_emission(self, on: bool) -> None:
        """Switch the current source, then wait until the light really follows."""
        if on:
            await self._may_emit()
        try:
            await self._params.set("drive_enabled", on)
            await self._emission_becomes(on)
        except BaseException:
            if on:
                await asyncio.shield(self.safe_state())
            raise

    async def _may_emit(self) -> None:
        if await self._params.get("interlock_open"):
            raise InstrumentError(
                "the interlock is open", where=self.name, hint="Close it; then ask again"
            )
        if await self._params.get("front_key_locked"):
            raise InstrumentError(
                "the key switch is locked", where=self.name, hint="Turn the key; then ask again"
            )

    async def _emission_becomes(self, on: bool) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.emission_timeout_s
        while await self.emission() != on:
            if loop.time() > deadline:
                status = await self._params.get("drive_status")
                raise ReadbackMismatch(
                    f"emission stays {'off' if on else 'ON'}",
                    where=self.name,
                    seen=str(status),
                    hint="Is the emission button on the front pressed?"
                    if on
                    else "Turn the key switch off NOW",
                )
            await asyncio.sleep(0.05)

    async def safe_state(self) -> tuple[SafetyStep, ...]:
        steps = []
        try:
            await self._params.set("drive_enabled", False)
            steps.append(SafetyStep(f"{self.name}: current off", True, "off"))
        except PhotonlinkError as error:
            steps.append(SafetyStep(f"{self.name}: current off", False, str(error)))
        try:
            await self._emission_becomes(False)
            steps.append(SafetyStep(f"{self.name}: emission off", True, "off"))
        except PhotonlinkError as error:
            steps.append(SafetyStep(f"{self.name}: emission off", False, str(error)))
        return tuple(steps)

    def _off(self) -> bytes:
        return f"(param-set! '{self.settings.head}:dl:cc:enabled #f)\n".encode("ascii")

    def dark_command(self) -> DarkCommand:
        return DarkCommand(self._link.uri, self._off())

    def conditions(self, readings: Mapping[str, Value]) -> tuple[Condition, ...]:
        found = []
        if readings.get("interlock_open") is True:
            text = "the interlock is open: there is no light. Close it, then ask for light again"
            found.append(Condition("interlock_open", text))
        if readings.get("front_key_locked") is True:
            text = "the key switch is locked: there is no light. Turn it, then ask for light again"
            found.append(Condition("key_locked", text))
        if self._params.wanted.get("drive_enabled") is True and readings.get("emission") is False:
            text = "emission ended by itself. Find out why, then ask for light again"
            found.append(Condition("emission_ended", text))
        return tuple(found)

    def emergency_off(self) -> None:
        self._link.send_blocking(self._off())
