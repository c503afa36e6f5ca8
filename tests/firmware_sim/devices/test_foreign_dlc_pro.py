"""The DLC pro emulator driven by Toptica's own client."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

pytestmark = pytest.mark.proves("toptica-dlc-pro", by="toptica-lasersdk")

sdk = pytest.importorskip(
    "toptica.lasersdk.client", reason="toptica-lasersdk is not installed (extra: peers)"
)
aio = pytest.importorskip("toptica.lasersdk.asyncio.client", reason="toptica-lasersdk")
dlcpro = pytest.importorskip("toptica.lasersdk.dlcpro.v2_0_3", reason="toptica-lasersdk")


def address(emulator: Any) -> tuple[str, int, int]:
    host, port = emulator.path.split(":")
    return host, int(port), emulator.status()["monitoring_port"]


@pytest.fixture
def laser(emulate: Any) -> Any:
    return emulate("toptica-dlc-pro", settling_s=0.1)


def test_the_generated_class_switches_light_on_and_off(laser: Any) -> None:
    with dlcpro.DLCpro(sdk.NetworkConnection(*address(laser))) as dlc:
        assert dlc.serial_number.get().startswith("DLC PRO")
        assert dlc.fw_ver.get() == "2.0.3"
        assert dlc.system_health.get() == 0
        assert dlc.ul.get() == 3
        cc = dlc.laser1.dl.cc
        cc.current_set.set(100.0)
        assert (dlc.emission.get(), laser.port.power_mw) == (False, 0.0)
        cc.enabled.set(True)
        assert dlc.emission.get() is True
        assert cc.current_act.get() == pytest.approx(100.0, abs=0.05)
        assert laser.port.power_mw == pytest.approx(0.8 * 40.0, rel=0.01)
        assert cc.pd.get() == pytest.approx(0.32, rel=0.05)
        dlc.laser1.ctl.wavelength_set.set(775.1)
        cc.enabled.set(False)
        assert (dlc.emission.get(), laser.port.power_mw) == (False, 0.0)
        assert dlc.uptime.get() >= 0
        assert isinstance(dlc.laser1.health.get(), int)


def test_set_values_errors_and_user_levels(laser: Any) -> None:
    with sdk.Client(sdk.NetworkConnection(*address(laser))) as client:
        with pytest.raises(sdk.DecopError):
            client.get("laser1:no-such-thing")
        with pytest.raises(sdk.DecopError):
            client.set("uptime", 5)
        with pytest.raises(sdk.DecopError):
            client.set("laser1:dl:cc:current-set", 5000.0)
        with pytest.raises(sdk.DecopError):
            client.set("laser1:dl:cc:current-clip", 120.0)
        assert client.get("laser1:dl:cc:current-clip") == 180.0
        assert client.change_ul(sdk.UserLevel.MAINTENANCE, "wrong") == sdk.UserLevel.NORMAL
        assert client.change_ul(sdk.UserLevel.MAINTENANCE, "CAUTION") == sdk.UserLevel.MAINTENANCE
        assert client.set("laser1:dl:cc:current-clip", 120.0) == 0
        assert client.get_set_value("laser1:dl:cc:current-clip", float) == 120.0
        assert client.set("system-label", "pump of Alice") == 0
        assert client.get("system-label", str) == "pump of Alice"


def test_commands_with_streams(laser: Any) -> None:
    with sdk.Client(sdk.NetworkConnection(*address(laser))) as client:
        assert "DLC PRO" in client.exec("system-summary", output_type=str)
        text, count = client.exec("system-connections", output_type=str, return_type=int)
        assert count == 2
        assert "command 1" in text
        assert b"laser1:dl:cc:current-clip" in client.exec("service-report", output_type=bytes)
        client.exec("service-script", input_stream="(display 1)")
        assert "11 bytes" in client.get("system-messages:latest-message", str)
        with pytest.raises(sdk.DecopError):
            client.exec("no-such-command")


def test_monitoring_line_pushes_changes(laser: Any) -> None:
    seen: list[tuple[Any, str, Any]] = []
    with sdk.Client(sdk.NetworkConnection(*address(laser))) as client:
        client.subscribe("laser1:dl:cc:enabled", lambda s, t, v: seen.append((t, s.name, v.get())))
        client.run(0.2)
        client.set("laser1:dl:cc:enabled", True)
        client.run(0.3)
        client.set("laser1:dl:cc:enabled", False)
        client.run(0.3)
    assert [(name, value) for _, name, value in seen] == [
        ("laser1:dl:cc:enabled", value) for value in (False, True, False)
    ]
    assert seen[0][0] < seen[-1][0]


async def test_asyncio_client_with_interval_and_threshold(emulate: Any) -> None:
    laser = emulate("toptica-dlc-pro", settling_s=0.2)
    async with aio.Client(aio.NetworkConnection(*address(laser))) as client:
        assert await client.get("interlock-open", bool) is False
        name = "laser1:dl:tc:temp-act"
        steps = []
        async with await client.subscribe(name, float, interval=20, threshold=1.0) as changes:
            steps.append((await asyncio.wait_for(changes.next(), 2.0))[1])
            await client.set("laser1:dl:tc:temp-set", 30.0)
            while steps[-1] < 28.0:
                steps.append((await asyncio.wait_for(changes.next(), 2.0))[1])
        assert len(steps) > 2
        assert all(b - a >= 1.0 for a, b in itertools.pairwise(steps))
        laser.control(set={"interlock_open": True})
        assert await client.get("interlock-open", bool) is True
        assert await client.get("system-health", int) != 0
