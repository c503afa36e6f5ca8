"""A driver's declarations (``PARAMS``) against its emulator's (registers) and its behaviour.

For every parameter that can be set and read, both limits, or each choice, are set through the
driver over the wire, must be accepted and read back, and must reach the emulator as the same
quantity: the test looks for the register that changed, not for its name. The emulator must refuse
values beyond the limits too. The declarations may differ only where the driver gives a reason
(``Param.family``, ``ours``, ``only``); a reason that no longer holds fails the test as well.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import pytest
from contract_cases import CASES
from emulated_unit import emulated

from photonlink.firmware_sim.kit.registers import Register
from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.params import Param, Value

FACTOR = {"m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9, "p": 1e-12, "k": 1e3, "M": 1e6, "G": 1e9}
BASE = {"V", "A", "W", "s", "Hz", "m", "dB", "dBm", "°C", "C", "K", "%", "deg", "Pa", "ohm"}
SPEED = 100.0
"""Of the emulated clock: motors and coolers."""
DEADLINE_S, PATIENCE_S = 2.0, 0.3
OF_A_SWITCH = {"ON": "1", "OFF": "0", "TRUE": "1", "FALSE": "0"}


def si(number: float, unit: str) -> float | None:
    """The factor to the base unit; None for an unknown unit."""
    if unit in BASE:
        return number
    if len(unit) > 1 and unit[0] in FACTOR and unit[1:] in BASE:
        return number * FACTOR[unit[0]]
    return None


def close(a: float, b: float, tolerance: float = 0.0) -> bool:
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=max(abs(tolerance), 1e-12))


def _word(value: Any) -> str:
    text = str(int(value)) if isinstance(value, bool) else str(value).strip('"').upper()
    return OF_A_SWITCH.get(text, text)


def same(param: Param, value: Value, register: Register, held: Any) -> bool:
    """Whether the emulator's value, in its own unit, equals the value set through the driver."""
    if param.kind is bool:
        return True  # a switch has no unit, and may be one bit of a register
    if param.kind is not float and not (param.kind is int and param.unit):
        return _word(param.wire(value)) == _word(held)
    if param.at_least:
        return float(held) >= float(value)
    ours, theirs = si(float(value), param.unit), si(float(held), register.unit)
    if ours is not None and theirs is not None:
        return close(ours, theirs, si(param.tolerance, param.unit) or 0.0)
    return close(float(param.wire(value)), float(held), param.tolerance * param.scale)


def steps(param: Param) -> tuple[Value, ...]:
    """Values to try: the choices, both states, or both limits."""
    if param.only:
        return param.only
    if param.choices is not None:
        return tuple(param.choices)
    if param.kind is bool:
        return (True, False)
    return tuple(param.kind(x) for x in param.limits or ())


def beyond(param: Param) -> tuple[Value, ...]:
    """Values a little below the lower and above the upper limit."""
    if param.limits is None:
        return ()
    low, high = param.limits
    found = []
    for limit, sign in ((low, -1), (high, 1)):
        least = 1.0 if param.kind is int else 0.01 * (abs(limit) or high - low)
        found.append(param.kind(limit + sign * max(2.5 * param.tolerance, least)))
    return tuple(found)


