"""Emulated PicoQuant Taiko PDL M1 with one laser head, behind a stand-in of ``PDLM_Lib``.

Functions, status bits, error numbers: the vendor's public header and demos. Evidence: manual.
Unverified, chosen here: which error a power set while locked gives (-43), that the soft lock is
closed at power-on, the head (1550 nm, 5 mW mean at 40 MHz, 0.1 nm/K), queued errors, that pulses
need at least one permille. Functions with structures answer FUNCTION_NOT_IMPLEMENTED_YET.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from photonlink.firmware_sim.kit.faults import fault
from photonlink.firmware_sim.kit.laser import LaserDevice, LaserSettings
from photonlink.firmware_sim.kit.library import CallError, LibraryDevice
from photonlink.firmware_sim.kit.registers import Refusal, Register, command
from photonlink.firmware_sim.kit.registration import Registration

ILLEGAL, SET_FAILED, EMPTY_QUEUE, NOT_BUILT, WRONG_SERIAL = -6, -43, -30, -9999, -18
CW, PULSE, BURST = range(3)
LOCKED_BY_KEY, LOCKED_BY_INTERLOCK, SOFT_LOCK, HEAD_MISSING = 1 << 25, 1 << 27, 1 << 24, 1 << 12
BITS = {12: "laser head missing", 24: "soft lock", 25: "key lock", 27: "interlock"}
FREQUENCY_HZ = (1_000_000, 100_000_000)
MAX_W = {"Pulse": 5e-3, "Cw": 20e-3}
FULL_HZ, NM, NM_PER_K = 40e6, 1550.0, 0.1
FEATURES = 0x1 | 0x10 | 0x100  # continuous, bursts, tunable


def scaled(celsius: float, scale: int) -> float:
    """°C as °C, °F or K. CallError for another scale."""
    if scale not in (0, 1, 2):
        raise CallError(ILLEGAL)
    return (celsius, celsius * 1.8 + 32.0, celsius + 273.15)[scale]


class EmulatedTaiko(LaserDevice, LibraryDevice):
    """Registers carry the name of their functions without ``PDLM_Get`` and ``PDLM_Set``."""

    Settings = LaserSettings
    TABLE = "pdlm"
    UNBUILT = NOT_BUILT
    WORLD = (*LaserDevice.WORLD, ("head_missing", bool))
    REGISTERS = (
        Register("SoftLock", 1, 0, 1, volatile=True),
        Register("LaserMode", PULSE, CW, BURST),
        Register("Frequency", 40_000_000, *FREQUENCY_HZ),
        Register("PulsePowerPermille", 100, 0, 1000),
        Register("CwPowerPermille", 100, 0, 1000),
        Register("LDHPulsePowerTable", 0, 0, 1),
        Register("TriggerMode", 0, 0, 2),
        Register("TriggerLevel", 0.0, -1.0, 1.0),
        Register("FastGate", 0, 0, 1),
        Register("FastGateImp", 0, 0, 1),
        Register("SlowGate", 0, 0, 1),
        Register("ExclusiveUI", 0, 0, 1),
        Register("TempScale", 0, 0, 2),
        Register("LHTargetTemp", 25.0, 15.0, 40.0),
        Register("LHFan", 1, 0, 1),
        Register("BurstLength", 2, 2, 16_777_214),
        Register("BurstPeriod", 4, 3, 16_777_215),
    )
    head_missing = False

    def setup(self) -> None:
        super().setup()
        self._queued: list[int] = []

    def method(self, word: str) -> Callable[..., Any] | None:
        """A method of its own, or a register's Get and Set."""
        own = super().method(word)
        name = word[len("PDLM_Get") :]
        if own is not None or name not in self.registers:
            return own
        if word.startswith("PDLM_Get"):
            return lambda *_: self.registers[name]
        return partial(self._set, name)

    def _set(self, name: str, _: int, value: Any) -> None:
        if name.endswith("PowerPermille") and self._locked():
            raise CallError(SET_FAILED)
        try:
            self.change(name, value)
        except Refusal:
            raise CallError(ILLEGAL) from None

    # ---- light ---------------------------------------------------------------------------------

    def _status(self) -> int:
        r = self.registers
        return (
            (LOCKED_BY_KEY if self.key_locked else 0)
            | (LOCKED_BY_INTERLOCK if self.interlock_open else 0)
            | (HEAD_MISSING if self.head_missing else 0)
            | (SOFT_LOCK if r["SoftLock"] else 0)
            | (1 << 8 if r["ExclusiveUI"] else 0)
            | (1 << 31 if self._queued else 0)
        )

    @property
    def blocked(self) -> bool:
        return super().blocked or self.head_missing

    def _locked(self) -> bool:
        return self.blocked or bool(self.registers["SoftLock"])

    def _watt(self, kind: str) -> float:
        """What the settings of one mode mean."""
        watt = MAX_W[kind] * self.registers[f"{kind}PowerPermille"] / 1000.0
        return float(watt * self.registers["Frequency"] / FULL_HZ if kind == "Pulse" else watt)

    def asked(self) -> tuple[float, float]:
        r = self.registers
        nm = NM + NM_PER_K * (r["LHTargetTemp"] - 25.0)
        watt = self._watt("Cw" if r["LaserMode"] == CW else "Pulse")
        if r["LaserMode"] == BURST:
            watt *= min(r["BurstLength"] / r["BurstPeriod"], 1.0)
        return 0.0 if self._locked() else watt * 1e3, nm

    def extinguish(self) -> None:
        self.registers.put("SoftLock", 1)

    @fault("queued-error", "the device reports an error of its hardware", "code")
    def _queue_error(self, order: Mapping[str, Any]) -> None:
        self._queued.append(int(order.get("code", -1001)))

    # ---- functions -----------------------------------------------------------------------------

    @command("PDLM_OpenDevice", "PDLM_OpenGetSerNumAndClose")
    def _open(self, _: int, wanted: bytes) -> str:
        text = wanted.partition(b"\0")[0].decode("latin-1")
        if text not in ("", self.serial_number):
            raise CallError(WRONG_SERIAL)
        return self.serial_number

    @command("PDLM_CloseDevice", "PDLM_SetHWND")
    def _nothing(self, *_: Any) -> None:
        return

    @command("PDLM_DecodeError", "PDLM_GetQueuedErrorString")
    def _error(self, *given: int) -> Any:
        queued = len(given) == 2 and given[0] in range(8) and given[1] < 0
        text = self.library.errors.get(given[1] if queued else given[0], "unknown error")
        return text if queued else (text, len(text))

    @command("PDLM_DecodeSystemStatus")
    def _status_text(self, state: int, _: int) -> str:
        return "; ".join(text for bit, text in BITS.items() if state >> bit & 1)

    @command("PDLM_GetFWVersion", "PDLM_GetFPGAVersion", "PDLM_GetLHVersion")
    def _version(self, *_: int) -> str:
        return "1.2.0"

    @command("PDLM_GetHardwareInfo", "PDLM_GetUSBStrDescriptor")
    def _hardware(self, *_: int) -> str:
        return "PDL-M1 Taiko"

    @command("PDLM_GetLHFeatures")
    def _features(self, _: int) -> int:
        return FEATURES

    @command("PDLM_GetSystemStatus")
    def _system_status(self, _: int) -> int:
        return self._status()

    @command("PDLM_GetLocked")
    def _is_locked(self, _: int) -> int:
        return int(self._locked())

    @command("PDLM_GetQueuedError")
    def _queued_error(self, _: int) -> int:
        if not self._queued:
            raise CallError(EMPTY_QUEUE)
        return self._queued.pop(0)

    @command("PDLM_GetFrequencyLimits")
    def _frequency_limits(self, _: int) -> tuple[int, int]:
        return FREQUENCY_HZ

    @command("PDLM_SetBurst")
    def _set_burst(self, index: int, length: int, period: int) -> None:
        if period < length + 1:
            raise CallError(ILLEGAL)
        self._set("BurstLength", index, length)
        self._set("BurstPeriod", index, period)

    @command("PDLM_GetBurst")
    def _burst(self, _: int) -> tuple[int, int]:
        return self.registers["BurstLength"], self.registers["BurstPeriod"]

    @command("PDLM_GetTriggerLevelLimits")
    def _level_limits(self, _: int) -> tuple[float, float]:
        return -1.0, 1.0

    @command("PDLM_GetLHTargetTempLimits")
    def _temperature_limits(self, _: int, scale: int) -> tuple[float, float]:
        return scaled(15.0, scale), scaled(40.0, scale)

    @command("PDLM_SetLHTargetTemp")
    def _set_temperature(self, index: int, scale: int, value: float) -> None:
        zero, degree = scaled(0.0, scale), scaled(1.0, scale) - scaled(0.0, scale)
        self._set("LHTargetTemp", index, round((value - zero) / degree, 1))

    @command("PDLM_GetLHTargetTemp", "PDLM_GetLHCurrentTemp")
    def _temperature(self, _: int, scale: int) -> float:
        return scaled(self.registers["LHTargetTemp"], scale)

    @command("PDLM_GetLHCaseTemp")
    def _case(self, _: int, scale: int) -> float:
        return scaled(28.0, scale)

    @command("PDLM_GetLHWavelength")
    def _wavelength(self, _: int) -> float:
        return self.asked()[1]

    @command("PDLM_GetPulsePowerLimits")
    def _pulse_limits(self, _: int) -> tuple[float, float]:
        return 0.0, MAX_W["Pulse"] * self.registers["Frequency"] / FULL_HZ

    @command("PDLM_GetCwPowerLimits")
    def _cw_limits(self, _: int) -> tuple[float, float]:
        return 0.0, MAX_W["Cw"]

    @command("PDLM_GetPulsePower")
    def _pulse_watt(self, _: int) -> float:
        return self._watt("Pulse")

    @command("PDLM_GetCwPower")
    def _cw_watt(self, _: int) -> float:
        return self._watt("Cw")

    @command("PDLM_SetPulsePower")
    def _set_pulse_watt(self, index: int, watt: float) -> None:
        self._set("PulsePowerPermille", index, 1000 * watt / self._pulse_limits(0)[1])

    @command("PDLM_SetCwPower")
    def _set_cw_watt(self, index: int, watt: float) -> None:
        self._set("CwPowerPermille", index, 1000 * watt / MAX_W["Cw"])

    @command("PDLM_GetPulseShape")
    def _shape(self, _: int) -> int:
        return 0


REGISTRATION = Registration(
    "picoquant-taiko", "pump", EmulatedTaiko, "PicoQuant Taiko PDL M1, pulsed diode laser"
)
