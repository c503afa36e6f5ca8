"""Source, fibre, polarization and Eve against their equations; tolerances are five standard
deviations of the counting statistics, seeds are fixed."""

from __future__ import annotations

from math import cos, radians, sin, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from photonlink.firmware_sim.config import BenchConfig
from photonlink.firmware_sim.optical_table import OpticalTable
from photonlink.firmware_sim.physics import polarization

Times = npt.NDArray[np.int64]
DIODE = {
    "efficiency": 0.5,
    "dark_hz": 0.0,
    "dead_time_s": 0.0,
    "jitter_fwhm_ps": 0.0,
    "tail_fraction": 0.0,
    "afterpulse_amplitude": [],
    "afterpulse_tau_s": [],
    "noise_mv": 1.0,
}
EFFICIENCY = 0.5  # nominal bias, threshold far below the pulses


def quiet(seed: int = 1, **paths: Any) -> OpticalTable:
    """A bench of ideal parts; ``alice__loss_db=3`` sets ``alice.loss_db``."""
    arm: dict[str, Any] = {"loss_db": 0.0, "fibre_km": 0.0, "extinction_db": 100.0}
    arm["detectors"] = dict.fromkeys("hvda", DIODE)
    source = {"pump_power_mw": 1.0, "brightness_hz_per_mw": 2e5, "coherence_time_ps": 0.0}
    source |= {"visibility_hv": 1.0, "visibility_da": 1.0}
    bench = OpticalTable(
        BenchConfig.model_validate({"alice": arm, "bob": arm, "source": source}), seed
    )
    bench.set({name.replace("__", "."): value for name, value in paths.items()})
    return bench


def clicks(bench: OpticalTable, slices: int) -> list[Times]:
    """Clicks of the eight diodes over that many slices of 20 ms."""
    found: list[list[Times]] = [[] for _ in range(8)]
    for _ in range(slices):
        bench.advance()
        for i, of in enumerate(found):
            of.append(bench.engine.clicks(i))
    return [np.concatenate(of) for of in found]


def differences(a: Times, b: Times, shift_ps: int = 0, window_ps: int = 1000) -> Times:
    """b - a - shift of every pair within the window (each a with its first b)."""
    if len(b) == 0:
        return np.empty(0, np.int64)
    first = np.searchsorted(b, a + shift_ps - window_ps)
    near = b[np.minimum(first, len(b) - 1)] - a - shift_ps
    return near[(first < len(b)) & (np.abs(near) <= window_ps)]


def table(found: list[Times], **kw: int) -> npt.NDArray[np.int64]:
    """Coincidences (4, 4) of Alice's H V D A with Bob's."""
    return np.array([[len(differences(a, b, **kw)) for b in found[4:]] for a in found[:4]])


def error_rate(counts: npt.NDArray[np.int64], basis: int) -> tuple[float, int]:
    """QBER and number of coincidences in basis 0 (HV) or 1 (DA)."""
    block = counts[2 * basis : 2 * basis + 2, 2 * basis : 2 * basis + 2]
    total = int(block.sum())
    return float(block[0, 1] + block[1, 0]) / total, total


def test_singles_and_coincidences_follow_efficiency_and_loss() -> None:
    found = clicks(quiet(alice__loss_db=3.0, bob__loss_db=6.0, bob__fibre_km=5.0), 250)
    pairs, t_a, t_b = 2e5 * 5.0, 10**-0.3, 10**-0.7
    for side, t in ((found[:4], t_a), (found[4:], t_b)):
        mean = pairs * t * EFFICIENCY
        assert abs(sum(map(len, side)) - mean) < 5 * sqrt(mean)
    both = pairs * t_a * t_b * EFFICIENCY**2
    counts = table(found, shift_ps=24_500_000)
    assert abs(counts.sum() - both) < 5 * sqrt(both)
    assert table(found, shift_ps=-24_500_000).sum() < 0.02 * both


