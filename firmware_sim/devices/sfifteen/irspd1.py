"""Emulated S-Fifteen IRSPD1: an InGaAs single-photon detector on a serial line.

Commands follow ``facts/instruments.md`` 4.1 (evidence: manual level only). Unverified, chosen here:
the whole ``*idn?`` line, number formats, limits, power-on values, the answer to an unknown command,
the unit of ``delay`` (taken as hold-off in ns) and of ``pvolt`` (Peltier voltage), and that other
commands wait while counts are integrated. Diode figures are typical of InGaAs/InP avalanche diodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photonlink.firmware_sim.devices.common import Cable, ReplyFaults, settings, unknown
from photonlink.firmware_sim.places import DetectorPlace
from photonlink.firmware_sim.wires.pty import PtyWire

TICK_S = 0.05
COMMAND_LIMIT = 1024
COOLING_K_PER_V = 20.0
HELP = """\
*IDN? HELP SAVE
HVOLT v THRESHVOLT v CONSTP x CONSTI x LOOP 0|1 PVOLT v
TIME ms DELAY ns SETTEMP c; each with ? reads back
TEMP? COUNTS?"""


@dataclass
class Irspd1Settings:
    """Settings of the bench file.

    serial_number: by default made from the seed.  breakdown_v: at reference_c.  temperature_c: of
    the diode when the program starts (the unit has been cold since the morning).
    """

    serial_number: str = ""
    breakdown_v: float = 60.0
    breakdown_v_per_k: float = 0.1
    reference_c: float = -30.0
    temperature_c: float = -30.0
    ambient_c: float = 22.0
    settling_s: float = 3.0
    threshold_v: float = 0.05


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting: saved value, range, digits after the point (0: printed as an integer)."""

    value: float
    low: float
    high: float
    digits: int


def _entries(config: Irspd1Settings) -> dict[str, Entry]:
    return {
        "hvolt": Entry(0.0, 0.0, 90.0, 3),
        "threshvolt": Entry(config.threshold_v, -2.0, 2.0, 4),
        "constp": Entry(0.1, 0.0, 100.0, 4),
        "consti": Entry(0.01, 0.0, 100.0, 4),
        "loop": Entry(1.0, 0.0, 1.0, 0),
        "pvolt": Entry(0.0, 0.0, 4.0, 3),
        "time": Entry(1000.0, 1.0, 65535.0, 0),
        "settemp": Entry(config.temperature_c, -60.0, 40.0, 3),
        "delay": Entry(5000.0, 0.0, 1e6, 0),
    }


