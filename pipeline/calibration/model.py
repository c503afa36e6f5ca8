"""The calibration of a link: constants of its bench, measured with trusted light.

One frozen record covers both stations. It alone decides which clicks pair; light that arrives while
key is made has no influence. Delays, efficiencies, jitter and dead times come from here, and the
light of the line is only compared with them (:mod:`photonlink.pipeline.stages.judge`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.stages.window import LETTERS

SIDES = ("alice", "bob")
TAGGER = "tagger"
MAX_DELAY_PS = 10_000_000
MAX_DEAD_TIME_PS = 10**12
MAX_VALID_S = 366 * 86_400
MAX_HISTOGRAM_BINS = 4096


class CalibrationError(PhotonlinkError, ValueError):
    """No key can be made with this calibration. Each kind has a ``code`` of its own."""

    code = "calibration"


class CalibrationMissing(CalibrationError):
    """There is no calibration file."""

    code = "calibration_missing"


class CalibrationUnreadable(CalibrationError):
    """The file is not a calibration: damaged, of another version, or a value is out of range."""

    code = "calibration_unreadable"


class CalibrationNotAuthenticated(CalibrationError):
    """The file was not written under this pre-shared key, or was changed since."""

    code = "calibration_not_authenticated"


class CalibrationExpired(CalibrationError):
    """Out of date, or from the future."""

    code = "calibration_expired"


class CalibrationOtherInstruments(CalibrationError):
    """Measured with other instruments, or with the same ones on other inputs."""

    code = "calibration_other_instruments"


class CalibrationDiffers(CalibrationError):
    """The two ends hold different calibrations."""

    code = "calibration_differs"


class CalibrationContradictory(CalibrationError):
    """Values that exclude one another; ``parameter`` names the first."""

    code = "calibration_contradictory"

    def __init__(self, parameter: str, what: str, seen: object) -> None:
        self.parameter = parameter
        super().__init__(
            f"{parameter} {what}",
            where="calibration",
            seen=str(seen),
            hint="Calibrate again: photonlink check --calibrate",
        )


def _require(good: bool, parameter: str, what: str, seen: object) -> None:
    if not good:
        raise CalibrationContradictory(parameter, what, seen)


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the bounds that hold it but for the calibration's failure probability."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bin from ``low_ps`` on; ``background`` of them per bin are accidental."""

    low_ps: int
    bin_ps: int
    counts: tuple[int, ...]
    background: float

    @property
    def centres_ps(self) -> tuple[float, ...]:
        return tuple(self.low_ps + self.bin_ps * (k + 0.5) for k in range(len(self.counts)))


@dataclass(frozen=True, slots=True)
class DetectorCalibration:
    """One detector on its input of the tagger.

    input: the tagger's channel.   delay_ps ± delay_uncertainty_ps: to subtract from its times;
    the four of a station average to zero.   efficiency: of a photon at the station's entrance,
    relative to the mean of the four, passive splitter included.   jitter: coincidence times of
    this detector about their mean, all partners together: its own jitter, its tagger's rounding
    and those of the partners, the same mixture for the four.   dead_time_ps: shortest distance of
    two clicks.   quiet_time_ps: from then on the rate after a click is the mean rate. dark_hz:
    clicks in the dark.   pairs: coincidences behind these figures.
    """

    input: int
    delay_ps: float
    delay_uncertainty_ps: float
    efficiency: Interval
    jitter: Histogram
    dead_time_ps: int
    quiet_time_ps: int
    dark_hz: float
    pairs: int


