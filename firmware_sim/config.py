"""The bench file: a typed model of every figure on the optical table. Unknown keys are refused.

Everything here except ``devices`` can also be read and set while the bench runs, by its dotted path
(``bob.loss_db``), through the control socket.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from photonlink.firmware_sim.kit.registration import models
from photonlink.firmware_sim.physics.eve import STRATEGIES
from photonlink.firmware_sim.places import place_kind, taken_by
from photonlink.firmware_sim.text_file import FileRefused, read_text

MAX_BYTES = 1 << 20

Letter = Literal["h", "v", "d", "a"]
LETTERS: tuple[Letter, ...] = ("h", "v", "d", "a")
SIDES = ("alice", "bob")

Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0, le=1e15)]
DeviceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Rotation = tuple[float, float, float]


class Part(BaseModel):
    """A component of the bench: unknown keys refused, changes validated, no NaN."""

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, allow_inf_nan=False, populate_by_name=True
    )


class SourceTable(Part):
    """Continuous-wave type-0/II SPDC source of polarization-entangled pairs in the state Φ+."""

    pump_power_mw: Annotated[float, Field(ge=0, le=1e4)] = 0.0
    """Light at the crystal's input; a laser device at the place ``pump`` writes it."""
    pump_wavelength_nm: Annotated[float, Field(ge=200, le=2000)] = 775.0
    pump_loss_db: Annotated[float, Field(ge=0, le=100)] = 0.0
    brightness_hz_per_mw: Annotated[float, Field(ge=0, le=1e9)] = 40e3
    """Pairs per second and milliwatt that enter the two arms, before all loss."""
    phase_matching_nm: Annotated[float, Field(ge=200, le=2000)] = 775.0
    phase_matching_fwhm_nm: Annotated[float, Field(gt=0, le=100)] = 2.0
    visibility_hv: Fraction = 0.97
    visibility_da: Fraction = 0.97
    coherence_time_ps: Annotated[float, Field(ge=0, le=1e4)] = 1.0
    bandwidth_nm: Annotated[float, Field(ge=0, le=200)] = 1.0
    """FWHM of the pairs' spectrum; with dispersion it broadens the coincidence peak."""


class Detector(Part):
    """One InGaAs avalanche diode at its nominal bias, temperature and threshold."""

    efficiency: Fraction = 0.30
    dark_hz: Annotated[float, Field(ge=0, le=1e7)] = 1500.0
    dead_time_s: Annotated[float, Field(ge=0, le=1e-3)] = 5e-6
    jitter_fwhm_ps: Annotated[float, Field(ge=0, le=5000)] = 240.0
    tail_fraction: Fraction = 0.1
    tail_ps: Annotated[float, Field(ge=0, le=2000)] = 150.0
    afterpulse_amplitude: list[Fraction] = Field(default_factory=lambda: [0.03, 0.02], max_length=4)
    """Expected releases per click and kind of trap, counted from the click itself."""
    afterpulse_tau_s: list[Annotated[float, Field(ge=1e-9, le=1)]] = Field(
        default_factory=lambda: [1e-6, 5e-6], max_length=4
    )
    cable_delay_ps: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    nominal_excess_bias_v: Annotated[float, Field(gt=0, le=50)] = 2.0
    nominal_temperature_c: Annotated[float, Field(ge=-273, le=60)] = -30.0
    excess_bias_v: Annotated[float, Field(ge=-1000, le=50)] = 2.0
    """Bias above breakdown; a detector device at this place writes it (and starts at no bias)."""
    temperature_c: Annotated[float, Field(ge=-273, le=100)] = -30.0
    pulse_mv: Annotated[float, Field(gt=0, le=1e5)] = 300.0
    """Mean height of an avalanche pulse at nominal bias."""
    noise_mv: Annotated[float, Field(gt=0, le=1e4)] = 5.0
    threshold_mv: Annotated[float, Field(ge=0, le=1e5)] = 50.0
    recovery_s: Annotated[float, Field(ge=0, le=1e-3)] = 0.0
    """After the dead time the efficiency returns as 1 - exp(-t / this); 0: at once."""
    blinding_photons_hz: Annotated[float, Field(ge=0, le=1e20)] = 1e15
    """Continuous light of this many photons per second leaves no bias: linear mode (0: never)."""
    bias_tau_s: Annotated[float, Field(ge=0, le=1)] = 1e-6
    """How long the bias circuit remembers a pulse."""
    never_photons: Annotated[float, Field(ge=0, le=1e18)] = 1.5e7
    """In linear mode a pulse up to here never clicks, from always_photons on always."""
    always_photons: Annotated[float, Field(ge=0, le=1e18)] = 1.9e7
    walk_ps: Annotated[float, Field(ge=0, le=1000)] = 400.0
    """A pulse of ten times the energy clicks earlier by this."""

    @model_validator(mode="after")
    def _pairs(self) -> Detector:
        if len(self.afterpulse_amplitude) != len(self.afterpulse_tau_s):
            raise ValueError("afterpulse_amplitude and afterpulse_tau_s differ in length")
        if sum(self.afterpulse_amplitude) >= 0.9:
            raise ValueError("afterpulse_amplitude sums to 0.9 or more: clicks would never end")
        if self.always_photons < self.never_photons:
            raise ValueError("always_photons is below never_photons")
        return self


