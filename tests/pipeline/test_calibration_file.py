"""The calibration file: one encoding, one digest, and a specific error for each fault."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calibrated import INSTRUMENTS, NOW_S, plain, plain_calibration
from clicks import MAP

from photonlink.pipeline.calibration.files import decode, digest, encode, load, with_digest, write
from photonlink.pipeline.calibration.model import (
    Calibration,
    CalibrationContradictory,
    CalibrationDiffers,
    CalibrationError,
    CalibrationExpired,
    CalibrationMissing,
    CalibrationNotAuthenticated,
    CalibrationOtherInstruments,
    CalibrationUnreadable,
)
from photonlink.pipeline.keys.psk import PreSharedKey


@pytest.fixture(scope="module")
def psk() -> PreSharedKey:
    return PreSharedKey.generate(4096)


def test_what_was_written_is_read(psk: PreSharedKey, tmp_path: Path) -> None:
    made = plain_calibration()
    path = tmp_path / "state" / "calibration.json"
    write(path, encode(made, psk))
    found = load(path, psk)
    assert found == made
    assert found.digest == made.digest == digest(made)
    assert len(found.digest) == 64
    found.require("alice", INSTRUMENTS["alice"], MAP, NOW_S + 10)
    found.require_same(made.digest)
    assert found.seconds_left(NOW_S) == 86_400
    assert list(path.parent.iterdir()) == [path]


def test_every_changed_bit_of_the_file_is_refused(psk: PreSharedKey) -> None:
    data = encode(plain_calibration(), psk)
    places = [*range(0, len(data), 7), *(data.index(b'"hmac"') + k for k in range(75))]
    for at, bit in [(at, at % 8) for at in places] + [
        (at, 5) for at in places
    ]:  # bit 5: the case of a letter
        changed = bytearray(data)
        changed[at] ^= 1 << bit
        with pytest.raises((CalibrationUnreadable, CalibrationNotAuthenticated)):
            decode(bytes(changed), psk)
    with pytest.raises(CalibrationUnreadable):
        decode(data[: len(data) // 2], psk)


def _missing(path: Path, psk: PreSharedKey) -> None:
    load(path / "none.json", psk)


def _a_folder(path: Path, psk: PreSharedKey) -> None:
    load(path, psk)


def _other_format(path: Path, psk: PreSharedKey) -> None:
    decode(encode(plain_calibration(), psk).replace(b"calibration 2", b"calibration 9"), psk)


def _spaces(path: Path, psk: PreSharedKey) -> None:
    decode(json.dumps(json.loads(encode(plain_calibration(), psk))).encode(), psk)


def _deep(path: Path, psk: PreSharedKey) -> None:
    decode(b"[" * 100_000, psk)


def _huge(path: Path, psk: PreSharedKey) -> None:
    decode(b" " * (1 << 21), psk)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (CalibrationMissing, _missing),
        (CalibrationUnreadable, _a_folder),
        (CalibrationUnreadable, _other_format),
        (CalibrationUnreadable, _spaces),
        (CalibrationUnreadable, _deep),
        (CalibrationUnreadable, _huge),
    ],
)
def test_a_file_that_is_none_is_named(
    kind: type[CalibrationError],
    wrong: Callable[[Path, PreSharedKey], None],
    psk: PreSharedKey,
    tmp_path: Path,
) -> None:
    with pytest.raises(kind) as caught:
        wrong(tmp_path, psk)
    assert caught.value.code == kind.code
    assert caught.value.where


def test_another_pre_shared_key_is_named(psk: PreSharedKey) -> None:
    other = PreSharedKey.generate(4096)
    with pytest.raises(CalibrationNotAuthenticated, match="another pre-shared key"):
        decode(encode(plain_calibration(), other), psk)
    forged = json.loads(encode(plain_calibration(), other)) | {"psk": psk.key_id}
    text = json.dumps(forged, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(CalibrationNotAuthenticated, match="changed after"):
        decode(text, psk)
    other.close()


@pytest.mark.parametrize("now_s", [NOW_S + 86_400, NOW_S + 10**9, NOW_S - 7200])
def test_out_of_date_or_from_the_future_is_named(now_s: float) -> None:
    with pytest.raises(CalibrationExpired):
        plain_calibration().require("bob", INSTRUMENTS["bob"], MAP, now_s)


@pytest.mark.parametrize(
    ("instruments", "inputs", "named"),
    [
        ({"V": "sfifteen.irspd1 99"}, {}, "--detector bob.V"),
        ({"tagger": "picoquant.multiharp150 3"}, {}, "tagger"),
        ({"V": "sfifteen.irspd1 2H", "H": "sfifteen.irspd1 2V"}, {}, "H was"),
        ({}, {"H": 2, "V": 1}, "input of H"),
    ],
)
def test_other_instruments_are_named(
    instruments: dict[str, str], inputs: dict[str, int], named: str
) -> None:
    with pytest.raises(CalibrationOtherInstruments) as caught:
        plain_calibration().require(
            "bob", INSTRUMENTS["bob"] | instruments, MAP | inputs, NOW_S + 1
        )
    assert named in str(caught.value)


def test_a_detector_that_is_gone_is_another_bench() -> None:
    fewer = {k: v for k, v in INSTRUMENTS["alice"].items() if k != "D"}
    with pytest.raises(CalibrationOtherInstruments, match="is none"):
        plain_calibration().require("alice", fewer, MAP, NOW_S)


def test_ends_that_differ_are_named() -> None:
    other = plain_calibration(light_s=6.0)
    with pytest.raises(CalibrationDiffers):
        plain_calibration().require_same(other.digest)


def _with(made: Calibration, path: str, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(made.as_dict()))
    *parents, leaf = path.split(".")
    at = found
    for name in parents:
        at = at[name]
    at[leaf] = value
    return found


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("valid_until_s", NOW_S, "valid_until_s"),
        ("failure_probability", 0.5, "failure_probability"),
        ("alice.detectors.H.efficiency.low", 1.5, "alice.H.efficiency"),
        ("bob.detectors.V.efficiency.high", 0.5, "bob.V.efficiency"),
        ("bob.detectors.V.quiet_time_ps", 1, "bob.V.quiet_time_ps"),
        ("bob.detectors.A.delay_ps", 1e9, "bob.A.delay_ps"),
        ("bob.detectors.A.delay_uncertainty_ps", 0.0, "bob.A.delay_uncertainty_ps"),
        ("bob.detectors.A.input", 1, "bob.input"),
        ("bob.detectors.A.jitter.counts", [0, 0], "bob.A.jitter"),
        ("alice.operator", "", "alice.operator"),
        ("alice.instruments", {}, "alice.instruments"),
    ],
)
def test_values_that_contradict_each_other_are_named(path: str, value: Any, named: str) -> None:
    with pytest.raises(CalibrationContradictory) as caught:
        Calibration.from_dict(_with(plain_calibration(), path, value))
    assert caught.value.parameter == named


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("measured_at_s", 1.5),
        ("measured_at_s", True),
        ("light_s", 10**400),
        ("alice", None),
        ("alice.emulated", 1),
        ("alice.detectors", []),
        ("alice.detectors.H.jitter.counts", 5),
        ("alice.detectors.H.jitter.counts", [1.5]),
        ("alice.detectors.H", {}),
        ("bob.operator", 7),
    ],
)
def test_values_of_another_kind_are_unreadable(path: str, value: Any) -> None:
    with pytest.raises(CalibrationUnreadable):
        Calibration.from_dict(_with(plain_calibration(), path, value))


def test_an_unknown_key_is_refused_even_when_it_is_sealed(psk: PreSharedKey) -> None:
    made = plain_calibration()

    class Extended(Calibration):
        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() | {"extra": 1}

    fields = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    with pytest.raises(CalibrationUnreadable):
        decode(encode(Extended(**fields), psk), psk)


def test_summaries_of_a_station() -> None:
    made = plain_calibration()
    assert made.alice.efficiency_ratio == pytest.approx(1.02 / 0.98)
    assert made.alice.delay_uncertainty_ps == 30.0
    assert made.bob.quiet_time_ps == 50_000
    assert with_digest(made).digest == made.digest
    assert plain()["H"].jitter.centres_ps[0] == -2975.0
