"""A block of pairs or single photons against the thresholds agreed for it (BBM92, BB84)."""

from __future__ import annotations

from typing import Literal

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.bbm92 import (
    KeyLength,
    bbm92_key_length,
    checked_block,
    make_account,
    tlgr2012,
)
from photonlink.pipeline.stages.finite_key.small_blocks import lim2021
from photonlink.pipeline.stages.finite_key.thresholds import PairThresholds

PairBound = Literal["exact", "tlgr2012", "lim2021"]


def pair_key_length(
    n: int,
    k: int,
    errors: int,
    leak_ec: float,
    eps_sec: float,
    eps_cor: float,
    *,
    thresholds: PairThresholds | None = None,
    bound: PairBound = "exact",
    verification_bits: int = 0,
) -> KeyLength:
    """Secret key length of a block of n key bits and k test bits, ``errors`` of them wrong.

    A block that misses a threshold gives 0 with the reason; an accepted one is charged as if its
    error rate were q_tol. bound: "exact" hypergeometric (default), Tomamichel et al. 2012, or
    Lim et al. 2021. A longer verification tag than the formula's is charged with "exact".
    """
    if not isinstance(thresholds, PairThresholds):
        raise inputs.ParameterError("thresholds", "must be agreed before the block", thresholds)
    n, k, leak_ec, eps_sec, eps_cor = checked_block(n, k, leak_ec, eps_sec, eps_cor)
    errors = inputs.count("errors", errors, at_most=k)
    q = thresholds.q_tol
    inputs.choice("bound", bound, ("exact", "tlgr2012", "lim2021"))
    tag = inputs.count("verification_bits", verification_bits)
    if bound == "exact":
        r = bbm92_key_length(n, k, q, leak_ec, tag, eps_sec, eps_cor)
    elif bound == "tlgr2012":
        r = tlgr2012(n, k, q, leak_ec, eps_sec, eps_cor)
    else:
        r = lim2021(n, k, q, leak_ec, eps_sec, eps_cor).key
    refused = thresholds.refusal(r.n, r.k, errors)
    return make_account(r.bound, r.n, r.k, r.phi, leak_ec, r.penalty_bits, refused)