class Irspd1:
    """The instrument: settings, a diode that takes time to cool, one command at a time."""

    def __init__(self, name: str, config: Irspd1Settings, port: DetectorPlace, seed: int) -> None:
        self.name = name
        self.address = ""
        self._config, self._port = config, port
        self._serial = config.serial_number or f"{seed % 10**6:06}"
        self._random = random.Random(seed)  # noqa: S311 - reading noise
        self._faults = ReplyFaults(seed)
        self._cable = Cable(self._unplug, self._plug)
        self._wire: PtyWire | None = None
        self._entries = _entries(config)
        self._saved = {n: e.value for n, e in self._entries.items()}
        self._values = dict(self._saved)
        self._ambient_c = config.ambient_c
        self._temperature = config.temperature_c
        self._stuck = False
        self._at = 0.0
        self._input = bytearray()
        self._commands: deque[str] = deque(maxlen=256)
        self._counting: asyncio.Task[None] | None = None
        self._ticker: asyncio.Task[None] | None = None

    # -- device protocol -----------------------------------------------------------------------

    async def start(self, run_dir: Path) -> None:
        self._at = time.monotonic()
        link = run_dir / self.name
        self._wire = PtyWire(link, self._received)
        self._wire.plug()
        self.address = f"serial://{link}"
        self._apply()
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        self._cable.cancel()
        for task in (self._ticker, self._counting):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._unplug()

    def safe_off(self) -> None:
        self._values["hvolt"] = 0.0
        self._apply()

    def status(self) -> dict[str, Any]:
        return {
            "serial_number": self._serial,
            "plugged": self._wire is not None and self._wire.plugged,
            "bias": self._values["hvolt"] > 0.0,
            "bias_v": self._values["hvolt"],
            "excess_v": self._excess_v,
            "temperature_c": self._temperature,
            "clicks_total": self._port.clicks_total(),
        }

    def control(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Reply and cable faults; ``reboot``; ``tec-stuck`` (cooling fails); set: ambient_c,
        serial_number (another unit)."""
        fault = command.get("fault")
        if self._cable.control(command):
            pass
        elif self._faults.arm(command):
            self._stuck = self._stuck and fault != "none"
        elif fault == "reboot":
            self._reboot()
        elif fault == "tec-stuck":
            self._stuck = True
        elif isinstance(command.get("set"), Mapping):
            for key, value in command["set"].items():
                if key == "ambient_c":
                    self._ambient_c = float(value)
                elif key == "serial_number":
                    self._serial = str(value)
                else:
                    raise unknown(self.name, command, "ambient_c, serial_number")
        else:
            raise unknown(self.name, command, "reply and cable faults, reboot, tec-stuck, set")
        return self.status()

    def _plug(self) -> None:
        if self._wire is not None:
            self._wire.plug()

    def _unplug(self) -> None:
        """The unit has its own supply: settings, bias and cooling stay as they are."""
        if self._wire is not None:
            self._wire.unplug()

    def _reboot(self) -> None:
        """Saved settings come back; the bias never does by itself."""
        if self._counting is not None:
            self._counting.cancel()
        self._commands.clear()
        self._input.clear()
        self._values = {**self._saved, "hvolt": 0.0}
        if self._wire is not None:
            self._wire.discard()
        self._apply()

    # -- diode ---------------------------------------------------------------------------------

    @property
    def _excess_v(self) -> float:
        """Bias above breakdown, which rises about 0.1 V per kelvin in InGaAs/InP diodes."""
        c = self._config
        breakdown = c.breakdown_v + c.breakdown_v_per_k * (self._temperature - c.reference_c)
        return self._values["hvolt"] - breakdown

    def _settle(self) -> None:
        """First-order approach to the set point (loop) or to what the Peltier voltage reaches."""
        now = time.monotonic()
        step, self._at = now - self._at, now
        coldest = self._ambient_c - COOLING_K_PER_V * self._entries["pvolt"].high
        if self._stuck:
            target = self._ambient_c
        elif self._values["loop"] and (self._values["constp"] or self._values["consti"]):
            target = min(max(self._values["settemp"], coldest), self._ambient_c)
        else:
            target = self._ambient_c - COOLING_K_PER_V * self._values["pvolt"]
        self._temperature += (target - self._temperature) * -math.expm1(
            -step / self._config.settling_s
        )

    def _apply(self) -> None:
        """Tell the bench what settings and temperature mean."""
        self._settle()
        self._port.set_temperature_c(self._temperature)
        self._port.set_excess_bias_v(self._excess_v)
        self._port.set_threshold_mv(abs(self._values["threshvolt"]) * 1000.0)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._apply()

    # -- commands ------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        self._input += data
        *lines, rest = re.split(rb"[;\r\n]", self._input)
        self._input = bytearray(rest[-COMMAND_LIMIT:])
        texts = (line.decode("ascii", "replace").strip() for line in lines)
        self._commands.extend(t for t in texts if t)
        self._run()

    def _run(self) -> None:
        while self._commands and self._counting is None:
            self._obey(self._commands.popleft())

    def _obey(self, command: str) -> None:
        word, _, argument = command.lower().partition(" ")
        argument = argument.strip()
        if word == "counts?" and not argument:
            self._counting = asyncio.create_task(self._count())
            self._counting.add_done_callback(self._counted)
        elif word.endswith("?") and not argument:
            self._reply(self._query(word[:-1]), command)
        elif word == "help" and not argument:
            self._reply(HELP.replace("\n", "\r\n"), command)
        elif word == "save" and not argument:
            self._saved = dict(self._values)
        elif not self._faults.ignore_sets and not self._change(word, argument):
            self._reply("Unknown command", command)

    def _query(self, name: str) -> str:
        if name == "*idn":
            return f"S-Fifteen Instruments SPD IRSPD1 {self._serial}"
        if name == "temp":
            self._settle()
            return f"{self._temperature + self._random.gauss(0.0, 0.005):.3f}"
        entry = self._entries.get(name)
        if entry is None:
            return "Unknown command"
        value = self._values[name]
        if name == "pvolt" and self._values["loop"]:  # the loop drives the Peltier itself
            value = min(max((self._ambient_c - self._temperature) / COOLING_K_PER_V, 0.0), 4.0)
        return f"{value:.{entry.digits}f}"

    def _change(self, word: str, argument: str) -> bool:
        """Execute a set. A value out of range is ignored, as sets have no reply to refuse with."""
        entry = self._entries.get(word)
        try:
            value = float(argument)
        except ValueError:
            return False
        if entry is None:
            return False
        if entry.low <= value <= entry.high:
            self._values[word] = value if entry.digits else float(round(value))
            if word == "delay":
                self._port.set_dead_time_s(value * 1e-9)
            self._apply()
        return True

    def _reply(self, text: str, command: str) -> None:
        if self._wire is not None:
            self._faults.send(f"{text}\r\n".encode(), f"{command}\r\n".encode(), self._wire.send)

    async def _count(self) -> None:
        """Clicks during ``time`` ms; the port's totals move in slices, so both ends lag alike."""
        before = self._port.clicks_total()
        await asyncio.sleep(self._values["time"] / 1000.0)
        self._reply(str(self._port.clicks_total() - before), "counts?")

    def _counted(self, task: asyncio.Task[None]) -> None:
        self._counting = None
        if not task.cancelled():
            task.result()
            self._run()


def create(name: str, config: Mapping[str, Any], port: Any, seed: int) -> Irspd1:
    """Factory for the bench. ValueError names an unknown setting."""
    return Irspd1(name, settings(Irspd1Settings, name, config), port, seed)
