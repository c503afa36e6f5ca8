"""S-Fifteen IRSPD1: an InGaAs single-photon detector, over its USB serial line.

Dialect: the subset that the vendor's ``s15lib`` 0.3.0 uses (``single_photon_detector.py``). Not
verified on hardware: the full ``*idn?`` text, ranges of voltages, the meaning of ``pvolt`` (taken
as the Peltier drive), and whether ``hvolt?`` is a measurement; its read-back is therefore given 1
V.
"""

from __future__ import annotations

from functools import partial

from photonlink.drivers.sfifteen.identity import identify
from photonlink.hal.codecs.lines import LineCodec, Nonce
from photonlink.hal.driver import Driver, Off
from photonlink.hal.facets import Biased, Cools, CountsPhotons, Identity, PhotonCounts
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="sfifteen.irspd1",
    title="S-Fifteen IRSPD1: InGaAs single-photon detector",
    driver="Irspd1",
    facets=("Biased", "Cools", "CountsPhotons", "HasTemperature"),
    transports=("serial",),
    usb=("name:S-Fifteen_Instruments*",),
    evidence="manual",
    emulator="sfifteen-irspd1",
    settings={"bias_v": 62.0},
    case={"place": "alice.h", "steady": ("gate_ms", 1000)},
)

_OWN = "not published: the unit has its own range"
PARAMS = (
    Param("bias_v", float, "bias of the diode; 0 is off", "hvolt?", "hvolt {}", "V",
          limits=(0.0, 300.0), family=_OWN, plausible=(-5.0, 1_000.0), tolerance=1.0, settle_s=3.0,
          setting="bias_v", deferred=True, required=True),
    Param("threshold_v", float, "discriminator level", "threshvolt?", "threshvolt {}", "V",
          limits=(-5.0, 5.0), family=_OWN, tolerance=0.01, setting="threshold_v"),
    Param("temperature_act_c", float, "temperature of the diode", "temp?", unit="°C"),
    Param("temperature_set_c", float, "temperature asked for; the setting closes the loop too",
          "settemp?", "settemp {}", "°C", limits=(-100.0, 40.0), family=_OWN, tolerance=0.1,
          setting="temperature_c"),
    Param("temperature_loop", bool, "temperature loop closed", "loop?", "loop {}"),
    Param("loop_p", float, "proportional constant of the loop", "constp?", "constp {}"),
    Param("loop_i", float, "integral constant of the loop", "consti?", "consti {}"),
    Param("peltier_v", float, "Peltier drive", "pvolt?", unit="V"),
    Param("gate_ms", int, "gate of a count", "time?", "time {}", "ms", limits=(1, 65_535),
          plausible=(0, 1e7)),
)  # fmt: skip
_COUNTS = Param("counts", int, "clicks", "counts?", plausible=(0, 1e10))
GATE_MARGIN_S = 0.6
"""The reply to ``counts?`` is due 0.1 s after the gate; a busy host gets half a second more."""


class Irspd1(Driver, Biased, Cools, CountsPhotons):
    """One detector. ``open`` takes the bias off; ``set_bias(True)`` applies ``bias_v``."""

    PARAMS = PARAMS
    OFF = (Off("bias_v", 0.0, "bias off"),)
    CODEC = partial(
        LineCodec,
        question_end=";",
        leading=True,
        resync=Nonce(set="time {}", get="time?", param="gate_ms", default=1000),
    )

    async def identify(self) -> Identity:
        where = f"{self.name} ({self.address})"
        parse = partial(identify, key="SPD", model="IRSPD1", where=where)
        identity: Identity = await self.codec.ask("*idn?", parse)
        return identity

    async def configure(self) -> None:
        await super().configure()
        if "temperature_set_c" in self.params.wanted:
            await self.set_cooling(True)
        await self.set("gate_ms", self.params.wanted.get("gate_ms", 1000))

    async def set_bias(self, on: bool, channel: int | None = None) -> None:
        """Bias on (``bias_v`` of the settings) or off, confirmed by ``hvolt?``."""
        await self.set("bias_v", self.settings.bias_v if on else 0.0)

    async def set_cooling(self, on: bool) -> None:
        await self.set("temperature_loop", on)

    async def temperature_c(self, channel: int = 1) -> float:
        return await self.params.get_float("temperature_act_c")

    async def count(self, gate_s: float) -> PhotonCounts:
        """Clicks within ``gate_s`` (1 ms to 65 s), counted by the detector itself."""
        gate_ms = self.params["gate_ms"].whole(gate_s * 1000, where=self.name)
        self.params.wanted["gate_ms"] = gate_ms
        # One write, so that no other question can change the gate time before the count.
        counts = await self.codec.ask(
            f"time {gate_ms};counts?",
            lambda text: int(_COUNTS.parse(text, self.name)),
            timeout_s=gate_ms / 1000 + GATE_MARGIN_S + self.settings.reply_timeout_s,
        )
        return PhotonCounts({1: counts}, gate_ms / 1000)
