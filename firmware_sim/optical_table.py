"""The optical table: computes which light reaches which detector, and when.

pump power → pairs → fibre (loss, delay, rotation) → passive analysers → diodes → taggers, in
fixed slices of bench time. Parameters change between slices, so the same file, seed and slices give
the same clicks, however often the state is read. The true figures stay here; no device gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from photonlink.firmware_sim.config import SIDES, Arm, BenchConfig, Detector, explain
from photonlink.firmware_sim.physics import polarization
from photonlink.firmware_sim.physics.detector import FWHM_PER_SIGMA, operating_point
from photonlink.firmware_sim.physics.engine import (
    DETECTORS,
    HORIZON_LAG_PS,
    ArmParams,
    DetectorParams,
    Engine,
    SourceParams,
    component_seed,
)
from photonlink.firmware_sim.physics.eve_table import EveOnTheTable
from photonlink.firmware_sim.places import Element, example_place, place_kind
from photonlink.firmware_sim.tagger import TaggerUnit

PS_PER_MS, PS_PER_S = 1_000_000_000, 1_000_000_000_000
REFERENCE_TEMPERATURE_C = 20.0
MAX_PAIR_RATE_HZ, MAX_BACKGROUND_HZ = 5e7, 1e7
SETTABLE = ("source", "alice", "bob", "eve")


class TableParameterError(ValueError):
    """A path that does not exist or a value that is not allowed; nothing was changed."""


def beside_the_table(kind: str) -> Any:
    """A place of this kind on a dark table of its own; None for an instrument without a place."""
    return OpticalTable(BenchConfig()).stand(example_place(kind)) if kind else None


class OpticalTable:
    """The table with its ports. Single-threaded; bench time only moves in :meth:`advance`."""

    def __init__(self, config: BenchConfig, seed: int | None = None) -> None:
        self.config = config.model_copy(deep=True)
        self.seed = config.seed if seed is None else seed
        self.slice_ps = round(config.slice_ms * PS_PER_MS)
        self.end_ps = 0  # everything before is emitted
        self._horizon_ps = 0  # everything before has clicked
        self.dropped_ps = 0
        self.host_now_ps: Callable[[], int] | None = None  # bench time by the host's clock
        self.engine = Engine(self.seed)
        self._clicks_total = [0] * len(DETECTORS)
        self._drift_rng = [
            np.random.default_rng(component_seed(self.seed, f"{side}.polarization"))
            for side in SIDES
        ]
        self._drifted = [np.eye(3), np.eye(3)]
        self.taggers = {
            side: TaggerUnit(i, f"{side}.tagger", self.engine, self.seed, self.now_ps)
            for i, side in enumerate(SIDES)
        }
        self._eve = EveOnTheTable(self.engine, self.seed)
        self.elements: dict[str, Element] = {}
        self._dirty = True
        self._apply()

    # ---- parameters -------------------------------------------------------------------------

    def arm(self, side: str) -> Arm:
        """Parameters of one side."""
        return {"alice": self.config.alice, "bob": self.config.bob}[side]

    def detector(self, name: str) -> Detector:
        """Parameters of one diode, ``alice.h`` … ``bob.a``."""
        side, letter = name.split(".")
        found: Detector = getattr(self.arm(side).detectors, letter)
        return found

    def get(self, path: str) -> Any:
        """A parameter, or a whole branch as a dict. ParameterError for an unknown path."""
        if own := self._quantity(path):
            return own[0].get(own[1])
        parent, leaf = self._find(path)
        value = getattr(parent, leaf)
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else value

    def set(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Set parameters by path from the next slice on, all or none; returns them as accepted."""
        trial = self.config.model_copy(deep=True)
        quantities = {path: own for path in values if (own := self._quantity(path))}
        for path, value in values.items():
            if path in quantities:
                continue
            parent, leaf = self._find(path, trial)
            if isinstance(getattr(parent, leaf), BaseModel):
                raise TableParameterError(f"{path}: a branch cannot be set, only its parameters")
            try:
                type(parent).model_validate({**parent.model_dump(), leaf: value})
                setattr(parent, leaf, value)
            except ValidationError as error:
                raise TableParameterError(f"{path}: {explain(error)}") from None
        before = {path: element.get(name) for path, (element, name) in quantities.items()}
        try:
            for path, (element, name) in quantities.items():
                element.put(name, values[path])
        except (ValueError, TypeError) as error:
            for path in before:
                quantities[path][0].put(quantities[path][1], before[path])
            raise TableParameterError(str(error)) from None
        self.config = trial
        self._dirty = True
        # a start command that follows at once uses the new figures of the clock
        self._apply_taggers()
        return {path: self.get(path) for path in values}

    def _quantity(self, path: str) -> tuple[Element, str] | None:
        """The element and the name of the quantity of a path, or None."""
        place, _, name = path.rpartition(".")
        element = self.elements.get(place)
        return (element, name) if element and name in element._values else None

    def _find(self, path: str, root: BenchConfig | None = None) -> tuple[BaseModel, str]:
        node: Any = root or self.config
        names = path.split(".")
        if names[0] not in SETTABLE:
            raise TableParameterError(f"{path}: not a parameter; branches: {', '.join(SETTABLE)}")
        for depth, name in enumerate(names):
            fields = type(node).model_fields if isinstance(node, BaseModel) else {}
            if name not in fields:
                known = ", ".join(sorted(fields)) or "none, it is a value"
                where = ".".join(names[:depth])
                raise TableParameterError(f"{path}: {where} has no {name!r}; it has: {known}")
            if depth < len(names) - 1:
                node = getattr(node, name)
        return node, names[-1]

    # ---- places -----------------------------------------------------------------------------

    def stand(self, place: str) -> Any:
        """The port of a device at ``place``. A diode with a device has no bias until the device
        sets it, and a source with one has no pump light. ValueError: no such place.
        """
        found = place_kind(place).create(self, place)
        if isinstance(found, Element):
            self.elements[place] = found
            self.touch()
        return found

    def touch(self) -> None:
        """Take a changed element into account from the next slice on."""
        self._dirty = True

    def put(self, part: BaseModel, leaf: str, value: float) -> None:
        """A device writes one parameter through its port: called often, so it is cheap without a
        change.
        """
        if getattr(part, leaf) == value:
            return
        try:
            setattr(part, leaf, value)
        except ValidationError as error:
            raise TableParameterError(f"{leaf}: {explain(error)}") from None
        self._dirty = True

    def clicks_total(self, name: str) -> int:
        """Clicks of one diode so far."""
        return self._clicks_total[DETECTORS.index(name)]

    # ---- time -------------------------------------------------------------------------------

    def advance(self) -> None:
        """One slice."""
        start, end = self.end_ps, self.end_ps + self.slice_ps
        self._step_fibres(self.slice_ps / PS_PER_S)
        if self._dirty:
            self._apply()
        self.engine.emit(start, end)
        if self._eve.sends:
            self._eve.shine(self.config, self.pair_rate_hz(), self.source_params().arms, start, end)
        clicks = self.engine.detect(end - HORIZON_LAG_PS)
        for i, n in enumerate(clicks):
            self._clicks_total[i] += n
        self._step_taggers(end, clicks)

    def drop(self, span_ps: int) -> None:
        """Let bench time pass without light, because the host was too slow. Taggers report a
        loss.
        """
        end = self.end_ps + span_ps
        self.dropped_ps += span_ps
        self.engine.skip(end - HORIZON_LAG_PS)
        self._step_taggers(end, None)

    def _step_taggers(self, end_ps: int, clicks: list[int] | None) -> None:
        horizon = end_ps - HORIZON_LAG_PS
        for i, (side, tagger) in enumerate(self.taggers.items()):
            clock = self.arm(side).clock
            own = None if clicks is None else clicks[4 * i : 4 * i + 4]
            tagger.step(self._horizon_ps, horizon, own, clock.jump_ps)
            clock.jump_ps = 0
        self.end_ps, self._horizon_ps = end_ps, horizon

    def now_ps(self) -> int:
        """Present bench time: the time stamp of a command that arrives now."""
        return max(self.end_ps, self.host_now_ps() if self.host_now_ps else 0)

    def _step_fibres(self, step_s: float) -> None:
        for i, side in enumerate(SIDES):
            arm = self.arm(side)
            if arm.fibre_drift_k_per_h != 0.0:
                warmer = arm.fibre_temperature_c + arm.fibre_drift_k_per_h * step_s / 3600.0
                arm.fibre_temperature_c = min(max(warmer, -100.0), 100.0)
                self._dirty = True
            linewidth = arm.polarization_drift_hz
            if linewidth > 0.0:
                step = polarization.drift_step(linewidth, step_s, self._drift_rng[i])
                self._drifted[i] = step @ self._drifted[i]
                self._dirty = True

    # ---- parameters into the engine ---------------------------------------------------------

    def _apply(self) -> None:
        light = self.source_params()
        self._eve.take(self.config.eve)
        self.engine.set_source(replace(light, pair_rate_hz=0.0) if self._eve.sends else light)
        for i, name in enumerate(DETECTORS):
            held = self._eve.bright_hz if name.startswith("bob") else 0.0
            self.engine.set_detector(i, replace(self.detector_params(name), bright_hz=held))
        self._apply_taggers()
        self._dirty = False

    def _apply_taggers(self) -> None:
        for side, tagger in self.taggers.items():
            tagger.set_config(self.arm(side).tagger, self.arm(side).clock)

    def pair_rate_hz(self) -> float:
        """Pairs per second: linear in the pump power, faded by phase mismatch."""
        s = self.config.source
        off = (s.pump_wavelength_nm - s.phase_matching_nm) / s.phase_matching_fwhm_nm
        loss_db = s.pump_loss_db + sum(e.pump_loss_db() for e in self.elements.values())
        power = s.pump_power_mw * 10.0 ** (-loss_db / 10.0)
        rate = s.brightness_hz_per_mw * power * 2.0 ** (-((2.0 * off) ** 2))
        return float(min(rate, MAX_PAIR_RATE_HZ))

    def source_params(self) -> SourceParams:
        """The engine's parameters by the present configuration."""
        s, rate = self.config.source, self.pair_rate_hz()
        turn = [
            self._turned(side)
            @ polarization.rotation(np.radians(self.arm(side).rotation_deg))
            @ self._drifted[i]
            for i, side in enumerate(SIDES)
        ]
        a, b = (polarization.contrast(self.arm(side).extinction_db) for side in SIDES)
        state = polarization.tensor(s.visibility_hv, s.visibility_da)
        still = np.eye(3)
        return SourceParams(
            pair_rate_hz=rate,
            companion_probability=min(rate * s.coherence_time_ps * 0.5e-12, 1.0),
            coherence_ps=s.coherence_time_ps,
            arms=(self._arm_params("alice", 1.0), self._arm_params("bob", -1.0)),
            correlation=polarization.correlations(state, turn[0], turn[1], a * b),
            intercept_fraction=self.config.eve.intercept_fraction,
            alice_eve=polarization.correlations(state, turn[0], still, a),
            eve_bob=polarization.correlations(still, still, turn[1], b),
        )

    def _turned(self, side: str) -> npt.NDArray[np.float64]:
        turn = np.eye(3)
        for element in self.elements.values():
            own = element.rotation(side)
            turn = turn if own is None else own @ turn
        return turn

    def transmission(self, side: str) -> float:
        """Transmission of one arm, from the source to the analyser: coupling, fibre, elements."""
        arm = self.arm(side)
        loss_db = arm.loss_db + arm.fibre_km * arm.fibre_db_per_km
        loss_db += sum(e.loss_db(side) for e in self.elements.values())
        return float(10.0 ** (-loss_db / 10.0))

    def _arm_params(self, side: str, sign: float) -> ArmParams:
        arm, sigma_nm = self.arm(side), self.config.source.bandwidth_nm / FWHM_PER_SIGMA
        shone = sum(e.background_hz(side) for e in self.elements.values())
        warm = arm.fibre_temperature_c - REFERENCE_TEMPERATURE_C
        delay = arm.fibre_km * (arm.fibre_us_per_km * 1e6 + arm.fibre_ps_per_km_k * warm)
        delay += sum(e.delay_ps(side) for e in self.elements.values())
        return ArmParams(
            transmission=self.transmission(side),
            hv_fraction=arm.hv_fraction,
            delay_ps=max(round(delay), 0),
            # A narrow pump makes the photons' spectra anticorrelated: one is late, one early.
            dispersion_ps=sign * arm.dispersion_ps_per_nm_km * arm.fibre_km * sigma_nm,
            background_hz=min(arm.background_hz + shone, MAX_BACKGROUND_HZ),
        )

    def detector_params(self, name: str) -> DetectorParams:
        """One diode at its present operating point."""
        d = self.detector(name)
        now = operating_point(d)
        return DetectorParams(
            efficiency=now.efficiency,
            dark_hz=now.dark_hz,
            dead_ps=d.dead_time_s * 1e12,
            jitter_ps=d.jitter_fwhm_ps / FWHM_PER_SIGMA,
            tail_fraction=d.tail_fraction,
            tail_ps=d.tail_ps,
            trap_amplitude=[x * now.afterpulse_factor for x in d.afterpulse_amplitude],
            trap_tau_ps=[x * 1e12 * now.trap_time_factor for x in d.afterpulse_tau_s],
            delay_ps=d.cable_delay_ps,
            recovery_ps=d.recovery_s * 1e12,
            blinding_hz=d.blinding_photons_hz,
            bias_tau_ps=d.bias_tau_s * 1e12,
            never_photons=d.never_photons,
            always_photons=d.always_photons,
            walk_ps=d.walk_ps,
        )

    # ---- status ----------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """JSON-able: time, light and taggers."""
        return {
            "name": self.config.name,
            "seed": self.seed,
            "bench_time_s": self.end_ps / PS_PER_S,
            "dropped_s": self.dropped_ps / PS_PER_S,
            "pump_power_mw": self.config.source.pump_power_mw,
            "pair_rate_hz": self.pair_rate_hz(),
            "taggers": {side: tagger.status() for side, tagger in self.taggers.items()},
        }

    def truth(self) -> dict[str, Any]:
        """JSON-able: the true figures. For tests and people, never for a device."""
        detectors = {}
        for i, name in enumerate(DETECTORS):
            t = self.engine.detector_truth(i)
            detectors[name] = {
                "photons_detected": t.photons_detected,
                "dark_counts": t.dark_counts,
                "afterpulses": t.afterpulses,
                "lost_to_dead_time": t.lost_to_dead_time,
                "clicks": t.clicks,
                "bright_clicks": t.bright_clicks,
                "lost_to_low_bias": t.lost_to_low_bias,
            }
        p = self.source_params()
        return {
            **self.engine.source_truth(),
            "pair_rate_hz": p.pair_rate_hz,
            "correlation": p.correlation.tolist(),
            "qber_hv": 0.5 * (1.0 - float(p.correlation[0, 0])),
            "qber_da": 0.5 * (1.0 - float(p.correlation[1, 1])),
            "delay_ps": {side: arm.delay_ps for side, arm in zip(SIDES, p.arms, strict=True)},
            "detectors": detectors,
        }