@dataclass(frozen=True, slots=True)
class StationCalibration:
    """One end: who vouched for the light, with which instruments, what was measured.

    instruments: place (``tagger``, ``H`` … ``A``) → driver and serial number, ``"driver serial"``;
    a detector without a driver of its own has no entry.
    """

    operator: str
    emulated: bool
    resolution_ps: float
    instruments: Mapping[str, str]
    detectors: Mapping[str, DetectorCalibration]

    @property
    def quiet_time_ps(self) -> int:
        """Time after a click until all four detectors have their calibrated efficiency again."""
        return max(d.quiet_time_ps for d in self.detectors.values())

    @property
    def delay_uncertainty_ps(self) -> float:
        return max(d.delay_uncertainty_ps for d in self.detectors.values())

    @property
    def efficiency_ratio(self) -> float:
        """Largest ratio of two detectors' efficiencies that the intervals allow."""
        found = [d.efficiency for d in self.detectors.values()]
        return max(e.high for e in found) / min(e.low for e in found)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Both stations. Times are UNIX seconds; failure_probability: that any bound is wrong."""

    measured_at_s: int
    valid_until_s: int
    failure_probability: float
    light_s: float
    alice: StationCalibration
    bob: StationCalibration
    digest: str = field(default="", compare=False)

    def station(self, role: str) -> StationCalibration:
        return {"alice": self.alice, "bob": self.bob}[role]

    @property
    def emulated(self) -> bool:
        return self.alice.emulated or self.bob.emulated

    def seconds_left(self, now_s: float) -> float:
        """Seconds until it expires; negative afterwards."""
        return self.valid_until_s - now_s

    def require(
        self, role: str, instruments: Mapping[str, str], inputs: Mapping[str, int], now_s: float
    ) -> None:
        """CalibrationError unless it is valid now and for these instruments on these inputs."""
        self.require_in_force(now_s)
        station = self.station(role)
        calibrated = {p: str(x) for p, x in station.instruments.items()}
        calibrated |= {f"input of {p}": str(d.input) for p, d in station.detectors.items()}
        present = dict(instruments) | {f"input of {p}": str(n) for p, n in inputs.items()}
        differs = [
            f"{place} was {calibrated.get(place, 'none')}, is {present.get(place, 'none')}"
            for place in sorted(calibrated.keys() | present.keys())
            if calibrated.get(place) != present.get(place)
        ]
        if differs:
            places = [p for p in LETTERS if any(d.startswith(f"{p} ") for d in differs)]
            one = len(differs) == 1 and len(places) == 1
            again = f" --detector {role}.{places[0]}" if one else ""
            raise CalibrationOtherInstruments(
                "the calibration was measured with other instruments",
                where=role,
                seen="; ".join(differs),
                hint=f"Calibrate again: photonlink check --calibrate{again}",
            )

    def require_in_force(self, now_s: float) -> None:
        """CalibrationExpired when it is out of date."""
        hint = "Calibrate again: photonlink check --calibrate"
        if now_s >= self.valid_until_s:
            raise CalibrationExpired(
                f"the calibration ran out {now_s - self.valid_until_s:,.0f} s ago",
                where="calibration",
                hint=hint,
            )
        if now_s < self.measured_at_s - 3600:
            raise CalibrationExpired(
                f"the calibration is from {self.measured_at_s - now_s:,.0f} s in the future",
                where="calibration",
                hint="Is this host's clock right?",
            )

    def require_same(self, peer_digest: str) -> None:
        """CalibrationDiffers unless the peer holds the same record."""
        if peer_digest != self.digest:
            raise CalibrationDiffers(
                "the two ends hold different calibrations",
                where="calibration",
                seen=f"{self.digest[:12]} here, {peer_digest[:12]} at the peer",
                hint="Calibrate both ends together: photonlink check --calibrate",
            )

    # ---- as plain data ----
    def as_dict(self) -> dict[str, Any]:
        found = dataclasses.asdict(self)
        del found["digest"]
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """CalibrationUnreadable for a missing or unknown key or a value of another kind;
        CalibrationContradictory for values that exclude each other."""
        try:
            made = cls(
                measured_at_s=_whole(found["measured_at_s"]),
                valid_until_s=_whole(found["valid_until_s"]),
                failure_probability=_real(found["failure_probability"]),
                light_s=_real(found["light_s"]),
                alice=_station(found["alice"]),
                bob=_station(found["bob"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError, _WrongKind) as error:
            raise CalibrationUnreadable(
                "the calibration cannot be read",
                where="calibration",
                seen=f"{type(error).__name__}: {error}",
                hint="Calibrate again: photonlink check --calibrate",
            ) from error
        made.validate()
        return made

    def validate(self) -> None:
        """CalibrationContradictory for the first impossible value."""
        span = self.valid_until_s - self.measured_at_s
        _require(0 < span <= MAX_VALID_S, "valid_until_s", "must lie 1 s to 1 year later", span)
        _require(
            0 < self.failure_probability <= 1e-3, "failure_probability", "must be in (0, 1e-3]",
            self.failure_probability,
        )  # fmt: skip
        _require(0 < self.light_s <= 1e6, "light_s", "must be above 0", self.light_s)
        for role in SIDES:
            _validate_station(role, self.station(role))


def _validate_station(role: str, s: StationCalibration) -> None:
    _require(0 < len(s.operator) <= 200, f"{role}.operator", "must be named", s.operator)
    _require(0 < s.resolution_ps <= 1e6, f"{role}.resolution_ps", "0 to 1e6", s.resolution_ps)
    _require(set(s.detectors) == set(LETTERS), f"{role}.detectors", "are H, V, D, A",
             list(s.detectors))  # fmt: skip
    places = {TAGGER, *LETTERS}
    _require(TAGGER in s.instruments and set(s.instruments) <= places, f"{role}.instruments",
             "are the tagger and detectors", list(s.instruments))  # fmt: skip
    inputs = {d.input for d in s.detectors.values()}
    _require(len(inputs) == 4, f"{role}.input", "is used twice", sorted(inputs))
    for letter, d in s.detectors.items():
        _validate_detector(f"{role}.{letter}", d)


def _validate_detector(name: str, d: DetectorCalibration) -> None:
    _require(0 <= d.input <= 255, f"{name}.input", "must be 0 to 255", d.input)
    _require(abs(d.delay_ps) <= MAX_DELAY_PS, f"{name}.delay_ps", "is beyond 10 us", d.delay_ps)
    _require(0 < d.delay_uncertainty_ps <= MAX_DELAY_PS, f"{name}.delay_uncertainty_ps",
             "must be above 0 and at most 10 us", d.delay_uncertainty_ps)  # fmt: skip
    e = d.efficiency
    _require(0 < e.low <= e.value <= e.high <= 4.0, f"{name}.efficiency",
             "needs 0 < low <= value <= high <= 4", (e.low, e.value, e.high))  # fmt: skip
    _require(0 <= d.dead_time_ps <= d.quiet_time_ps <= MAX_DEAD_TIME_PS, f"{name}.quiet_time_ps",
             "must be at least the dead time, at most 1 s",
             (d.dead_time_ps, d.quiet_time_ps))  # fmt: skip
    _require(0 <= d.dark_hz < math.inf, f"{name}.dark_hz", "must not be negative", d.dark_hz)
    _require(d.pairs > 0, f"{name}.pairs", "are none", d.pairs)
    j = d.jitter
    _require(0 < len(j.counts) <= MAX_HISTOGRAM_BINS and j.bin_ps > 0, f"{name}.jitter",
             "has no bins", len(j.counts))  # fmt: skip
    _require(min(j.counts) >= 0 and sum(j.counts) > 0 and 0 <= j.background < math.inf,
             f"{name}.jitter", "has no counts", sum(j.counts))  # fmt: skip


class _WrongKind(ValueError):
    """A value of another type than the record has."""


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _WrongKind(f"{value!r} is not a whole number")
    return value


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _WrongKind(f"{value!r} is not a finite number")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _WrongKind(f"{value!r} is not text")
    return value


def _station(found: Mapping[str, Any]) -> StationCalibration:
    if not isinstance(found["emulated"], bool):
        raise _WrongKind("emulated is not true or false")
    return StationCalibration(
        operator=_text(found["operator"]),
        emulated=found["emulated"],
        resolution_ps=_real(found["resolution_ps"]),
        instruments={_text(k): _text(v) for k, v in found["instruments"].items()},
        detectors={_text(k): _detector(v) for k, v in found["detectors"].items()},
    )


def _detector(found: Mapping[str, Any]) -> DetectorCalibration:
    jitter = found["jitter"]
    return DetectorCalibration(
        input=_whole(found["input"]),
        delay_ps=_real(found["delay_ps"]),
        delay_uncertainty_ps=_real(found["delay_uncertainty_ps"]),
        efficiency=Interval(**{k: _real(v) for k, v in found["efficiency"].items()}),
        jitter=Histogram(
            _whole(jitter["low_ps"]), _whole(jitter["bin_ps"]),
            tuple(_whole(n) for n in jitter["counts"]), _real(jitter["background"]),
        ),
        dead_time_ps=_whole(found["dead_time_ps"]),
        quiet_time_ps=_whole(found["quiet_time_ps"]),
        dark_hz=_real(found["dark_hz"]),
        pairs=_whole(found["pairs"]),
    )  # fmt: skip
