"""``photonlink check --calibrate``, and a node that needs its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import calibrate, control, emulated_bench, node, running

TRUE_DELAYS = {"alice": (0, 640, 1480, 310), "bob": (820, 0, 1130, 1960)}  # default_bench.toml


def test_the_calibration_is_the_benchs_truth_and_the_node_needs_it(tmp_path: Path) -> None:
    with emulated_bench(tmp_path, calibrated=False) as (files, _):
        station = files.stations["alice"]
        with running(*node(station)) as alice:
            assert alice.finish() == 1
            summary = alice.wait_for(event="summary")
        assert "there is no calibration of this link" in summary["aborts"][0]
        assert b"photonlink check STATION --calibrate" in alice.errors
        # the node ended before a session, and so before any light
        assert not [e for e in alice.events if e["event"] in ("state", "calibration")]

        done = calibrate(files, seconds=2.0)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        for side, truth in TRUE_DELAYS.items():
            mean = sum(truth) / 4
            for letter, delay_ps in zip("HVDA", truth, strict=True):
                d = found[side]["detectors"][letter]
                assert abs(d["delay_ps"] - (delay_ps - mean)) < d["delay_uncertainty_ps"] < 100
                assert d["efficiency"]["low"] < 1.0 < d["efficiency"]["high"] * 1.02
            assert found[side]["emulated"] is True
            assert set(found[side]["instruments"]) == {"tagger", "H", "V", "D", "A"}
        contents = {
            (tmp_path / f"{s}-state" / "calibration.json").read_bytes() for s in files.stations
        }
        assert len(contents) == 1

        with running(*node(station)) as alice:
            event = alice.wait_for(event="calibration")
            assert event["digest"] == found["digest"]
            assert event["operators"] == ["test"]
            assert 86_000 < event["left_s"] <= 86_400

        control(tmp_path, "device", "alice-spd-v", 'set={"serial_number": "424242"}')
        with running(*node(station)) as alice:
            assert alice.finish() == 1
            summary = alice.wait_for(event="summary")
        assert "other instruments" in summary["aborts"][0]
        assert b"--detector alice.V" in alice.errors
        done = calibrate(files, "--detector", "alice.V")
        assert done.returncode == 0, done.stderr
        assert "424242" in json.loads(done.stdout)["alice"]["instruments"]["V"]


@pytest.mark.parametrize(
    ("options", "named"),
    [(("--detector", "bob.Q"), "there is no calibration"), (("--operator", " "), "--operator")],
)
def test_wrong_usage_is_named(options: tuple[str, ...], named: str, tmp_path: Path) -> None:
    with emulated_bench(tmp_path, calibrated=False) as (files, _):
        done = calibrate(files, *options)
    assert done.returncode != 0
    assert named in done.stderr
