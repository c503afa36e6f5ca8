"""The bench file, its parameters, its ports; clicks depend only on the seed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from photonlink.firmware_sim.config import (
    BenchConfig,
    BenchFileError,
    default_bench,
    parse_bench,
)
from photonlink.firmware_sim.optical_table import SETTABLE, OpticalTable, TableParameterError
from photonlink.firmware_sim.places import DetectorPlace, PumpPlace, TaggerPlace
from photonlink.firmware_sim.schedule import Schedule

LIT = {"source.pump_power_mw": 32.0}


def lit(seed: int = 1, **kw: Any) -> OpticalTable:
    config = parse_bench(default_bench())
    bench = OpticalTable(config, seed)
    bench.set({**LIT, **kw})
    return bench


def stream(bench: OpticalTable, slices: int, every: int) -> list[bytes]:
    """All tags of both taggers, read every so many slices."""
    for tagger in bench.taggers.values():
        tagger.start()
    out = [b"", b""]
    for k in range(slices):
        bench.advance()
        if (k + 1) % every == 0:
            for i, tagger in enumerate(bench.taggers.values()):
                out[i] += tagger.read().time_ps.tobytes()
    return out


# ---- determinism -------------------------------------------------------------------------------


def test_same_seed_same_clicks_however_often_it_is_polled() -> None:
    often = stream(lit(), 30, 1)
    assert len(often[0]) > 8 * 30_000
    assert often == stream(lit(), 30, 30)
    other = stream(lit(seed=2), 30, 30)
    assert other[0] != often[0]
    assert other[1] != often[1]


def test_bobs_loss_does_not_touch_alices_clicks() -> None:
    near, far = lit(), lit(**{"bob.loss_db": 10.0, "eve.intercept_fraction": 0.5})
    counts = [0, 0]
    for _ in range(20):
        near.advance()
        far.advance()
        for i in range(4):
            assert np.array_equal(near.engine.clicks(i), far.engine.clicks(i))
            counts[0] += len(near.engine.clicks(i + 4))
            counts[1] += len(far.engine.clicks(i + 4))
    assert counts[1] < 0.3 * counts[0]


# ---- the demo's bench --------------------------------------------------------------------------


def test_the_default_bench_has_the_size_the_demo_needs() -> None:
    bench = lit()
    for _ in range(100):
        bench.advance()
    times = [np.sort(np.concatenate(s)) for s in _two_sides(bench, 100)]
    rates = [len(t) / 2.0 for t in times]
    assert all(100e3 < r < 150e3 for r in rates)
    delay = bench.truth()["delay_ps"]
    shifted = times[0] + delay["bob"] - delay["alice"]
    first = np.searchsorted(times[1], shifted - 3000)
    both = np.abs(times[1][np.minimum(first, len(times[1]) - 1)] - shifted) < 3000
    coincidences = both.sum() / 2.0
    # Half of them are sifted; 200,000 in about 25 s with 5 s for the clock lock.
    assert 17e3 < coincidences < 30e3
    assert 0.14 < coincidences / rates[1] < 0.22
    truth = bench.truth()
    assert 0.01 < truth["qber_hv"] < 0.025
    assert 0.01 < truth["qber_da"] < 0.025


def _two_sides(bench: OpticalTable, slices: int) -> list[list[np.ndarray[Any, Any]]]:
    sides: list[list[np.ndarray[Any, Any]]] = [[], []]
    for _ in range(slices):
        bench.advance()
        for i in range(8):
            sides[i // 4].append(bench.engine.clicks(i))
    return sides


# ---- parameters --------------------------------------------------------------------------------


def test_get_and_set_by_path() -> None:
    bench = lit()
    assert bench.get("bob.loss_db") == 1.7
    assert bench.set({"bob.loss_db": 6, "alice.detectors.h.dark_hz": 10}) == {
        "bob.loss_db": 6.0,
        "alice.detectors.h.dark_hz": 10.0,
    }
    assert bench.get("alice.clock")["frequency_ppm"] == 1.7
    bench.set({"bob.rotation_deg": [0, 10, 0]})
    assert bench.get("bob.rotation_deg") == (0.0, 10.0, 0.0)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("bob.los_db", 1, "no 'los_db'"),
        ("charlie.loss_db", 1, "not a parameter"),
        ("bob", 1, "branch"),
        ("bob.detectors.h", {}, "branch"),
        ("bob.loss_db.x", 1, "no 'x'"),
        ("", 1, "not a parameter"),
        ("bob.__class__", 1, "has no"),
        ("bob.model_config", 1, "has no"),
        ("seed", 3, "not a parameter"),
        ("bob.loss_db", -1, "greater than"),
        ("bob.loss_db", "six", "number"),
        ("bob.loss_db", float("nan"), "finite"),
        ("bob.loss_db", None, "number"),
        ("bob.rotation_deg", [1, 2], "rotation_deg"),
        ("bob.tagger.inputs", {"h": 0, "v": 0}, "share"),
        ("bob.detectors.h.afterpulse_amplitude", [0.95, 0.0], "0.9"),
        ("bob.detectors.h.afterpulse_amplitude", [0.1], "length"),
    ],
)
def test_bad_values_are_named_and_change_nothing(path: str, value: Any, says: str) -> None:
    bench = lit()
    before = bench.config.model_dump()
    with pytest.raises(TableParameterError, match=says):
        bench.set({"alice.loss_db": 9.0, path: value})
    assert bench.config.model_dump() == before


def test_a_bench_file_with_unknown_keys_is_refused_by_name() -> None:
    for text, says in [
        ("[bob]\nlos_db = 1", r"bob\.los_db: unknown key"),
        ("[alice.detectors.x]\nefficiency = 0.1", r"alice\.detectors\.x: unknown key"),
        ("seed = -1", "seed"),
        ("name = ", "not TOML"),
        ('[devices]\nx = { model = "y", place = "pump" }', "unknown model 'y'"),
        ('[devices]\nx = { model = "sfifteen-tdc1", place = "pump" }', "cannot stand at"),
        ('[devices]\nx = { model = "sfifteen-tdc1", place = "bob.q" }', "no place"),
        ('[devices]\n"../x" = { model = "toptica-dlc-pro", place = "pump" }', "pattern"),
        (
            '[devices]\na = { model = "toptica-dlc-pro", place = "pump" }\n'
            'b = { model = "toptica-dlc-pro", place = "pump" }',
            "both stand at",
        ),
        ('[[faults]]\nat_s = 1\ndevice = "nobody"', "names no device"),
    ]:
        with pytest.raises(BenchFileError, match=says):
            parse_bench(text)


# ---- ports -------------------------------------------------------------------------------------


def rate(bench: OpticalTable, name: str, slices: int = 25) -> float:
    before = bench.clicks_total(name)
    for _ in range(slices):
        bench.advance()
    return (bench.clicks_total(name) - before) / (slices * 0.02)


def test_light_follows_the_pump_within_a_slice() -> None:
    bench = OpticalTable(BenchConfig())
    pump: PumpPlace = bench.stand("pump")  # type: ignore[assignment]
    pump.set_optical_power_mw(20.0)
    assert rate(bench, "bob.h") > 10_000
    pump.set_optical_power_mw(0.0)
    bench.advance()
    assert rate(bench, "bob.h", 50) < 2_500  # dark counts


def test_a_plugged_diode_is_dark_until_it_has_bias() -> None:
    bench = lit()
    port: DetectorPlace = bench.stand("alice.v")  # type: ignore[assignment]
    assert rate(bench, "alice.v") == 0.0
    port.set_excess_bias_v(2.0)
    full = rate(bench, "alice.v")
    assert full > 20_000
    port.set_threshold_mv(400.0)
    assert rate(bench, "alice.v") < 0.1 * full
    port.set_threshold_mv(50.0)
    port.set_dead_time_s(1e-4)
    assert rate(bench, "alice.v") < 10_000
    assert port.clicks_total() == bench.clicks_total("alice.v")
    port.set_excess_bias_v(-60.0)
    bench.advance()
    assert rate(bench, "alice.v") == 0.0


def test_taggers_are_ports() -> None:
    bench = lit()
    port: TaggerPlace = bench.stand("bob.tagger")  # type: ignore[assignment]
    port.configure(inputs=8, resolution_ps=80.0)
    assert (port.inputs, port.resolution_ps, port.running) == (8, 80.0, False)
    bench.advance()
    rates = port.rates_hz()
    assert len(rates) == 8
    assert min(rates[:4]) > 10_000
    assert rates[4:] == (0.0,) * 4
    with pytest.raises(ValueError, match="cabled to input 3"):
        port.configure(inputs=3, resolution_ps=80.0)


# ---- scheduled faults --------------------------------------------------------------------------


def test_scheduled_faults_come_and_go() -> None:
    config = BenchConfig.model_validate(
        {
            "faults": [
                {"at_s": 0.1, "for_s": 0.1, "set": {"bob.loss_db": 60}},
                {"at_s": 0.2, "set": {"bob.no_such": 1}},
                {"at_s": 0.3, "device": "pump", "command": {"fault": "unplug"}, "for_s": 1},
            ],
            "devices": {"pump": {"model": "toptica-dlc-pro", "port": "pump"}},
        }
    )
    bench, schedule = OpticalTable(config), Schedule(config.faults)
    losses, complaints, commands = [], [], []
    for _ in range(20):
        complaints += schedule.run(bench, lambda name, command: commands.append((name, command)))
        losses.append(bench.get("bob.loss_db"))
        bench.advance()
    assert losses == [2.0] * 5 + [60.0] * 5 + [2.0] * 10
    assert len(complaints) == 1
    assert "no_such" in complaints[0]
    assert commands == [("pump", {"fault": "unplug", "for_s": 1.0})]


# ---- the corners of every range ----------------------------------------------------------------


def leaves(part: BaseModel, path: str) -> Iterator[tuple[str, float, float]]:
    """Path, smallest and largest allowed value of every number on the bench."""
    properties = type(part).model_json_schema()["properties"]
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{path}{name}.")
            continue
        schema = properties[name]
        schema = schema.get("anyOf", [schema])[0]
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is not None and high is not None:
            yield f"{path}{name}", low, high


@pytest.mark.parametrize("seed", range(25))
def test_no_allowed_value_breaks_the_bench(seed: int) -> None:
    bench, rng = lit(seed=seed), random.Random(seed)
    every = [x for r in SETTABLE for x in leaves(getattr(bench.config, r), f"{r}.")]
    assert len(every) > 150
    for path, low, high in rng.sample(every, 40):
        value = rng.choice([low, high, low + (high - low) * 10 ** rng.uniform(-8, 0)])
        with contextlib.suppress(TableParameterError):  # an exclusive bound
            bench.set({path: type(bench.get(path) or 0.0)(value)})
    for tagger in bench.taggers.values():
        tagger.start()
    until = [0, 0]
    for _ in range(3):
        bench.advance()
        for i, tagger in enumerate(bench.taggers.values()):
            read = tagger.read()
            assert (np.diff(read.time_ps) >= 0).all()
            assert all(until[i] <= t <= read.until_ps for t in (*read[0][:1], *read[0][-1:]))
            until[i] = read.until_ps