def test_pair_rate_is_linear_in_pump_power_and_fades_off_the_phase_matching() -> None:
    bench = quiet()
    rates = []
    for power in (0.0, 1.0, 2.0):
        bench.set({"source.pump_power_mw": power})
        before = bench.truth()["pairs"]
        clicks(bench, 50)
        rates.append(bench.truth()["pairs"] - before)
    assert rates[0] == 0
    assert abs(rates[2] - 2 * rates[1]) < 5 * sqrt(6e5)
    bench.set({"source.pump_wavelength_nm": 776.0})  # offset by half of the FWHM: half the pairs
    assert bench.pair_rate_hz() == pytest.approx(2e5)
    bench.set({"source.pump_loss_db": 3.0})
    assert bench.pair_rate_hz() == pytest.approx(2e5 * 10**-0.3)


@pytest.mark.parametrize("visibility", [1.0, 0.87])
@pytest.mark.parametrize("angle_deg", [0.0, 25.0, 70.0])
def test_qber_follows_visibility_and_rotation(visibility: float, angle_deg: float) -> None:
    bench = quiet(
        source__visibility_hv=visibility,
        source__visibility_da=visibility,
        bob__rotation_deg=(0.0, angle_deg, 0.0),
    )
    counts = table(clicks(bench, 100))
    expected = (1.0 - visibility * cos(radians(angle_deg))) / 2.0
    for basis in (0, 1):
        qber, n = error_rate(counts, basis)
        assert abs(qber - expected) < 5 * sqrt(max(expected * (1 - expected), 1e-4) / n)
    if visibility == 1.0:
        assert expected == pytest.approx(sin(radians(angle_deg) / 2) ** 2)


def test_rotation_about_one_axis_leaves_that_basis_alone() -> None:
    counts = table(clicks(quiet(bob__rotation_deg=(0.0, 0.0, 90.0)), 50))
    assert error_rate(counts, 0)[0] < 1e-3
    assert abs(error_rate(counts, 1)[0] - 0.5) < 0.03


def test_other_basis_is_uncorrelated_and_the_splitter_ratio_counts() -> None:
    counts = table(clicks(quiet(alice__hv_fraction=0.7), 100))
    n = counts.sum()
    assert abs(counts[:2].sum() / n - 0.7) < 5 * sqrt(0.21 / n)
    assert abs(counts[:, :2].sum() / n - 0.5) < 5 * sqrt(0.25 / n)
    mixed = counts[:2, 2:].ravel()
    assert np.abs(mixed - mixed.mean()).max() < 5 * sqrt(mixed.mean())


def test_intercept_and_resend_costs_a_quarter() -> None:
    for fraction in (0.4, 1.0):
        counts = table(clicks(quiet(eve__intercept_fraction=fraction), 100))
        for basis in (0, 1):
            qber, n = error_rate(counts, basis)
            assert abs(qber - fraction / 4) < 5 * sqrt(0.19 / n)
        for mixed in (counts[:2, 2:], counts[2:, :2]):
            assert np.abs(mixed - mixed.mean()).max() < 5 * sqrt(mixed.mean())


def test_accidentals_are_the_product_of_the_rates() -> None:
    bench = quiet(source__brightness_hz_per_mw=1e6, alice__loss_db=3, bob__loss_db=3)
    found = clicks(bench, 100)
    window = 20_000
    far = sum(
        int((np.searchsorted(b, a + 10**6 + window) - np.searchsorted(b, a + 10**6)).sum())
        for a in found[:4]
        for b in found[4:]
    )
    a, b = (sum(map(len, side)) / 2.0 for side in (found[:4], found[4:]))
    expected = a * b * window * 1e-12 * 2.0
    assert abs(far - expected) < 5 * sqrt(expected)


def test_thermal_bunching_brings_companions() -> None:
    bench = quiet(source__coherence_time_ps=5000.0, source__brightness_hz_per_mw=1e6)
    found = clicks(bench, 50)
    every = np.sort(np.concatenate(found[:4]))
    close = int((np.diff(every) < 25_000).sum())
    # Poisson part n r tau, thermal part n r tau_c / 2, both times the efficiency.
    n, rate = len(every), len(every) / 1.0
    poisson, thermal = n * rate * 25e-9, n * rate * 2.5e-9
    assert abs(close - poisson - thermal) < 5 * sqrt(poisson)
    assert close - poisson > 3 * sqrt(poisson)