class DetectorsTable(Part):
    """The four diodes behind a passive analyser."""

    h: Detector = Field(default_factory=Detector)
    v: Detector = Field(default_factory=Detector)
    d: Detector = Field(default_factory=Detector)
    a: Detector = Field(default_factory=Detector)


class ClockTable(Part):
    """The oscillator of one tagger and the host stamp of its start."""

    frequency_ppm: Annotated[float, Field(ge=-1000, le=1000)] = 0.0
    drift_ppb_per_s: Annotated[float, Field(ge=-1000, le=1000)] = 0.0
    white_fm: Annotated[float, Field(ge=0, le=1e-6)] = 1e-11
    """Allan deviation at 1 s of the white frequency noise."""
    random_walk_fm: Annotated[float, Field(ge=0, le=1e-6)] = 1e-12
    """Allan deviation at 1 s of the random-walk frequency noise."""
    start_offset_s: Annotated[float, Field(ge=-10, le=10)] = 0.0
    """The tagger's zero lies this much after the moment its host believes it started."""
    start_jitter_s: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Drawn afresh at every start, uniform in ±this."""
    jump_ps: Annotated[int, Field(ge=-(10**14), le=10**14)] = 0
    """Setting it makes the clock jump once, in the next slice. A clock that jumps back
    records nothing until it has caught up."""


class Tagger(Part):
    """How the tagger is connected; the figures of its hardware come from the device."""

    inputs: dict[Letter, Annotated[int, Field(ge=0, le=63)]] = {"h": 0, "v": 1, "d": 2, "a": 3}
    resolution_ps: Annotated[float, Field(gt=0, le=1e6)] | None = None
    dead_time_ps: NonNegative | None = None
    jitter_ps: Annotated[float, Field(ge=0, le=2000)] | None = None
    fifo_tags: Annotated[int, Field(ge=1, le=1 << 28)] | None = None
    drop_tags: Annotated[int, Field(ge=0, le=1 << 28)] = 0
    """Fault: the next so many events of a running acquisition vanish without a flag."""

    @model_validator(mode="after")
    def _distinct(self) -> Tagger:
        if len(set(self.inputs.values())) != len(self.inputs):
            raise ValueError("two detectors share one tagger input")
        return self


class Arm(Part):
    """One side: fibre, passive analyser, four detectors, tagger and its clock."""

    loss_db: Annotated[float, Field(ge=0, le=200)] = 2.0
    """Coupling, connectors and receiver optics: everything but the fibre and the diodes."""
    fibre_km: Annotated[float, Field(ge=0, le=1000)] = 0.1
    fibre_db_per_km: Annotated[float, Field(ge=0, le=100)] = 0.2
    fibre_us_per_km: Annotated[float, Field(ge=0, le=100)] = 4.9
    fibre_temperature_c: Annotated[float, Field(ge=-100, le=100)] = 20.0
    fibre_drift_k_per_h: Annotated[float, Field(ge=-1000, le=1000)] = 0.0
    """The fibre's temperature moves by itself, and with it the delay."""
    fibre_ps_per_km_k: Annotated[float, Field(ge=0, le=1000)] = 38.0
    dispersion_ps_per_nm_km: Annotated[float, Field(ge=-500, le=500)] = 17.0
    rotation_deg: Rotation = (0.0, 0.0, 0.0)
    """Rotation vector on the Poincaré sphere, degrees, about the axes (DA, RL, HV)."""
    polarization_drift_hz: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Linewidth of the polarization's random walk (Czegledi et al., arXiv:1507.00953)."""
    hv_fraction: Fraction = 0.5
    extinction_db: Annotated[float, Field(ge=0, le=100)] = 30.0
    background_hz: Annotated[float, Field(ge=0, le=1e7)] = 0.0
    detectors: DetectorsTable = Field(default_factory=DetectorsTable)
    clock: ClockTable = Field(default_factory=ClockTable)
    tagger: Tagger = Field(default_factory=Tagger)


