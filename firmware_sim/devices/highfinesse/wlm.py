"""Emulated HighFinesse wavemeter: the server program behind the stand-in ``libwlmData.so``.

All functions that QMI 0.54.2 binds exist. Evidence: manual. Unverified, chosen here: interval and
noise of measurements, the level below which there is no signal, pressure and temperature, the
replies of settings without effect here. Light comes to channel 1; the other channels are dark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from photonlink.firmware_sim.kit.library import CallError, LibraryDevice
from photonlink.firmware_sim.kit.registers import command, reading
from photonlink.firmware_sim.kit.registration import Registration
from photonlink.firmware_sim.kit.settings import DeviceSettings

NO_SIGNAL, LOW_SIGNAL, NOT_AVAILABLE, CHANNEL, OUT_OF_RANGE, NO_UNIT = -1, -3, -6, -10, -14, -15
SET_OUT_OF_RANGE, SET_CHANNEL = -3, -10
STOP, MEASURE = 0, 2
WAVELENGTH_1_EVENT, OPERATION_EVENT = 42, 16
LIGHT_NM_THZ = 299_792.458
EV_NM = 1_239.841_984
AIR_INDEX = 1.000_27  # near 1550 nm; the vendor's own formula is not public
SETTINGS = {
    "ExposureNum": 10, "ExposureNumEx": 10.0, "ExposureModeNum": 0, "ExposureMode": False,
    "Exposure": 10, "Exposure2": 10, "ResultMode": 0, "Range": 0, "PulseMode": 0, "PulseDelay": 0,
    "WideMode": 0, "DisplayMode": 0, "FastMode": False, "LinewidthMode": False,
    "SwitcherMode": 0, "AutoCalMode": 0, "Interval": 20, "IntervalMode": False,
    "Background": 0, "AveragingSettingNum": 1, "LinkState": False, "DeviationMode": False,
    "DeviationReference": 0.0, "DeviationSensitivity": 0, "Delay": 0, "Shift": 0, "Reduced": False,
}  # fmt: skip
"""Settings that are kept and handed back, with what they are at first."""


@dataclass
class WlmSettings(DeviceSettings):
    """model_type: 5 is a WS5, 6 a WS6, 7 a WS7.  noise_mhz: rms of a reading."""

    model_type: int = 7
    channels: int = 8
    noise_mhz: float = 2.0


class Wlm(LibraryDevice):
    """One wavemeter with a switch of ``channels`` inputs."""

    TABLE = "wlmData"
    Settings = WlmSettings
    UNBUILT = NOT_AVAILABLE
    WORLD = (("temperature_c", float), ("pressure_mbar", float))

    def setup(self) -> None:
        super().setup()
        self.temperature_c, self.pressure_mbar = 24.5, 1013.0
        self.booted()

    def make_serial(self, seed: int) -> str:
        return str(1000 + seed % 9000)

    def booted(self) -> None:
        self._running, self._active = True, 1
        self._kept: dict[tuple[Any, ...], Any] = {}
        self._used = {1: 1}

    def reboot(self) -> None:
        self.booted()
        self.unplug()
        self.clock.call_later(0.1, self.replug)

    def state(self) -> dict[str, Any]:
        return {"measuring": self._running}

    def method(self, word: str) -> Callable[..., Any] | None:
        """Functions that only store settings, besides those below."""
        found = super().method(word)
        name = word[3:]
        if found is None and name in SETTINGS:
            return self._keep(name) if word.startswith("Set") else self._kept_value(name)
        return found

    def _keep(self, name: str) -> Callable[..., int]:
        def keep(*arguments: Any) -> int:
            if not self.faults.use("ignore-sets"):
                self._kept[(name, *arguments[:-1])] = arguments[-1]
            return 0

        return keep

    def _kept_value(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: self._kept.get((name, *arguments[:-1]), SETTINGS[name])

    # ---- readings ------------------------------------------------------------------------------

    def _lit(self, channel: int) -> None:
        if not 1 <= channel <= self.config.channels:
            raise CallError(CHANNEL)
        if channel != 1 or self.place.power_w < 1e-10:
            raise CallError(NO_SIGNAL)
        if self.place.power_w < 1e-9:
            raise CallError(LOW_SIGNAL)

    @reading("frequency")
    def _thz(self) -> float:
        noise = self.random.gauss(0.0, self.config.noise_mhz * 1e-6)
        return float(LIGHT_NM_THZ / self.place.wavelength_nm + noise)

    @command("GetFrequencyNum")
    def _frequency(self, channel: int, _: float) -> float:
        self._lit(channel)
        return float(self.value("frequency"))

    @command("GetWavelengthNum")
    def _wavelength(self, channel: int, _: float) -> float:
        self._lit(channel)
        return LIGHT_NM_THZ / float(self.value("frequency"))

    @command("GetWavelength")
    def _wavelength_1(self, _: float) -> float:
        return self._wavelength(1, 0.0)

    @command("GetFrequency")
    def _frequency_1(self, _: float) -> float:
        return self._frequency(1, 0.0)

    @command("GetPowerNum")
    def _power_uw(self, channel: int, _: float) -> float:
        self._lit(channel)
        return float(self.place.power_w * 1e6)

    @command("GetTemperature")
    def _temperature(self, _: float) -> float:
        return self.temperature_c

    @command("GetPressure")
    def _pressure(self, _: float) -> float:
        return self.pressure_mbar

    @command("WaitForWLMEvent", "WaitForNextWLMEvent")
    async def _event(self) -> tuple[int, int, int, float]:
        """The next measurement: an event of channel 1."""
        await self.clock.sleep(0.02)
        if not self._running:
            return 1, OPERATION_EVENT, STOP, 0.0
        try:
            return 1, WAVELENGTH_1_EVENT, 0, self._wavelength(1, 0.0)
        except CallError as error:
            return 1, WAVELENGTH_1_EVENT, 0, float(error.code)

    # ---- server and channels -------------------------------------------------------------------

    @command("GetWLMVersion")
    def _version(self, part: int) -> int:
        parts = (self.config.model_type, int(self.serial_number), 1, 2)
        if not 0 <= part < len(parts):
            raise CallError(OUT_OF_RANGE)
        return parts[part]

    @command("GetWLMCount", "GetWLMIndex")
    def _count(self, _: int) -> int:
        return 1

    @command("GetChannelsCount")
    def _channels(self, _: int) -> int:
        return int(self.config.channels)

    @command("Instantiate", "GetPattern", "GetPatternNum", "GetAnalysis")
    def _no_pointer(self, *_: Any) -> int:
        return 0

    @command("ControlWLM", "ControlWLMEx")
    def _control(self, *_: Any) -> int:
        return 1

    @command("ClearWLMEvents", "LinkSettingsDlg")
    def _nothing(self) -> None:
        """Nothing to do."""

    @command("Operation")
    def _operate(self, what: int) -> int:
        if not self.faults.use("ignore-sets"):
            self._running = what != STOP
        return 0

    @command("GetOperationState")
    def _operating(self, _: int) -> int:
        return MEASURE if self._running else STOP

    @command("SetActiveChannel")
    def _activate(self, _mode: int, _port: int, channel: int, _: int) -> int:
        if not 1 <= channel <= self.config.channels:
            raise CallError(SET_CHANNEL)
        self._active = channel
        return 0

    @command("GetActiveChannel")
    def _activated(self, _mode: int, _: int) -> tuple[int, int]:
        return self._active, 1

    @command("SetSwitcherSignalStates")
    def _use(self, channel: int, use: int, _show: int) -> int:
        if not 1 <= channel <= self.config.channels:
            raise CallError(SET_CHANNEL)
        self._used[channel] = int(bool(use))
        return 0

    @command("GetSwitcherSignalStates")
    def _using(self, channel: int) -> tuple[int, int, int]:
        use = self._used.get(channel, 0)
        return 0, use, use

    @command("ConvertUnit")
    def _convert(self, value: float, source: int, target: int) -> float:
        """Through vacuum nanometres. Units: 0 vacuum nm, 1 air nm, 2 THz, 3 per cm, 4 eV."""
        if not {source, target} <= set(range(5)) or value <= 0:
            raise CallError(NO_UNIT)
        to_nm = (value, value * AIR_INDEX, LIGHT_NM_THZ / value, 1e7 / value, EV_NM / value)
        nm = to_nm[source]
        return (nm, nm / AIR_INDEX, LIGHT_NM_THZ / nm, 1e7 / nm, EV_NM / nm)[target]


REGISTRATION = Registration("highfinesse-wlm", "wavemeter", Wlm, "HighFinesse wavemeter WS5…WS8")
