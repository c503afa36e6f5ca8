"""Parameters: checked, written, read back, remembered."""

from __future__ import annotations

import re
from typing import Any

import pytest

from photonlink.hal.errors import InstrumentError, LimitError, ReadbackMismatch
from photonlink.hal.params import Param, Parameters, Value, describe

BIAS = Param(
    "bias_v", float, "bias", "b?", "b {}", "V", limits=(0, 70), plausible=(-1, 99), tolerance=0.5
)
LOOP = Param("loop", bool, "loop closed", "l?", "l {}")
DRIVE = Param("drive", bool, "on", "d?", "d {}", trips=True, stops={False: "no drive"})
LABEL = Param("label", str, "name", "n?")


class Device:
    def __init__(self) -> None:
        self.values: dict[str, Value] = {"bias_v": 0.0, "loop": False, "drive": False, "label": "x"}
        self.offset = 0.0
        self.writes = 0

    async def read(self, param: Param) -> Value:
        return self.values[param.name]

    async def write(self, param: Param, value: Value) -> None:
        self.writes += 1
        self.values[param.name] = float(value) + self.offset if param.kind is float else value


def table(device: Device, **limits: tuple[float, float]) -> Parameters:
    return Parameters(
        (BIAS, LOOP, DRIVE, LABEL), device.read, device.write, where="dev", limits=limits
    )


@pytest.mark.parametrize("wrong", [-0.1, 70.1, float("nan"), float("inf"), "60", True])
async def test_what_is_outside_is_refused_before_anything_is_written(wrong: Value) -> None:
    device = Device()
    with pytest.raises(LimitError, match="bias_v"):
        await table(device).set("bias_v", wrong)
    assert device.writes == 0


async def test_the_narrower_limit_holds() -> None:
    device = Device()
    parameters = table(device, bias_v=(0, 65))
    with pytest.raises(LimitError, match="0…65"):
        await parameters.set("bias_v", 66.0)
    with pytest.raises(LimitError, match="0…50"):
        await parameters.set("bias_v", 60.0, (0, 50))
    await parameters.set("bias_v", 65.0)
    with pytest.raises(LimitError, match="unknown parameter 'bais_v'"):
        table(device, bais_v=(0, 1))


async def test_kinds_are_not_mixed() -> None:
    for wrong in (1, "on", 0.0):
        with pytest.raises(LimitError, match="must be bool"):
            await table(Device()).set("loop", wrong)


async def test_read_back_within_its_tolerance() -> None:
    device = Device()
    parameters = table(device)
    device.offset = 0.4
    await parameters.set("bias_v", 60.0)
    device.offset = 0.6
    with pytest.raises(ReadbackMismatch, match=r"bias_v was set to 50\.0 V but reads back 50\.6"):
        await parameters.set("bias_v", 50.0)


async def test_a_confirmed_setting_is_remembered_and_missed() -> None:
    device = Device()
    parameters = table(device)
    await parameters.set("bias_v", 60.0)
    await parameters.set("drive", True)
    assert parameters.deviation(await parameters.snapshot()) == ""
    device.values["drive"] = False
    assert parameters.deviation(await parameters.snapshot()) == "", "an interlock may do that"
    device.values["bias_v"] = 0.0
    assert (
        parameters.deviation(await parameters.snapshot()) == "bias_v is 0.0 V, asked for was 60.0"
    )
    device.offset = 5.0
    with pytest.raises(ReadbackMismatch):
        await parameters.set("bias_v", 20.0)
    assert parameters.deviation(await parameters.snapshot()) == "", "nothing confirmed to miss"


async def test_a_reading_that_cannot_be_is_left_out_of_the_snapshot() -> None:
    device = Device()
    device.values["bias_v"] = 1e6
    values = await table(device).snapshot()
    assert "bias_v" not in values
    assert "cannot be" in str(values["bias_v_error"])
    assert values["label"] == "x"


@pytest.mark.parametrize(
    ("param", "text", "value"), [(BIAS, "12.5", 12.5), (LOOP, "1", True), (LABEL, "1", "1")]
)
def test_parse(param: Param, text: str, value: Value) -> None:
    assert param.parse(text) == value


@pytest.mark.parametrize(
    ("param", "text"), [(BIAS, "12,5"), (BIAS, ""), (BIAS, "1e9"), (LOOP, "2"), (LOOP, "yes")]
)
def test_unreadable(param: Param, text: str) -> None:
    with pytest.raises(InstrumentError):
        param.parse(text, "dev")


def test_describe_is_a_table() -> None:
    assert describe([BIAS]).splitlines()[-1] == "| `bias_v` | V | read/set | 0…70 |  | bias |"


def test_a_choice_has_our_word_and_the_instrument_s() -> None:
    clock = Param("clock", str, "which", "c?", "c {}", choices={"internal": "2", "auto": "0"})
    assert clock.text("internal") == "2"
    assert clock.parse("0") == "auto"
    with pytest.raises(LimitError, match="one of internal, auto"):
        clock.check("extern")
    with pytest.raises(InstrumentError, match="unreadable"):
        clock.parse("7")


def test_a_scale_is_between_our_unit_and_the_wire_s() -> None:
    current = Param("current_a", float, "current", "i?", "i {}", "A", scale=1000.0)
    assert current.text(0.12) == "120.0"
    assert current.parse("120") == pytest.approx(0.12)


async def test_one_parameter_per_channel() -> None:
    each = Param("level_{ch}_v", float, "of {ch}", "l{ch}?", "l{ch} {{}}", "V", channels=(1, 2))
    asked: list[str] = []

    async def read(param: Param) -> Value:
        asked.append(param.get)
        return 0.0

    async def write(param: Param, value: Value) -> None:
        raise AssertionError(param.set)

    parameters = Parameters((each,), read, write, where="dev")
    assert await parameters.snapshot() == {"level_1_v": 0.0, "level_2_v": 0.0}
    assert asked == ["l1?", "l2?"]
    assert "| `level_1…2_v` |" in describe([each])


async def test_settling_is_waited_for_and_ends() -> None:
    device = Device()
    slow = Param("bias_v", float, "bias", "b?", "b {}", "V", tolerance=0.5, settle_s=5.0)
    reads = iter([0.0, 30.0, 60.0])

    async def read(param: Param) -> Value:
        return next(reads, 60.0)

    await Parameters((slow,), read, device.write, where="dev").set("bias_v", 60.0)
    with pytest.raises(ReadbackMismatch):
        await Parameters((slow,), read, device.write, where="dev", settle_s=0.1).set("bias_v", 9.0)


async def test_what_seldom_changes_is_seldom_asked() -> None:
    asked: list[str] = []
    table = (
        Param("serial", str, "number", "s?", poll="once"),
        Param("hours", int, "on", "h?", poll="slow"),
        Param("now", int, "now", "n?"),
    )

    async def read(param: Param) -> Value:
        asked.append(param.name)
        return "x" if param.kind is str else 1

    async def write(param: Param, value: Value) -> None: ...

    parameters = Parameters(table, read, write, where="dev")
    for _ in range(3):
        assert (await parameters.snapshot()) == {"serial": "x", "hours": 1, "now": 1}
    assert sorted(asked) == ["hours", "now", "now", "now", "serial"]
    parameters.forget()
    await parameters.snapshot()
    assert asked.count("serial") == 2, "it was opened anew: perhaps another device"


async def test_a_reading_that_stops_the_light_is_a_condition() -> None:
    parameters = table(Device())
    assert parameters.conditions(await parameters.snapshot()) == (("drive", "no drive"),)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"get": "", "set": ""}, "neither read nor set"),
        ({"unit": "mA"}, "ending of its unit"),
        ({"limits": (2.0, 1.0)}, "wrong way round"),
        ({"doc": ""}, "no meaning"),
        ({"set": "", "setting": "bias_v"}, "cannot be set"),
        ({"channels": (1, 2)}, "no {ch}"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(wrong: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"name": "bias_v", "kind": float, "doc": "bias", "get": "b?"}
    with pytest.raises(ValueError, match=re.escape(words)):
        Param(**{**good, "set": "b {}", "unit": "V", **wrong})
