"""ID120: whole steps on the wire, bias only when asked, counts of one whole integration."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulated_unit import emulated

from photonlink.drivers.idquantique.id120 import Id120
from photonlink.hal.errors import LimitError, ReadbackMismatch
from photonlink.hal.testing import expected_dialogue

ID120 = "idquantique.id120"
STEPS = r"""
> *IDN?\n
< IDQ,ID120,7,1\n
> BIAS:VOLTAGE 0\n
> BIAS:VOLTAGE?\n
< 0\n
> BIAS:VOLTAGE 200080000\n
> BIAS:VOLTAGE?\n
< 200080000\n
> REG:RUN FALSE\n
> REG:RUN?\n
< FALSE\n
"""


async def test_what_is_sent_is_whole_steps_and_words() -> None:
    async with expected_dialogue(Id120, STEPS, bias_v=200.06) as detector:
        assert (await detector.open()).serial == "7"
        await detector.set_bias(True)
        await detector.set_cooling(False)


async def test_bias_and_temperature_change_what_clicks(tmp_path: Path) -> None:
    async with emulated(ID120, tmp_path, {"settling_s": 0.05}, temperature_c=-20.0) as (
        spd,
        device,
    ):
        await spd.open()
        await spd.configure()
        assert (await spd.count(0.2)).total == 0, "without bias there are no clicks"
        await spd.set_bias(True)
        assert await spd.temperature_c() == pytest.approx(-20.0, abs=0.2)
        assert device.excess_v == pytest.approx((200.0 - 184.0) / 10.0, abs=0.05)
        counted = await spd.count(0.2)
        assert counted.gate_s == 0.2
        assert 0 < counted.total <= device.state()["clicks_total"]
        for wrong in (0.1, 200.0, float("nan")):
            with pytest.raises(LimitError):
                await spd.count(wrong)


async def test_a_failing_supply_is_told(tmp_path: Path) -> None:
    async with emulated(ID120, tmp_path, settle_s=0.1) as (spd, device):
        await spd.open()
        assert spd.conditions(await spd.snapshot()) == ()
        device.control({"fault": "bias-error"})
        assert [c.code for c in spd.conditions(await spd.snapshot())] == ["bias_failed"]
        device.control({"fault": "ignore-sets"})
        with pytest.raises(ReadbackMismatch, match="bias_v"):
            await spd.set_bias(True)