class Comparison:
    """One parameter of an open driver against the emulator behind the wire."""

    def __init__(self, driver: Any, device: Any, param: Param) -> None:
        self.driver, self.device, self.param = driver, device, param
        self.wrong: list[str] = []
        self._refused = self._taken_beyond = 0

    def say(self, text: str) -> None:
        self.wrong.append(f"{self.param.name}: {text}")

    def held(self) -> dict[str, Any]:
        return {name: self.device.registers[name] for name in self.device.registers}

    async def run(self) -> list[str]:
        present = await self.driver.get(self.param.name)
        registers: set[str] = set()
        for value in steps(self.param):
            registers |= await self._set(value)
        for value in beyond(self.param):
            await self._set_beyond(value)
        for name in registers:
            self._ranges(self.device.registers.declared[name])
        if self.param.family and not self._refused:
            self.say("its limits are not the family's: the emulator takes both of them")
        if self.param.ours and not self._taken_beyond:
            self.say("its limits are not narrower than the instrument's: beyond is refused")
        if not self.param.only or present in self.param.only:
            await self.driver.set(self.param.name, present)
        return self.wrong

    async def _set(self, value: Value) -> set[str]:
        """Set a value within the limits; the registers that hold it afterwards."""
        before = self.held()
        try:
            await self.driver.set(self.param.name, value)
        except PhotonlinkError as error:
            self._refused += 1
            if not self.param.family:
                self.say(f"{value} lies within the driver's limits and is refused: {error}")
            elif self.held() != before:
                self.say(f"{value} was refused and something was changed")
            return set()
        after, declared = self.held(), self.device.registers.declared
        changed = {n for n in after if after[n] != before[n]}
        holds = {n for n in changed if same(self.param, value, declared[n], after[n])}
        if changed and not holds:
            found = ", ".join(f"{n} = {after[n]!r} {declared[n].unit}" for n in sorted(changed))
            self.say(f"{value} {self.param.unit} arrived as {found}")
        return holds

    async def _set_beyond(self, value: Value) -> None:
        """Bypass the driver's check; the emulator may refuse, ignore or clip the value."""
        try:
            async with asyncio.timeout(20.0 if self.param.ours else PATIENCE_S):
                await self.driver.write(self.param, value)
                back = await self.driver.params._read(self.param)
        except (PhotonlinkError, TimeoutError):
            return
        if self.param.agrees(value, back) and not self.param.at_least:
            self._taken_beyond += 1
            if not self.param.ours:
                self.say(f"{value} lies beyond the driver's limits, and the emulator takes it")

    def _ranges(self, register: Register) -> None:
        """Both declared ranges are equal, and the driver declares every choice of the
        emulator.
        """
        param = self.param
        if param.choices is not None and register.choices:
            unknown = {_word(c) for c in register.choices} - {_word(w) for w in self._words()}
            if unknown:
                self.say(f"the emulator knows {', '.join(sorted(unknown))}, the driver does not")
        if param.limits is None or param.family or param.ours or isinstance(register.value, str):
            return
        for ours, theirs in zip(param.limits, (register.low, register.high), strict=True):
            if math.isfinite(theirs) and not same(param, param.kind(ours), register, theirs):
                self.say(f"limit {ours} {param.unit}, the emulator's {theirs} {register.unit}")

    def _words(self) -> list[Value]:
        return [self.param.wire(value) for value in self.param.choices or {}]


async def differences(driver: Any, device: Any) -> list[str]:
    """One sentence for each difference; opens and configures the driver."""
    await driver.open()
    await driver.configure()
    if hasattr(driver, "home"):  # positions are undefined before homing
        for axis in getattr(driver, "axes", ()):
            await driver.home(axis)
        if not hasattr(driver, "axes"):
            await driver.home()
    driver.params._settle_s = 0.1
    wrong = []
    for param in driver.params.table.values():
        if param.set and param.get and steps(param):
            wrong += await Comparison(driver, device, param).run()
    return wrong


@pytest.mark.parametrize("name", CASES)
async def test_driver_and_emulator_declare_the_same(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # the link logs values that a vendor's call cannot take
    unit_of = emulated(CASES[name].id, tmp_path, speed=SPEED, reply_timeout_s=DEADLINE_S)
    async with asyncio.timeout(60), unit_of as unit:
        assert await differences(*unit) == []


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("attenuation1_db", {"limits": (0.0, 60.0)}, "60.0 lies within the driver's limits and is"),
        ("attenuation1_db", {"limits": (0.0, 40.0)}, "40.4 lies beyond the driver's limits, and"),
        ("offset1_db", {"limits": (-199.9, 200.0)}, "limit -199.9 dB, the emulator's -200.0 dB"),
        ("attenuation1_db", {"family": "why"}, "not the family's: the emulator takes both"),
        ("attenuation1_db", {"ours": "why"}, "not narrower than the instrument's"),
        ("offset1_db", {"limits": (-20.0, 20.0), "scale": 10.0}, "arrived as INPut1:OFFSet = -200"),
        ("shape1", {"choices": {"sine": "SIN", "ramp": "RAMP"}}, "knows ARB, DC"),
        ("shape1", {"choices": {"sine": "SIN", "cat": "CAT"}}, "cat lies within the driver's"),
    ],
)
async def test_a_declaration_that_differs_is_named(
    name: str, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    which = "keysight.k33600a" if name == "shape1" else "keysight.n7752a"
    async with emulated(which, tmp_path) as (driver, device):
        await driver.open()
        param = dataclasses.replace(driver.params[name], setting="", **change)
        driver.params.table[name] = param
        wrong = await Comparison(driver, device, param).run()
        assert any(words in text for text in wrong), wrong
