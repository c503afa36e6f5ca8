"""Toptica DLC pro: controller of a diode laser, over its command line (TCP port 1998, or USB).

Dialect: the vendor's ``toptica-lasersdk`` 3.3.0, QMI's ``toptica/dlc.py``, and a printed session
with a real controller (echo, CR LF, extra lines; see ``docs/instruments/dlc_pro.md``). Not tried on
hardware. Currents are in mA, temperatures in °C, as in the controller.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Literal

from pydantic import Field

from photonlink.drivers.toptica import decof, monitoring
from photonlink.hal.codecs.prompt import PromptCodec
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import InstrumentError, LinkDesync, PhotonlinkError
from photonlink.hal.facets import Condition, Emits, HasTemperature, Identity
from photonlink.hal.links import Address, make_stream
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="toptica.dlc_pro",
    title="Toptica DLC pro: diode laser controller",
    driver="DlcPro",
    facets=("Emits", "HasTemperature"),
    transports=("tcp", "serial"),
    network=(
        "60010",
        "whoareyou?",
        r'\s*\(\s*"(?P<serial>[^"]*)"\s+"(?P<model>[^"]*)"',
        "tcp://{host}:1998",
    ),
    evidence="manual",
    emulator="toptica-dlc-pro",
    settings={"current_ma": 80.0},
    case={"place": "pump", "steady": ("current_set_ma", 80.0)},
)

_OWN = "each laser head has its own range"
_INTERLOCK = "the interlock is open: there is no light. Close it, then ask for light again"
_KEY = "the key switch is locked: there is no light. Turn it, then ask for light again"
_WORDS = {
    ("emission", False): "emission is off",
    ("emission", True): "emission is ON",
    ("interlock_open", True): "the interlock opened",
    ("interlock_open", False): "the interlock is closed",
    ("front_key_locked", True): "the key switch was locked",
    ("front_key_locked", False): "the key switch is unlocked",
}
"""What the monitoring line says, in sentences."""


def params(head: str) -> tuple[Param, ...]:
    """The parameters of one laser head (``laser1`` or ``laser2``) and of the controller."""
    cc, tc = f"{head}:dl:cc", f"{head}:dl:tc"
    return (
        Param("emission", bool, "light leaves the head", f"{head}:emission", settle_s=5.0),
        Param("drive_enabled", bool, "current source on", f"{cc}:enabled", f"{cc}:enabled",
              trips=True),
        Param("current_set_ma", float, "diode current asked for", f"{cc}:current-set",
              f"{cc}:current-set", "mA", limits=(0.0, 10_000.0), family=_OWN,
              plausible=(-1.0, 10_000.0), tolerance=0.05, setting="current_ma"),
        Param("current_act_ma", float, "diode current measured", f"{cc}:current-act", unit="mA"),
        Param("current_clip_ma", float, "the head's own limit of the current",
              f"{cc}:current-clip", unit="mA", plausible=(0.0, 10_000.0)),
        Param("voltage_act_v", float, "diode voltage", f"{cc}:voltage-act", unit="V"),
        Param("monitor_diode_ma", float, "current of the photodiode", f"{cc}:pd", unit="mA"),
        Param("drive_status", str, "the current source in words", f"{cc}:status-txt"),
        Param("temperature_set_c", float, "diode temperature asked for", f"{tc}:temp-set",
              f"{tc}:temp-set", "°C", limits=(5.0, 60.0), family=_OWN, tolerance=0.01,
              setting="temperature_c"),
        Param("temperature_act_c", float, "diode temperature", f"{tc}:temp-act", unit="°C"),
        Param("temperature_ready", bool, "temperature settled", f"{tc}:ready"),
        Param("interlock_open", bool, "interlock circuit open", "interlock-open",
              stops={True: _INTERLOCK}),
        Param("front_key_locked", bool, "key switch locked", "frontkey-locked", stops={True: _KEY}),
        Param("emission_button", bool, "emission button enabled", "emission-button-enabled"),
        Param("health", int, "0 is well", "system-health"),
        Param("health_text", str, "health in words", "system-health-txt"),
        Param("uptime_s", int, "seconds since power-on", "uptime", unit="s", plausible=(0, 1e10)),
    )  # fmt: skip


class DlcPro(Driver, Emits, HasTemperature):
    """One laser head of a DLC pro. ``open`` switches emission off."""

    PARAMS = params("laser1")
    OFF = (
        Off("drive_enabled", False, "current off"),
        Off("emission", False, "emission off", "Turn the key switch off NOW"),
    )
    # The USB line sends no banner by itself; the vendor's SDK opens it with these two bytes.
    CODEC = partial(PromptCodec, prompt="> ", wake=b"\x12\x03")
    OPTIONS = ("monitor",)

    class Settings(DriverSettings):
        """A DLC pro's settings beside its parameters."""

        reply_timeout_s: float = Field(default=2.0, gt=0, le=30)
        head: Literal["laser1", "laser2"] = Field(
            default="laser1", description="the laser head, when the controller has two"
        )

    _lit = False  # light was requested and has come

    def parameters(self) -> tuple[Param, ...]:
        return params(self.settings.head)

    async def _ask(self, question: str, what: str, *, last: bool = False) -> decof.DecofValue:
        reply = await self.codec.ask(question, partial(self._parse, last=last))
        if isinstance(reply, decof.DecofRefusal):
            raise InstrumentError(
                f"{what} was refused: {reply.words}", where=self.name, seen=reply.code
            )
        answer: decof.DecofValue = reply
        return answer

    def _parse(self, text: str, *, last: bool) -> decof.DecofValue | decof.DecofRefusal:
        """The whole reply or, where lines may stand before it, its last line."""
        lines = [line for line in text.splitlines() if line.strip()]
        with contextlib.suppress(LinkDesync):
            return decof.parse(text, self.name)
        if last and len(lines) > 1:
            return decof.parse(lines[-1], self.name)
        return decof.parse(text, self.name)

    async def read(self, param: Param) -> Value:
        value = await self._ask(f"(param-ref '{param.get})", param.name)
        if param.kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, param.kind) or isinstance(value, bool) != (param.kind is bool):
            raise InstrumentError(
                f"{param.name}: a reply of the wrong kind", where=self.name, seen=repr(value)
            )
        return value

    async def write(self, param: Param, value: Value) -> None:
        what = f"{param.name} = {value}"
        status = await self._ask(_set(param, value), what, last=True)
        if isinstance(status, bool) or not isinstance(status, int) or status < 0:
            raise InstrumentError(f"{what} was refused", where=self.name, seen=repr(status))

    def command_bytes(self, param: Param, value: Value) -> bytes:
        return _set(param, value).encode("ascii") + b"\n"

    def conditions(self, readings: Mapping[str, Value]) -> tuple[Condition, ...]:
        found = super().conditions(readings)
        asked = self._lit and self.params.wanted.get("drive_enabled") is True
        if asked and readings.get("emission") is False:
            text = "emission ended by itself. Find out why, then ask for light again"
            found += (Condition("emission_ended", text),)
        return found

    async def identify(self) -> Identity:
        return Identity(
            vendor="Toptica",
            model=await self._text("system-type"),
            serial=await self._text("serial-number"),
            firmware=await self._text("fw-ver"),
        )

    async def _text(self, parameter: str) -> str:
        return str(await self._ask(f"(param-ref '{parameter})", parameter))

    async def notices(self) -> AsyncIterator[str]:
        """Interlock, key, emission and health, within 0.1 s of their change.

        Needs ``?monitor=1999`` in the address; without it there are no messages, and the next
        readings show the change.
        """
        address = Address.parse(self.address)
        port = address.number("monitor", 0)
        if not port:
            return
        told = {self.params[name].get: name for name, _ in _WORDS}
        link = make_stream(f"tcp://{address.host}:{port}")
        timeout_s, known = self.settings.reply_timeout_s, set[str]()
        names = (*told, "system-health-txt")
        pushes = monitoring.changes(link, names, interval_ms=100, timeout_s=timeout_s)
        async with contextlib.aclosing(pushes):
            async for name, value in pushes:
                if name not in known:
                    known.add(name)  # the state it is in now: no change
                elif name in told and isinstance(value, bool):
                    yield _WORDS[told[name], value]
                elif isinstance(value, str):
                    yield f"health: {value}"

    async def emission(self) -> bool:
        return bool(await self.get("emission"))

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.params.get_float("temperature_act_c")

    async def set(self, name: str, value: Value) -> None:
        """Like every driver's; the current is also kept within the head's own clip."""
        if name == "current_set_ma":
            clip = await self.params.get_float("current_clip_ma")
            await self.params.set(name, value, (0.0, clip))
        else:
            await super().set(name, value)

    async def set_emission(self, on: bool) -> None:
        """Switch the current source, then wait until the light has followed."""
        self._lit = False
        if on:
            await self._may_emit()
        try:
            await self.params.set("drive_enabled", on)
            await self._emission_becomes(on)
            self._lit = on
        except BaseException:
            if on:
                await asyncio.shield(self.safe_state())
            raise

    async def _may_emit(self) -> None:
        if await self.get("interlock_open"):
            raise InstrumentError(
                "the interlock is open", where=self.name, hint="Close it; then ask again"
            )
        if await self.get("front_key_locked"):
            raise InstrumentError(
                "the key switch is locked", where=self.name, hint="Turn the key; then ask again"
            )

    async def _emission_becomes(self, on: bool) -> None:
        hint = "Is the emission button on the front pressed?" if on else self.OFF[1].hint
        try:
            await self.params.becomes("emission", on, hint=hint)
        except PhotonlinkError as error:
            if on:
                error.seen = str(await self.get("drive_status"))
            raise


def _set(param: Param, value: Value) -> str:
    value = float(value) if param.kind is float else value
    return f"(param-set! '{param.set} {decof.render(value)})"
