"""Quantum Opus amplifier and bias module of one nanowire, in an SRS SIM900 mainframe.

Dialect: QMI 0.54 ``quantum_opus/amp_sim_module.py`` (one client, so everything is read back). Not
tried on hardware. The module counts in steps of its converters: 25 µA and 1.1 or 5 V are 65535.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from photonlink.drivers.quantumopus.sim900 import Sim900Codec
from photonlink.hal.driver import Off
from photonlink.hal.errors import IdentityError
from photonlink.hal.facets import Identity
from photonlink.hal.nanowires import NanowireDriver, NanowireSettings
from photonlink.hal.params import Param
from photonlink.hal.registry import Registration

INSTRUMENT = Registration(
    id="quantumopus.ampsim",
    title="Quantum Opus amplifier module: bias of a nanowire, in a SIM900",
    driver="AmpSim",
    facets=("Biased",),
    transports=("serial", "tcp"),
    evidence="manual",
    emulator="quantumopus-ampsim",
    settings={"bias_1_a": 18e-6, "slot": 3, "settle_s": 1.0},
    case={"steady": ("reset_ms", 50.0), "reply_timeout_s": 0.8},
)
STEPS = 65_535
FULL_A, LOW_GAIN_V = 25e-6, 5.0


class AmpSim(NanowireDriver):
    """One module. ``open`` takes its bias off and makes the voltage's range the wide one."""

    PARAMS = (
        Param("bias_{ch}_a", float, "bias of the nanowire", "+B?", "+B{};", "A",
              limits=(0.0, FULL_A), scale=STEPS / FULL_A, tolerance=FULL_A / STEPS,
              channels=(1,), setting="bias_{ch}_a", deferred=True),
        Param("voltage_{ch}_v", float, "voltage across the nanowire", "+C?", unit="V",
              scale=STEPS / LOW_GAIN_V, channels=(1,), of_clicks=True),
        Param("auto_reset", bool, "the module undoes a latch by itself", "+E?", "+E{};",
              setting="auto_reset"),
        Param("reset_ms", float, "how long its reset takes the bias away", "+D?", "+D{};", "ms",
              limits=(0.0, 2550.0), scale=0.1, tolerance=5.0, setting="reset_ms"),
    )  # fmt: skip
    OFF = (Off("bias_1_a", 0.0, "bias off"),)
    CODEC = Sim900Codec

    class Settings(NanowireSettings):
        """Beside the parameters."""

        slot: int = Field(default=1, ge=1, le=8, description="slot of the module in the SIM900")

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.codec.port = self.settings.slot

    async def identify(self) -> Identity:
        """The mainframe's identity, for its serial number; then the module's own."""
        frame = await self.codec.identify(key="SIM900")
        text = await self.codec.module("+A?", str)
        if "opus" not in text.lower():
            raise IdentityError("another module is in this slot", where=self.name, seen=text[:80],
                                hint="Set slot to where the module is")  # fmt: skip
        await self.codec.tell(f'SNDT {self.settings.slot},"+C1;"')
        return Identity("Quantum Opus", text, f"{frame.serial}/{self.settings.slot}")
