"""qutools quTAU, sold by ID Quantique as ID800 and ID801: time tagger, eight inputs, 81 ps.

The library is quTAG's in an older form (``idq-id801`` 1.0.2); see :mod:`.qutag` for common and
unverified points. Whether an input has signal conditioning depends on the unit's type.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from photonlink.drivers.qutools.qutag import Qutag
from photonlink.drivers.qutools.tdclib import OLDER_PROTOTYPES, Signal
from photonlink.hal.errors import IdentityError, LimitError
from photonlink.hal.registry import Registration
from photonlink.hal.settings import DriverSettings

INSTRUMENT = Registration(
    id="qutools.qutau",
    title="qutools quTAU, ID Quantique ID800 and ID801: time tagger, eight inputs, 81 ps",
    driver="Qutau",
    facets=("StreamsTags",),
    transports=("lib",),
    evidence="manual",
    emulator="qutools-qutau",
    case={"reply_timeout_s": 2.0, "first_channel": 0, "loss": "flagged"},
)

TYPES = {0: "1A", 1: "1B", 2: "1C"}


class Qutau(Qutag):
    """One quTAU, ID800 or ID801."""

    class Settings(DriverSettings):
        """Level, edge and termination hold for all inputs that are used."""

        reply_timeout_s: float = Field(default=5.0, gt=0, le=60)
        inputs: tuple[int, ...] = Field(default=(), description="0-based; none: all of them")
        level_v: float | None = Field(
            default=None, ge=-2, le=3, description="threshold, V (types 1B, 1C); none leaves it"
        )
        edge: Literal["rising", "falling"] = Field(default="rising", description="or `falling`")
        termination: bool = Field(default=False, description="50 Ω at the inputs")
        delays_ps: dict[int, int] = Field(
            default_factory=dict, description="input → delay, ±100 000 ps"
        )

    PROTOTYPES = OLDER_PROTOTYPES
    INPUTS = 8
    _kind = 0

    @property
    def inputs(self) -> int:
        return self.INPUTS

    def model(self, kind: int) -> str:
        if kind not in TYPES:
            raise IdentityError(
                "no quTAU, ID800 or ID801", where=self.name, seen=f"device type {kind}"
            )
        self._kind = kind
        return f"quTAU/ID801 type {TYPES[kind]}"

    def apply(self) -> None:
        lib, settings = self.codec, self.settings
        if settings.level_v is not None and self._kind == 0:
            raise LimitError(
                "level_v needs signal conditioning, which a unit of type 1A has not",
                where=self.name,
                hint="Leave level_v out",
            )
        lib.invoke("TDC_enableChannels", sum(1 << number for number in self.used()))
        if self._kind == 0:
            lib.invoke("TDC_switchTermination", int(settings.termination))
        for number in self.used() if settings.level_v is not None else ():
            lib.invoke(
                "TDC_configureSignalConditioning",
                number,
                Signal.MISC,
                int(settings.edge == "rising"),
                int(settings.termination),
                settings.level_v,
            )
        unit = self._resolution_ps
        delays = [round(settings.delays_ps.get(n, 0) / unit) for n in range(self.INPUTS)]
        lib.invoke("TDC_setChannelDelays", lib.ffi.new("int[8]", delays))

    def counter(self, number: int) -> int:
        return number
