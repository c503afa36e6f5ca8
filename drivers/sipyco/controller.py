"""A sipyco (ARTIQ) controller as an instrument: what the station allows of it, and no more.

Protocol: ``sipyco/pc_rpc.py`` and ``sipyco/pyon.py`` (m-labs/sipyco), both versions of PYON. Such a
controller offers every public method of its object; this driver calls only those that stand in the
station file.
"""

from __future__ import annotations

import abc
import difflib
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from photonlink.hal.codecs.pc_rpc import PcRpcCodec, parse_call
from photonlink.hal.driver import Driver, Off
from photonlink.hal.errors import IdentityError, InstrumentError, LimitError, StationError
from photonlink.hal.facets import Facet, Identity
from photonlink.hal.links import Tap
from photonlink.hal.params import Param, Value
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="sipyco.controller",
    title="sipyco (ARTIQ) controller: any instrument behind one",
    driver="SipycoController",
    facets=("CallsMethods",),
    transports=("tcp",),
    evidence="manual",
    emulator="sipyco-controller",
    settings={
        "target": "aom",
        "parameters": [
            {"name": "output", "kind": "bool", "get": "get_output", "set": "set_output",
             "off": False},
            {"name": "frequency_hz", "get": "get_frequency(0)", "set": "set_frequency(0)",
             "low": 1e6, "high": 4e8},
            {"name": "amplitude", "get": "get_amplitude", "set": "set_amplitude", "low": 0.0,
             "high": 1.0},
        ],
        "methods": ["get_errors"],
    },
)  # fmt: skip

KINDS: dict[str, Any] = {"float": float, "int": int, "bool": bool, "str": str}


class CallsMethods(Facet):
    """Calls methods of a controller, those that the station allows."""

    @abc.abstractmethod
    async def call(self, method: str, *args: Any) -> Any: ...


class ControllerParameter(BaseModel):
    """One parameter: the calls that read and set it (``get_power`` or ``get_power(0)``; the value
    of a set is the last argument), its range, and its safe value, which is set when the instrument
    is opened, closed or made safe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"[a-z][a-z0-9_]*")
    get: str
    set: str = ""
    kind: Literal["float", "int", "bool", "str"] = "float"
    low: float | None = None
    high: float | None = None
    off: float | bool | None = None

    def param(self) -> Param:
        limits = None if self.low is None or self.high is None else (self.low, self.high)
        return Param(
            self.name, KINDS[self.kind], "as the controller says", self.get, self.set, limits=limits
        )


class SipycoController(Driver, CallsMethods):
    """One target of a controller."""

    class Settings(DriverSettings):
        """What is allowed."""

        target: str = Field(default="", description="of the controller; empty for its only one")
        parameters: tuple[ControllerParameter, ...] = Field(
            default=(), description="what may be read and set: see below"
        )
        methods: tuple[str, ...] = Field(
            default=(), description="what else may be called, by name, from your own code"
        )

    def parameters(self) -> tuple[Param, ...]:
        found = self.settings.parameters
        for one in found:
            for text in filter(None, (one.get, one.set)):
                try:
                    parse_call(text)
                except (ValueError, SyntaxError) as error:
                    raise StationError(
                        f"parameter {one.name!r}: {error}", where=self.name
                    ) from None
            if one.off is not None and not one.set:
                raise StationError(
                    f"parameter {one.name!r} has a safe value and cannot be set", where=self.name
                )
        self.OFF = tuple(  # type: ignore[misc] # of this station
            Off(one.name, one.off, f"{one.name} = {one.off}") for one in found
            if one.off is not None
        )  # fmt: skip
        return tuple(one.param() for one in found)

    def make_codec(self, address: str, tap: Tap | None) -> PcRpcCodec:
        return partial(PcRpcCodec, target=self.settings.target)(
            address, tap=tap, where=self.name, timeout_s=self.settings.reply_timeout_s,
            wanted=lambda name: self.params.wanted.get(name),
        )  # fmt: skip

    async def identify(self) -> Identity:
        """The target is the model. A controller that has ``ping`` must answer it with true."""
        named = {parse_call(c)[0] for p in self.settings.parameters for c in (p.get, p.set) if c}
        missing = sorted((named | set(self.settings.methods)) - self.codec.methods)
        if missing:
            near = difflib.get_close_matches(missing[0], self.codec.methods, 1, 0.5)
            raise IdentityError(
                f"target {self.codec.target!r} has no method {missing[0]!r}", where=self.name,
                hint=f"Did you mean {near[0]!r}?" if near else "",
            )  # fmt: skip
        if "ping" in self.codec.methods and await self.codec.call("ping") is not True:
            raise InstrumentError("the controller does not reach its instrument", where=self.name)
        return Identity("sipyco", self.codec.target, "", self.codec.description)

    async def read(self, param: Param) -> Value:
        value: Value = await self.codec.get(param)
        return param.sensible(value, self.name)

    async def call(self, method: str, *args: Any) -> Any:
        """Call one of ``methods``. LimitError for any other: nothing is sent."""
        if method not in self.settings.methods:
            allowed = ", ".join(self.settings.methods) or "none"
            raise LimitError(
                f"the station does not allow {method!r}", where=self.name,
                hint=f"Allowed in `methods`: {allowed}",
            )  # fmt: skip
        return await self.codec.call(method, *args)
