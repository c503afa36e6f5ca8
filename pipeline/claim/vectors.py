"""Runs the numeric vectors (``tests/vectors``), each through its function."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.regular_file import FileError, read_text
from photonlink.pipeline.native.hashing import PolyMac, toeplitz, toeplitz_modified
from photonlink.pipeline.native.secret import SecretBits
from photonlink.pipeline.stages import finite_key as fk
from photonlink.pipeline.stages.finite_key.bbm92 import tlgr2012_mu
from photonlink.pipeline.stages.finite_key.decoy import DecoyKeyLength

Inputs = dict[str, Any]
# relative tolerances of the vectors: reals 1e-9, exact tails and optimised values 1e-6
TOLERANCE = {"phase_error_exact": 1e-6, "bbm92_exact": 1e-6, "lim2021": 1e-6,
             "lim2021_optimised": 1e-6}  # fmt: skip


class VectorFileError(PhotonlinkError, ValueError):
    """A file that is not a file of vectors."""


@dataclass(frozen=True, slots=True)
class Case:
    """differs: the fields that disagree, as text; empty: the vector is met."""

    name: str
    function: str
    differs: tuple[str, ...]


MAX_BYTES = 64 << 20


def run_file(path: Path) -> list[Case]:
    """Run all vectors of a file. VectorFileError when there are none."""
    try:
        every = json.loads(read_text(path, at_most=MAX_BYTES))["vectors"]
    except FileError as error:
        raise VectorFileError(error.what, where=error.where, hint=error.hint) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VectorFileError("no vectors", where=str(path), seen=str(error)) from error
    fields = {"id", "function", "inputs", "expected"}
    if not isinstance(every, list) or not every:
        raise VectorFileError("no vectors: the list is empty", where=str(path))
    for vector in every:
        if not isinstance(vector, dict) or not fields <= vector.keys():
            raise VectorFileError(
                f"a vector needs {', '.join(sorted(fields))}", where=str(path), seen=repr(vector)
            )
    return [run(vector) for vector in every]


def run(vector: dict[str, Any]) -> Case:
    """Run one vector. One without expectations or without a function, or with refused inputs,
    differs.
    """
    function, expected = vector["function"], vector["expected"]
    if function not in RUNNERS:
        return Case(vector["id"], function, (f"nothing runs {function}",))
    if not expected:
        return Case(vector["id"], function, ("it expects nothing",))
    try:
        found = RUNNERS[function](vector["inputs"])
    except (fk.ParameterError, KeyError, TypeError) as error:
        return Case(vector["id"], function, (f"it cannot run: {error!r}",))
    tolerance = TOLERANCE.get(function, 1e-9)
    wrong = []
    for name, wanted in expected.items():
        ours = found.get(name, "missing")
        # the one length that depends on an optimiser, as its note says
        loose = function == "lim2021_optimised" and name == "ell"
        if not (abs(ours - wanted) <= 1 if loose else _agree(ours, wanted, tolerance)):
            wrong.append(f"{name}: {ours} instead of {wanted}")
    return Case(vector["id"], function, tuple(wrong))


def _agree(ours: object, wanted: object, tolerance: float) -> bool:
    if isinstance(wanted, float) and isinstance(ours, float | int):
        return math.isclose(ours, wanted, rel_tol=tolerance, abs_tol=0.0)
    return ours == wanted


def _charges(i: Inputs) -> tuple[float, float, float]:
    return i["leak_ec"], i["eps_sec"], i["eps_cor"]


def _lim2014(i: Inputs) -> Inputs:
    r = fk.lim2014(
        i["mus"], i["ps"], i["n_K"], i["n_T"], i["m_T"], *_charges(i), thresholds=fk.OBSERVED,
        bound=i.get("bound", "hoeffding"), guard="printed",
    )  # fmt: skip
    return _decoy(r) | {"s_T0": r.details["s_test_0"]}


def _rusca2018(i: Inputs) -> Inputs:
    r = fk.rusca2018(
        i["mus"], i["ps"], i["n_K"], i["m_K"], i["n_T"], i["m_T"], *_charges(i),
        thresholds=fk.OBSERVED, vacuum=i.get("vac", "min"), gconst=i.get("gconst", 19.0),
        guard="printed",
    )  # fmt: skip
    uppers = {"s_K0_upper": r.details["s_key_0_upper"], "s_T0_upper": r.details["s_test_0_upper"]}
    return _decoy(r) | uppers


def _decoy(r: DecoyKeyLength) -> Inputs:
    return {
        "tau0": r.tau_0, "tau1": r.tau_1, "s_K0": r.s_key_0, "s_K1": r.s_key_1,
        "s_T1": r.s_test_1, "v_T1_raw": r.v_test_1_raw, "v_T1": r.v_test_1,
        "lambda_T": r.phase.rate, "gamma": r.phase.gamma, "phi_K": r.phase.phi,
        "overhead_bits": r.overhead_bits, "leak_ec": r.leak_bits, "ell_real": r.length_real,
        "ell": r.length,
    }  # fmt: skip


def _tlgr2012(i: Inputs) -> Inputs:
    r = fk.tlgr2012(i["n"], i["k"], i["Q_tol"], *_charges(i))
    mu = tlgr2012_mu(i["n"], i["k"], i["eps_sec"])
    return {"mu": mu, "phi": r.phi, "ell_real": r.length_real, "ell": r.length}


def _lim2021(i: Inputs) -> Inputs:
    r = fk.lim2021(i["n"], i["k"], i["Q_tol"], *_charges(i), optimise=i["optimise"])
    return {"share": r.share, "nu": r.nu, "xi": r.xi, "eps_pe": r.eps_pe,
            "ell_real": r.key.length_real, "ell": r.key.length}  # fmt: skip


def _bbm92_exact(i: Inputs) -> Inputs:
    r = fk.bbm92_exact(i["n"], i["k"], i["obs_err"], *_charges(i))
    return {"err_bound": round(r.phi * r.n), "phi": r.phi, "ell_real": r.length_real,
            "ell": r.length}  # fmt: skip


def _toeplitz(i: Inputs) -> Inputs:
    n, n_out = i["n"], i["ell"]

    def labelled(name: str, n_bits: int) -> bytes:
        return hashlib.shake_256(i[name].encode()).digest((n_bits + 7) // 8)

    def as_text(bits: SecretBits) -> str:
        return "".join(f"{byte:08b}" for byte in bits.disclose())[:n_out]

    x = SecretBits.take(bytearray(labelled("x_label", n)), n)
    plain = toeplitz(x, labelled("seed_label", n + n_out - 1), n_out)
    modified = toeplitz_modified(x, labelled("seed_mod_label", n - 1), n_out)
    return {
        "y": as_text(plain), "y_mod": as_text(modified),
        "y_sha256": hashlib.sha256(plain.disclose()).hexdigest(),
        "y_mod_sha256": hashlib.sha256(modified.disclose()).hexdigest(),
    }  # fmt: skip


def _poly_mac(i: Inputs) -> Inputs:
    key, pad = (SecretBits.take(bytearray.fromhex(i[n])) for n in ("key_hex", "otp_hex"))
    mac = PolyMac(key)
    mac.update(bytes.fromhex(i["msg_hex"]))
    return {"tag_hex": mac.tag(pad, 0).hex()}


def _reject(i: Inputs) -> Inputs:
    """error: it was refused, and the refusal names one of its arguments."""
    run_it, names = (
        (_lim2014, {"mus", "ps", "n_key", "n_test", "m_test"})
        if i["function"] == "lim2014"
        else (_rusca2018, {"mus", "ps", "n_key", "m_key", "n_test", "m_test"})
    )
    try:
        run_it(i["args"])
    except fk.ParameterError as error:
        return {"error": error.parameter in names | {"leak_ec", "eps_sec", "eps_cor"}}
    return {"error": False}


def _leak(i: Inputs) -> Inputs:
    r = fk.second_order_leak(i["n"], i["e"], i["eps"])
    return {"bits": r.bits, "shannon": r.shannon}


def _tags(i: Inputs) -> Inputs:
    r = fk.verification_tag_bits(i["n_bits"], i["eps_cor"])
    return {"toeplitz": r.toeplitz, "poly": r.poly}


def _auth(i: Inputs) -> Inputs:
    r = fk.authentication_cost(i["msg_bits"], i["tag_bits"])
    return {"otp_bits": r.otp_bits, "eps_auth": r.eps_auth, "log2_eps": r.log2_eps}


def _chernoff(i: Inputs) -> Inputs:
    r = fk.chernoff_bounds(i["x"], i["eps"])
    return {"lower": r.lower, "upper": r.upper}


RUNNERS: dict[str, Callable[[Inputs], Inputs]] = {
    "gamma": lambda i: {
        "value": fk.gamma(i["eps_sec"], i["rate"], i["c"], i["d"], i["const"])
    },
    "delta_hoeffding": lambda i: {"value": fk.delta_hoeffding(i["n"], i["eps"])},
    "chernoff_bounds": _chernoff,
    "phase_error_exact": lambda i: {
        "max_errors_in_n": fk.max_errors_unseen(i["obs_err"], i["k"], i["n"], i["eps"])
    },
    "lim2014": _lim2014,
    "rusca2018": _rusca2018,
    "tlgr2012": _tlgr2012,
    "lim2021": _lim2021,
    "lim2021_optimised": _lim2021,
    "bbm92_exact": _bbm92_exact,
    "leak_second_order": _leak,
    "verify_tag_bits": _tags,
    "auth_cost": _auth,
    "min_tag_bits": lambda i: {
        "tag_bits": fk.shortest_tag_bits(i["msg_bits"], i["eps_auth"])
    },
    "poly_mac128": _poly_mac,
    "toeplitz": _toeplitz,
    "reject": _reject,
}  # fmt: skip