class Eve(Part):
    """Between the source and Bob. intercept_fraction: intercept and resend in a random one of two
    bases. strategy: instead of the source's pairs she sends the light of physics/eve.py, made from
    as many pairs with the source's mean visibility; rotations of polarization in the fibres do not
    act on it."""

    intercept_fraction: Fraction = 0.0
    strategy: str = "none"
    share: Fraction = 1.0
    numbers: dict[str, float] = Field(default_factory=dict)

    @field_validator("strategy")
    @classmethod
    def _strategy(cls, value: str) -> str:
        if value not in STRATEGIES:
            raise ValueError(f"unknown strategy {value!r}; known: {', '.join(STRATEGIES)}")
        return value


class DeviceEntry(Part):
    """One emulated instrument: its model, where it is plugged in, and its own settings."""

    model: str
    place: Annotated[str, Field(validation_alias=AliasChoices("place", "port"))] = ""
    """``pump``, ``alice.tagger`` or ``alice.h`` …: see ``elements/``. Older files say ``port``.
    Without one the instrument stands beside the table: it emits nowhere and sees no light."""
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> DeviceEntry:
        known = models()
        if self.model not in known:
            near = difflib.get_close_matches(self.model, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise ValueError(f"unknown model {self.model!r}; {hint}")
        kind = known[self.model].kind
        if self.place and place_kind(self.place).kind != kind:
            raise ValueError(
                f"model {self.model!r} is a {kind or 'device without a place'} "
                f"and cannot stand at {self.place!r}"
            )
        return self


class ScheduledFault(Part):
    """A fault scheduled for ``at_s`` of bench time: parameters to set, or one device's fault. With
    ``for_s`` the old values are restored.
    """

    at_s: NonNegative
    for_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    device: str = ""
    command: dict[str, Any] = Field(default_factory=dict)


class BenchConfig(Part):
    """A whole bench file."""

    name: str = "bench"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    slice_ms: Annotated[float, Field(ge=1, le=1000)] = 20.0
    max_lag_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Further behind the host's clock than this, the bench drops time, as a declared loss."""
    source: SourceTable = Field(default_factory=SourceTable)
    alice: Arm = Field(default_factory=Arm)
    bob: Arm = Field(default_factory=Arm)
    eve: Eve = Field(default_factory=Eve)
    devices: dict[DeviceName, DeviceEntry] = Field(default_factory=dict)
    faults: list[ScheduledFault] = Field(default_factory=list, max_length=1000)

    @model_validator(mode="after")
    def _one_per_place(self) -> BenchConfig:
        seen: dict[str, str] = {}
        for name, entry in self.devices.items():
            for place in taken_by(entry.place) if entry.place else ():
                if place in seen:
                    raise ValueError(f"{seen[place]} and {name} both stand at {place!r}")
                seen[place] = name
        for fault in self.faults:
            if fault.device and fault.device not in self.devices:
                raise ValueError(f"a scheduled fault names no device: {fault.device!r}")
        return self


class BenchFileError(ValueError):
    """A bench file that cannot be used: the message names file and key."""


def parse_bench(text: str, where: str = "bench file") -> BenchConfig:
    """TOML text → model. Raises BenchFileError that names every wrong key."""
    try:
        return BenchConfig.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BenchFileError(f"{where}: not TOML: {error}") from None
    except ValidationError as error:
        raise BenchFileError(f"{where}: {explain(error)}") from None


def load_bench(path: Path) -> BenchConfig:
    """Read a bench file. Raises BenchFileError."""
    try:
        text = read_text(path, at_most=MAX_BYTES)
    except FileRefused as error:
        raise BenchFileError(str(error)) from None
    return parse_bench(text, str(path))


def explain(error: ValidationError) -> str:
    """All errors of pydantic on one line: ``key: fault``."""
    return "; ".join(
        f"{'.'.join(str(p) for p in e['loc']) or 'bench'}: "
        + ("unknown key" if e["type"] == "extra_forbidden" else e["msg"])
        for e in error.errors(include_url=False)
    )


def default_bench() -> str:
    """The demo's bench file, TOML text."""
    return (
        resources.files("photonlink.firmware_sim")
        .joinpath("default_bench.toml")
        .read_text(encoding="utf-8")
    )


def with_models(bench: BenchConfig, changes: Iterable[str]) -> BenchConfig:
    """The bench with other instruments at their places: each change is ``NAME=MODEL``, at the
    model's defaults. Raises BenchFileError."""
    devices = dict(bench.devices)
    for change in changes:
        name, _, model = change.partition("=")
        if name not in devices:
            raise BenchFileError(f"--model {change}: no device {name!r}; known: {sorted(devices)}")
        try:
            devices[name] = DeviceEntry(model=model, place=devices[name].place)
        except ValidationError as error:
            raise BenchFileError(f"--model {change}: {explain(error)}") from None
    return bench.model_copy(update={"devices": devices})
