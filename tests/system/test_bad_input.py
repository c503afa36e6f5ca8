"""Two nodes that must not make key, or must recover from a loss; each fault is reported once."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import aiomqtt
import pytest
from brokers import Mosquitto
from running import PHOTONLINK, Running, control, emulated_bench, node, running

from photonlink.pipeline.calibration.files import encode, load
from photonlink.pipeline.demo.files import write_demo_files
from photonlink.pipeline.keys.psk import create_psk, load_psk


def _named_on_both(folder: Path, files: dict[str, Path], code: str) -> list[str]:
    """Start both nodes; the alarm's text on each; no key anywhere."""
    texts = []
    with (
        running(*node(files["alice"], "--duration", "60")) as alice,
        running(*node(files["bob"], "--duration", "60")) as bob,
    ):
        for side in (alice, bob):
            alarm = side.wait_for(event="alarm", active=True, code=lambda c: c.startswith(code))
            texts.append(str(alarm["text"]))
        for side in (alice, bob):
            side.interrupt()
            side.finish()
            summary = side.wait_for(event="summary")
            assert summary["secret_bits"] == 0
            assert any(reason.startswith(code) for reason in summary["aborts"])
            # the peer reconnects repeatedly: one report, and too few tries for the reconnect limit
            said = [e.get("code") or e["reason"] for e in side.events
                    if e.get("event") in ("alarm", "disconnect")]  # fmt: skip
            assert len(said) == len(set(said)) <= 4, said
            assert "reconnect_limit" not in said
    assert not list(folder.glob("*-state/keys/*.key"))
    return texts


def test_another_pre_shared_key_is_named_and_makes_no_key(tmp_path: Path) -> None:
    with emulated_bench(tmp_path) as (files, _):
        create_psk(tmp_path / "other.psk")
        station = files.stations["bob"]
        station.write_text(station.read_text().replace("link.psk", "other.psk"))
        _seal_again(tmp_path, "link.psk", "other.psk")
        texts = _named_on_both(tmp_path, files.stations, "psk_mismatch")
    assert any("pre-shared" in text for text in texts), texts


def _seal_again(folder: Path, old: str, new: str) -> None:
    """Seal Bob's calibration with his own pre-shared key; otherwise it would stop him first."""
    path = folder / "bob-state" / "calibration.json"
    with closing(load_psk(folder / old)) as first, closing(load_psk(folder / new)) as second:
        path.write_bytes(encode(load(path, first), second))


def test_another_parameter_is_refused_by_name(tmp_path: Path) -> None:
    with emulated_bench(tmp_path) as (files, _):
        station = files.stations["bob"]
        text = station.read_text()
        station.write_text(text.replace("q_tol = 0.035", "q_tol = 0.05"))
        texts = _named_on_both(tmp_path, files.stations, "parameter_mismatch")
    assert all("q_tol" in text for text in texts), texts


@pytest.mark.row("node exits 0 without any key")
def test_qber_beyond_the_threshold_gives_no_key(tmp_path: Path) -> None:
    bench = _default_bench().replace("visibility_hv = 0.972", "visibility_hv = 0.78")
    bench = bench.replace("visibility_da = 0.968", "visibility_da = 0.78")
    with (
        emulated_bench(tmp_path, bench=bench) as (files, _),
        running(*node(files.stations["alice"], "--duration", "30")) as alice,
        running(*node(files.stations["bob"], "--duration", "30")) as bob,
    ):
        block = alice.wait_for(event="block")
        assert block["net_bits"] == block["secret_bits"] == 0
        assert block["abort"].startswith("qber_above_threshold")
        assert bob.wait_for(event="block")["abort"] == block["abort"]
    assert not list(tmp_path.glob("*-state/keys/*.key"))