@pytest.mark.parametrize(("rate", "slices"), [(1e5, 100), (20.0, 4000)])
def test_background_light_fills_all_diodes_without_pairs(rate: float, slices: int) -> None:
    bench = quiet(source__pump_power_mw=0.0, bob__background_hz=rate, bob__hv_fraction=0.25)
    found = clicks(bench, slices)
    assert sum(map(len, found[:4])) == 0
    total = rate * slices * 0.02 * EFFICIENCY
    assert abs(sum(map(len, found[4:])) - total) < 5 * sqrt(total)
    for times, share in zip(found[4:], (0.125, 0.125, 0.375, 0.375), strict=True):
        mean = total * share
        assert abs(len(times) - mean) < 5 * sqrt(mean)


def test_fibre_delay_moves_with_length_and_temperature() -> None:
    bench = quiet(source__bandwidth_nm=0.0, bob__fibre_db_per_km=0.0)
    bench.set({"bob.fibre_km": 10.0, "bob.fibre_temperature_c": 30.0})
    delay = 10 * (4_900_000 + 38 * 10)
    found = clicks(bench, 20)
    assert len(differences(found[0], found[4], shift_ps=delay, window_ps=2)) > 100
    assert bench.truth()["delay_ps"]["bob"] == delay


def test_a_fibre_that_warms_grows_longer() -> None:
    bench = quiet(bob__fibre_km=100.0, bob__fibre_drift_k_per_h=360.0)
    before = bench.truth()["delay_ps"]["bob"]
    for _ in range(50):
        bench.advance()
    assert bench.get("bob.fibre_temperature_c") == pytest.approx(20.1)
    assert bench.truth()["delay_ps"]["bob"] - before == pytest.approx(0.1 * 38 * 100, abs=1)


def test_dispersion_broadens_the_difference_of_both_arms_linearly() -> None:
    bench = quiet(alice__fibre_km=10.0, bob__fibre_km=20.0, source__bandwidth_nm=2.0)
    found = clicks(bench, 50)
    d = differences(found[0], found[4], shift_ps=49_000_000, window_ps=2_000)
    expected = 17.0 * 30.0 * 2.0 / 2.3548
    assert abs(np.std(d) / expected - 1.0) < 5 / sqrt(2 * len(d)) + 0.02


def test_polarization_walks_at_the_rate_of_its_linewidth() -> None:
    angles = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        turned = np.eye(3)
        for _ in range(20):
            turned = polarization.drift_step(1e-4, 0.02, rng) @ turned
        angles.append(np.arccos(np.clip(turned[2, 2], -1, 1)))
    # Two axes turn the HV axis: <theta²> = 2 * 4 * 2 pi dp t for small angles.
    expected = 2 * 4 * 2 * np.pi * 1e-4 * 0.4
    assert abs(np.mean(np.square(angles)) / expected - 1.0) < 5 / sqrt(400)
    bench = quiet(bob__polarization_drift_hz=1.0)
    clicks(bench, 5)
    assert bench.truth()["qber_hv"] > 0.0


def test_two_sided_drift_keeps_rotations_proper() -> None:
    r = polarization.rotation([0.3, -1.2, 2.0])
    assert np.allclose(r @ r.T, np.eye(3))
    assert np.linalg.det(r) == pytest.approx(1.0)
    assert np.array_equal(polarization.rotation([0, 0, 0]), np.eye(3))


@pytest.mark.parametrize("v_hv", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("v_da", [0.0, 0.3, 1.0])
def test_the_source_emits_a_state(v_hv: float, v_da: float) -> None:
    x, y, z = np.diag(polarization.tensor(v_hv, v_da))
    weights = [1 + x - y + z, 1 - x + y + z, 1 + x + y - z, 1 - x - y - z]
    assert min(weights) >= -1e-12


def test_extinction_limits_the_contrast() -> None:
    qber, n = error_rate(table(clicks(quiet(alice__extinction_db=10.0), 100)), 0)
    assert abs(qber - 0.1 / 1.1) < 5 * sqrt(0.09 / n)
