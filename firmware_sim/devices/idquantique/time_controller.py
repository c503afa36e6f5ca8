"""Emulated ID Quantique Time Controller (ID900, ID1000): SCPI over ZeroMQ, and the DLT service.

Commands as in the vendor's Python examples and ``pqnstack``'s driver. Evidence: manual. Unverified,
chosen here: the text of ``*IDN?``, ranges, power-on values, the words behind ``SCPI_ERR_``, that
``RECord:PPERiod`` 0 means acquisitions of ``DURation`` one after the other 40 ns apart, and that
``RAW:ERRORS?`` counts tags that were lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photonlink.firmware_sim.devices.idquantique.dlt import DEAD_PS, DltRecording, Service
from photonlink.firmware_sim.kit.clicks import LosesEvents, sees
from photonlink.firmware_sim.kit.registers import Refusal, Register, command, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.scpi import ScpiDevice
from photonlink.firmware_sim.kit.settings import DeviceSettings
from photonlink.firmware_sim.wires.messages import ZmqWire
from photonlink.firmware_sim.wires.session import Session, Wire

INPUTS = (1, 2, 3, 4)
LOWRES_PS = 100
FOREVER = 10**18
COINCIDENCES = {6: "12", 7: "13", 8: "14", 3: "23", 4: "24", 5: "34", 13: "123", 14: "124",
                15: "134", 16: "234", 24: "1234"}  # fmt: skip
ON_OFF = ("ON", "OFF")


@dataclass
class TimeControllerSettings(DeviceSettings):
    """model: ID900 or ID1000. pulse_v: height of the pulses at the inputs. counter_unit_s: of
    COUNter:INTEgration (1e-3 or 1e-9). dlt_port: of the service, 0: a free one."""

    model: str = "ID1000"
    pulse_v: float = -0.8
    counter_unit_s: float = 1e-3
    dlt_port: int = 0


def _input(n: int) -> tuple[Register, ...]:
    return (
        Register(f"INPUt{n}:ENABle", "ON", choices=ON_OFF),
        Register(f"INPUt{n}:THREshold", -0.4, -2.0, 2.0, ".3f", "V"),
        Register(f"INPUt{n}:COUPling", "DC", choices=("DC", "AC")),
        Register(f"INPUt{n}:EDGE", "FALLING", choices=("RISING", "FALLING")),
        Register(f"INPUt{n}:SELEct", "UNSHAPED", choices=("UNSHAPED", "SHAPED", "OUTP")),
        Register(f"INPUt{n}:MODE", "HIRES", choices=("HIRES", "LOWRES")),
        Register(f"INPUt{n}:RESYnc", "AUTO"),
        Register(f"INPUt{n}:COUNter:MODE", "ACCUM", choices=("CYCLE", "CYCL", "ACCUM", "ACCU")),
        Register(f"INPUt{n}:COUNter:INTEgration", 1000, 1, FOREVER),
        Register(f"DELAy{n}:LINK", f"INPU{n}"),
        Register(f"DELAy{n}:VALUe", 0, 0, 10**12),
        Register(f"RAW{n}:REF:LINK", "NONE"),
        Register(f"RAW{n}:STOP:LINK", f"TSCO{n}"),
        Register(f"RAW{n}:SEND", "OFF", choices=ON_OFF),
        Register(f"TSCOmbiner{n}:FIR:LINK", f"DELA{n}"),
        Register(f"TSCOmbiner{n}:OPIN", "ONLYFIR"),
        Register(f"TSCOmbiner{n}:OPOUt", "ONLYFIR", choices=("ONLYFIR", "MUTE")),
    )


class TimeController(LosesEvents, ScpiDevice):
    """Four inputs, one recording, the service beside it."""

    Settings = TimeControllerSettings
    IDENTITY = "ID Quantique,{config.model},{serial},2.0.0"
    WIRES = ("zmq",)
    REPLY_END = ""
    JOINER = "\n"
    ALWAYS_REPLY = True
    TICK_S = 0.02
    WORLD = (("pulse_v", float),)
    REGISTERS = (
        Register("DEVIce:RESolution", "HIRES", choices=("HIRES", "LOWRES")),
        Register("DEVIce:CONFiguration:LOAD", "COUNT"),
        Register("RECord:TRIGger:ARM:MODE", "MANUAL"),
        Register("RECord:ENABle", "OFF", choices=ON_OFF),
        Register("RECord:NUMber", "1"),
        Register("RECord:DURation", 10**12, 1, FOREVER),
        Register("RECord:PWIDth", 10**11, 1, FOREVER),
        Register("RECord:PPERiod", 0, 0, FOREVER),
        *(register for n in INPUTS for register in _input(n)),
    )

    def setup(self) -> None:
        super().setup()
        self.pulse_v, self.service = self.config.pulse_v, Service()
        self.recording = DltRecording(self.service)
        self._errors = dict.fromkeys(INPUTS, 0)
        self.place.configure(inputs=len(INPUTS), resolution_ps=1.0, fifo_tags=1 << 22)
        self.applied("")

    def make_wires(self, run_dir: Path) -> dict[str, Wire]:
        wires = super().make_wires(run_dir)
        return {**wires, "dlt": ZmqWire(self._serve_service, port=self.config.dlt_port)}

    @property
    def address(self) -> str:
        """With the service that belongs to it."""
        dlt = self.lines["dlt"].address.removeprefix("zmq://") if self.lines else ""
        return f"{super().address}?dlt={dlt}" if dlt else ""

    async def _serve_service(self, session: Session) -> None:
        while (message := await session.read()) is not None:
            await session.write(self.guard(lambda m=message: self.service.answer(m)) or b"")  # type: ignore[misc]

    def failed(self, refusal: Refusal) -> str:
        words = {"range": "OUT_OF_RANGE", "type": "BAD_PARAMETER", "missing": "MISSING_PARAMETER"}
        return f"SCPI_ERR_{words.get(refusal.kind, 'UNDEFINED_HEADER')}"

    def applied(self, name: str) -> None:
        for n in INPUTS:
            seen = sees(self.registers[f"INPUt{n}:THREshold"], self.pulse_v)
            on = self.registers[f"INPUt{n}:ENABle"] == "ON"
            muted = self.registers[f"TSCOmbiner{n}:OPOUt"] == "MUTE"
            self.place.set_enabled(n - 1, seen and on and not muted)

    def booted(self) -> None:
        self._stop()

    def unplug(self) -> None:
        """The network cable; the service on the host loses the instrument and ends."""
        self._stop()
        self.service.close()
        super().unplug()

    async def stop(self) -> None:
        await super().stop()
        self.service.close()

    def state(self) -> dict[str, Any]:
        return {"streaming": self.recording.playing, "acquisitions": self.recording.acquisitions}

    # ---- readings and commands -----------------------------------------------------------------

    @reading("DEVIce:RESolution:BWIDth")
    def _bin_width(self) -> str:
        return f"{self._unit_ps}TB"

    @property
    def _unit_ps(self) -> int:
        return LOWRES_PS if self.registers["DEVIce:RESolution"] == "LOWRES" else 1

    @reading("INPUt#:HIRES:ERROR")
    def _hires_error(self, n: int) -> int:
        return 0

    @command("DEVIce:SAMPling:RECAlibrate", "RAW#:ERRORS:CLEAR", "INPUt#:COUNter:RESEt")
    def _clear(self, _: str, __: Session, *n: int) -> None:
        """Reset the counters of losses; recalibration has no effect here."""
        self._errors.update(dict.fromkeys(n, 0))

    @reading("RAW#:ERRORS")
    def _raw_errors(self, n: int) -> int:
        return self._errors.get(n, 0)

    def _count(self, rate_hz: float) -> int:
        gate = self.registers["INPUt1:COUNter:INTEgration"] * self.config.counter_unit_s
        counts: float = rate_hz * gate
        return round(counts)

    @reading("INPUt#:COUNter")
    def _counter(self, n: int) -> int:
        return self._count(self.place.rates_hz()[n - 1]) if n in INPUTS else 0

    @reading("TSCOmbiner#:COUNter")
    def _combined(self, n: int) -> int:
        """Singles of 1 to 4; after LOAD COUNT the accidental coincidences of the higher blocks."""
        rates = self.place.rates_hz()
        inputs = [rates[int(i) - 1] for i in COINCIDENCES.get(n, "")]
        return self._count(float(np.prod(inputs)) * 1e-9 ** (len(inputs) - 1)) if inputs else 0

    @reading("RECord:STAGe")
    def _stage(self) -> str:
        return "PLAYING" if self.recording.playing else "STOPPED"

    @command("RECord:PLAY")
    def _play(self, _: str, __: Session) -> None:
        if self.registers["RECord:ENABle"] != "ON":
            raise Refusal("level", "recording is off")
        self.recording.play()
        self.place.start()

    @command("RECord:STOP")
    def _stop_recording(self, _: str, __: Session) -> None:
        self._stop()

    def _stop(self) -> None:
        self.recording.stop()
        self.place.stop()

    def tick(self) -> None:
        if not self.recording.playing:
            return
        read = self.place.read()
        gone = self.lost_of(len(read.time_ps))
        for n in (*read.channel[:gone], *[0] * read.lost):  # the table does not say which input
            self._errors[int(n) + 1] += 1
        r = self.registers
        width, period = r["RECord:PWIDth"], r["RECord:PPERiod"]
        if not period:
            width = r["RECord:DURation"]
            period = width + DEAD_PS
        number = str(r["RECord:NUMber"]).upper()
        most = FOREVER if number == "INF" else int(number if number.isdigit() else 1)
        delays = {n: r[f"DELAy{n}:VALUe"] for n in INPUTS if r[f"RAW{n}:SEND"] == "ON"}
        self.recording.came(read.time_ps[gone:], read.channel[gone:])
        self.recording.advance(read.until_ps, width, period, most, delays, self._unit_ps)
        if not self.recording.playing:
            self.place.stop()


REGISTRATION = Registration(
    "idquantique-time-controller", "tagger", TimeController, "ID Quantique ID900/ID1000, tagger"
)