def test_unplugged_tagger_is_named_once_and_found_again(tmp_path: Path) -> None:
    with (
        emulated_bench(tmp_path) as (files, _),
        running(*node(files.stations["alice"])) as alice,
        running(*node(files.stations["bob"])) as bob,
    ):
        bob.wait_for(event="block", abort=None)
        control(tmp_path, "device", "alice-tagger", "fault=unplug")
        alice.wait_for(event="alarm", active=True, code="tagger_lost")
        time.sleep(2.0)
        control(tmp_path, "device", "alice-tagger", "fault=replug")
        alice.wait_for(event="alarm", active=False, code="tagger_lost")
        before = max(e["block"] for e in alice.events if e.get("event") == "block")
        alice.wait_for(event="block", abort=None, block=lambda b: b is not None and b > before)
        lost = [e for e in alice.events if e.get("code") == "tagger_lost" and e["active"]]
        assert len(lost) == 1


@pytest.mark.row("no way to ask for light again")
def test_a_laser_that_comes_back_is_dark_until_asked(tmp_path: Path) -> None:
    with (
        emulated_bench(tmp_path) as (files, emulators),
        running(*node(files.stations["alice"], "--control")) as alice,
    ):
        alice.wait_for(event="state", rate_h_hz=lambda r: r is not None and r > 5000)
        control(tmp_path, "device", "pump", "fault=unplug")
        alice.wait_for(event="alarm", active=True, code="pump_lost")
        control(tmp_path, "device", "pump", "fault=replug")
        alice.wait_for(event="found", instrument="pump", light="off until asked")
        alice.wait_for(event="state", rate_h_hz=lambda r: r is not None and 0 < r < 5000)
        lost = [e for e in alice.events if e.get("code") == "pump_lost" and e["active"]]
        assert len(lost) == 1
        absent = alice.wait_for(event="alarm", active=True, code="peer_absent")
        assert "nobody has connected to 127.0.0.1:" in absent["text"]
        alice.say("light on")
        dark = len(alice.events)
        alice.wait_for(event="light")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            states = [e for e in alice.events[dark:] if e.get("event") == "state"]
            if any((e["rate_h_hz"] or 0) > 5000 for e in states):
                break
            time.sleep(0.1)
        else:
            raise AssertionError("the light did not come back when asked for")
        assert emulators.process.poll() is None


def test_killed_emulators_are_named_and_the_node_ends_cleanly(tmp_path: Path) -> None:
    with (
        emulated_bench(tmp_path) as (files, emulators),
        running(*node(files.stations["alice"])) as alice,
    ):
        alice.wait_for(event="state", rate_h_hz=lambda r: r is not None and r > 5000)
        os.killpg(emulators.process.pid, signal.SIGKILL)
        alice.wait_for(event="alarm", active=True, code="tagger_lost")
        alice.interrupt()
        alice.finish()
        light = alice.wait_for(event="light")
        assert any("emission" in step["instrument"] for step in light["steps"])


