"""Eve's light compared with the effects in the papers, at the receivers and in tag streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from photonlink.firmware_sim.__main__ import main
from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.optical_table import OpticalTable
from photonlink.firmware_sim.physics.eve_streams import EveRequest, LightRequest, generate

Arrays = dict[str, npt.NDArray[Any]]


def light(
    name: str, share: float = 1.0, numbers: dict[str, float] | None = None, **link: Any
) -> Arrays:
    phase = EveRequest(name=name, share=share, numbers=numbers or {})
    return generate(LightRequest(phases=(phase,), **link))


def coincidences(o: Arrays, window_ps: int = 4000) -> tuple[Arrays, npt.NDArray[np.int64]]:
    """Bob's click nearest to each of Alice's in the window: detectors, Bob's time minus Alice's."""
    bob = np.rint((o["bob_time_ps"] - 1e10) / (1 + 3e-6)).astype(np.int64)
    at = np.clip(np.searchsorted(bob, o["alice_time_ps"]), 1, len(bob) - 1)
    nearer = np.where(
        np.abs(bob[at] - o["alice_time_ps"]) < np.abs(bob[at - 1] - o["alice_time_ps"]), at, at - 1
    )
    apart = bob[nearer] - o["alice_time_ps"]
    hit = np.abs(apart) <= window_ps
    letters = {
        "alice": o["alice_channel"][hit] - 1,
        "bob": o["bob_channel"][nearer[hit]] - 1,
        "ps": o["alice_time_ps"][hit],
    }
    return letters, apart[hit]


def qber(letters: Arrays) -> float:
    same = letters["alice"] >> 1 == letters["bob"] >> 1
    return float((letters["alice"] != letters["bob"])[same].mean())


def test_honest_light_is_the_link_that_was_asked_for() -> None:
    o = light("none", lone_hz=5000.0)
    letters, apart = coincidences(o)
    assert len(apart) == pytest.approx(40_000, rel=0.02)
    assert qber(letters) == pytest.approx(0.01, abs=0.003)
    assert apart.std() == pytest.approx(300 / 2.3548 * np.sqrt(2), rel=0.2)
    assert len(o["known_ps"]) == 0
    assert len(o["alice_time_ps"]) == pytest.approx(50_000, rel=0.03)


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_intercept_and_resend_costs_a_quarter_of_its_share(share: float) -> None:
    letters, _ = coincidences(light("intercept", share))
    assert qber(letters) == pytest.approx(0.01 * (1 - share) + share / 4, abs=0.01)


def test_she_knows_the_letters_she_prepared() -> None:
    o = light("intercept", 1.0, {"basis": 0})
    letters, _ = coincidences(o)
    at = np.searchsorted(o["known_ps"], letters["ps"] - 2000)
    ours = letters["alice"] < 2
    assert (o["known_alice"][at] == letters["alice"])[ours].mean() > 0.99


def test_pairs_of_the_two_bases_arrive_apart() -> None:
    o = light("by_basis", 1.0, {"hv_ps": 1140, "da_ps": -1140})
    letters, apart = coincidences(o)
    for basis, late in ((0, 1140), (1, -1140)):
        inside = (letters["alice"] >> 1 == basis) & (letters["bob"] >> 1 == basis)
        clear = inside & (letters["alice"] == letters["bob"]) & (np.abs(apart - late) < 600)
        assert clear.sum() > 0.45 * inside.sum()  # Eve sent the other half in the other basis


def test_only_the_living_diode_clicks_in_a_dead_time_attack() -> None:
    o = light("dead_time", 1.0, dead_time_ps=2e6, visibility=1.0)
    letters, _ = coincidences(o)
    at = np.clip(np.searchsorted(o["known_ps"], letters["ps"] - 2000), 0, len(o["known_ps"]) - 1)
    assert (o["known_bob"][at] == letters["bob"]).mean() > 0.9
    assert qber(letters) < 0.02


def test_blinded_diodes_click_in_her_basis_only() -> None:
    o = light("blinding", 1.0, walk_ps=0.0)
    letters, _ = coincidences(o)
    assert qber(letters) < 0.01
    at = np.clip(np.searchsorted(o["known_ps"], letters["ps"] - 2000), 0, len(o["known_ps"]) - 1)
    assert (o["known_bob"][at] == letters["bob"]).mean() > 0.99


def test_pulsed_blinding_shows_in_clicks_of_all_four() -> None:
    o = light("blinding", 1.0, {"period_ps": 25e6}, bias_tau_ps=2e7)
    assert qber(coincidences(o)[0]) < 0.01
    together = np.diff(o["bob_time_ps"]) < 100
    assert together.mean() > 0.3


def test_the_echo_announces_a_probe_where_v_had_clicked() -> None:
    """With a veto that later clicks prolong, the probe is an event if and only if the key click was
    V (hardly any error)."""
    veto = 50_000
    o = light(
        "echo", 1.0, {"veto_ps": veto}, pairs_hz=2000.0, dead_time_ps=40_000.0, duration_s=3.0
    )
    bob, letter = o["bob_time_ps"], o["bob_channel"] - 1
    quiet = np.diff(bob, prepend=-(10**9)) > veto
    firsts = np.flatnonzero(np.diff(bob, prepend=-(10**9)) > 10**6)
    seen: dict[bool, list[bool]] = {True: [], False: []}
    for k in firsts:
        if letter[k] < 2:
            low, high = np.searchsorted(bob, (bob[k] + veto, bob[k] + 2 * veto))
            seen[bool(letter[k] == 1)].append(bool(quiet[low:high].any()))
    assert np.mean(seen[True]) > 0.9
    assert np.mean(seen[False]) < 0.1


def test_sparse_light_comes_one_pair_at_a_time() -> None:
    o = light("sparse", 1.0, {"gap_ps": 1e9}, duration_s=1.0)
    assert len(o["known_ps"]) == pytest.approx(1000, abs=120)


def test_phases_follow_one_another() -> None:
    o = generate(
        LightRequest(
            duration_s=2.0,
            phases=(EveRequest(), EveRequest(name="intercept", start_s=1.0)),
        )
    )
    letters, _ = coincidences(o)
    first, second = letters["ps"] < 9e11, letters["ps"] > 1.1e12
    assert qber({k: v[first] for k, v in letters.items()}) < 0.02
    assert qber({k: v[second] for k, v in letters.items()}) > 0.2


def test_a_request_is_a_program_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request, out = tmp_path / "request.json", tmp_path / "tags.npz"
    request.write_text(json.dumps({"seed": 5, "duration_s": 0.2}))
    assert main(["light", str(request), str(out)]) == 0
    with np.load(out) as found:
        same = generate(LightRequest(seed=5, duration_s=0.2))
        assert all(np.array_equal(found[k], same[k]) for k in same)
    request.write_text('{"phases": [{"name": "magic"}]}')
    assert main(["light", str(request), str(out)]) == 1
    assert "magic" in capsys.readouterr().err
    assert main(["light"]) == 2
    with pytest.raises(ValidationError):
        LightRequest(seed=1, unknown=2)  # type: ignore[call-arg]


def test_eve_on_the_table() -> None:
    """Blinding on a bench: Bob's avalanches stop, and Eve's light causes the clicks."""
    bench = OpticalTable(BenchConfig.model_validate({"source": {"pump_power_mw": 1.0}}), seed=3)
    for _ in range(10):
        bench.advance()
    before = bench.truth()["detectors"]["bob.v"]
    bench.set({"eve.strategy": "blinding"})
    for _ in range(10):
        bench.advance()
    after = bench.truth()["detectors"]["bob.v"]
    new = after["clicks"] - before["clicks"]
    assert after["bright_clicks"] >= 0.95 * new > 0
    assert after["lost_to_low_bias"] > before["lost_to_low_bias"]
    bench.set({"eve.strategy": "none"})
    again = bench.truth()["detectors"]["bob.v"]["bright_clicks"]
    for _ in range(10):
        bench.advance()
    assert bench.truth()["detectors"]["bob.v"]["bright_clicks"] <= again + 200
