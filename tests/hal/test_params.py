"""Parameters: checked, written, read back, remembered."""

from __future__ import annotations

import pytest

from photonlink.hal.errors import InstrumentError, LimitError, ReadbackMismatch
from photonlink.hal.params import Param, Parameters, Value, describe

BIAS = Param(
    "bias_v", float, "bias", "b?", "b {}", "V", limits=(0, 70), plausible=(-1, 99), tolerance=0.5
)
LOOP = Param("loop", bool, "loop closed", "l?", "l {}")
DRIVE = Param("drive", bool, "on", "d?", "d {}", trips=True)
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
    assert describe([BIAS]).splitlines()[-1] == "| `bias_v` | V | read/set | 0…70 | bias |"