def test_a_killed_broker_has_no_effect_on_the_key(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with (
        emulated_bench(tmp_path, mqtt_port=mosquitto.port, block_bits=20_000) as (files, _),
        running(*node(files.stations["alice"])) as alice,
        running(*node(files.stations["bob"])) as bob,
    ):
        first = alice.wait_for(event="block", abort=None)["block"]
        mosquitto.kill()
        later = alice.wait_for(event="block", abort=None, block=lambda b: b and b > first)["block"]
        mosquitto.start()
        asyncio.run(_published(mosquitto.port, "photonlink/v2/alice/demo-alice/link/demo/state"))
        alice.wait_for(event="block", abort=None, block=lambda b: b and b > later)
        assert not [e for e in alice.events if e.get("event") == "disconnect"]
        assert bob.process.poll() is None


@pytest.mark.row("after the ledger died it runs on with light and without key")
def test_m13_a_node_whose_ledger_cannot_be_written_is_dark_until_it_can(tmp_path: Path) -> None:
    with (
        emulated_bench(tmp_path, block_bits=20_000) as (files, _),
        running(*node(files.stations["alice"])) as alice,
        running(*node(files.stations["bob"])) as bob,
    ):
        alice.wait_for(event="block", abort=None)
        # from now on no file of this process may grow, as on a full disk (EFBIG instead of ENOSPC)
        limit = (0, resource.RLIM_INFINITY)
        resource.prlimit(alice.process.pid, resource.RLIMIT_FSIZE, limit)
        alice.wait_for(event="alarm", code="ledger_failed", active=True)
        light = alice.wait_for(event="light")
        assert all(step["ok"] for step in light["steps"])
        alice.wait_for(event="state", rate_h_hz=lambda r: r is not None and r < 5000)
        here = time.time()
        resource.prlimit(alice.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        for end in (alice, bob):  # the same processes make key again
            end.wait_for(event="block", abort=None, ts=lambda ts: ts > here)
        alice.wait_for(event="alarm", code="ledger_failed", active=False)
        resource.prlimit(alice.process.pid, resource.RLIMIT_FSIZE, limit)
        alice.wait_for(
            event="notice", ts=lambda ts: ts > here, text=lambda t: "cannot be written" in t
        )
        alice.interrupt()
        assert alice.finish() == 1, "it ends with its store as it was"
    assert b"Traceback" not in alice.errors


async def _published(port: int, topic: str) -> None:
    """Wait until a message is published here; the broker may still be starting."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with aiomqtt.Client("127.0.0.1", port) as client:
                    await client.subscribe(topic)
                    await anext(client.messages)
                    return
            except aiomqtt.MqttError:
                await asyncio.sleep(0.2)


def test_a_real_backend_never_falls_back(tmp_path: Path) -> None:
    with emulated_bench(tmp_path) as (files, _):
        station = files.stations["alice"]
        station.write_text(station.read_text().replace('backend = "auto"', 'backend = "real"'))
        alice = Running(*node(station))
        assert alice.finish() == 1
        alice.stop()
    assert b"LinkNotFound" in alice.errors, alice.tail()
    assert b"pump" in alice.errors
    assert b"tagger" in alice.errors


def test_a_missing_pre_shared_key_is_named_before_anything_is_opened(tmp_path: Path) -> None:
    files = write_demo_files(tmp_path, 1, 7101, seed=None, block_bits=None)
    (tmp_path / "link.psk").unlink()
    with running(*node(files.stations["alice"])) as alice:
        assert alice.finish() == 1
        summary = alice.wait_for(event="summary")
    assert "link.psk" in summary["aborts"][0]
    assert b"link.psk" in alice.errors
    assert b"LinkNotFound" not in alice.errors


def test_emulators_that_do_not_run_are_named(tmp_path: Path) -> None:
    files = write_demo_files(tmp_path, 1, 7101, seed=None, block_bits=None)
    with running(*node(files.stations["alice"])) as alice:
        assert alice.finish() == 1
    assert b"sim:pump is not running" in alice.errors, alice.tail()


@pytest.mark.parametrize(
    "arguments", [("psk", "new", "{}/no/folder.psk"), ("demo", "--folder", "{}", "--json")]
)
def test_files_in_the_way_are_named_without_a_traceback(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with running(*PHOTONLINK, *(a.format(tmp_path) for a in arguments)) as program:
        assert program.finish() == 1
    assert str(tmp_path).encode() in program.errors
    assert b"Traceback" not in program.errors


def test_unknown_key_is_refused_on_the_command_line(tmp_path: Path) -> None:
    station = tmp_path / "alice.toml"
    station.write_text('schema = 2\nname = "a"\n[node]\nroll = "alice"\n')
    done = subprocess.run(
        [*PHOTONLINK, "node", str(station)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "alice.toml:4" in done.stderr
    assert "role" in done.stderr
    assert "Traceback" not in done.stderr


def _default_bench() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "photonlink.firmware_sim", "--print-default"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout
