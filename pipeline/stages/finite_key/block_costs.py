"""The costs between a block's asymptotic key and its net bits: plain numbers that add up.

For key from both bases as in ``yield_account``; for key from one basis with the disclosed basis as
a cost of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from photonlink.pipeline.stages.finite_key import inputs
from photonlink.pipeline.stages.finite_key.bbm92 import KeyLength
from photonlink.pipeline.stages.finite_key.costs import binary_entropy
from photonlink.pipeline.stages.finite_key.two_bases import BasisString
from photonlink.pipeline.stages.finite_key.yield_account import ChargedKey, charged_steps

# in the order of the steps from coincidences to stored key
COSTS = (
    "window", "quiet", "accidentals", "test", "threshold", "finite_size", "mismatch", "correction",
    "multi_clicks", "verification", "refused", "authentication",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OnTheWay:
    """Pairs of a block before its bases were announced, estimated from times alone.

    accidentals: of the block's pairs. beyond_window: true pairs outside of the window. quiet: true
    pairs whose event fell into the quiet time of an earlier one.
    """

    pairs: int
    accidentals: float = 0.0
    beyond_window: float = 0.0
    quiet: float = 0.0


@dataclass(frozen=True, slots=True)
class BlockCosts:
    """asymptotic_bits less all of ``costs`` (by the names of COSTS) is net_bits."""

    asymptotic_bits: float
    costs: dict[str, float]
    net_bits: float


def block_costs(
    hv: BasisString,
    da: BasisString,
    keys: tuple[ChargedKey, ...],
    lengths: tuple[KeyLength, ...],
    way: OnTheWay,
    *,
    secret_bits: int,
    authentication_bits: int,
) -> BlockCosts:
    """hv, da: the sifted strings. keys: one per basis that makes key, HV first. secret_bits: 0
    where the block was refused. The asymptotic key is that of the true same-basis pairs."""
    n = hv.bits + da.bits
    share = n / way.pairs if way.pairs else 0.0
    chance = min(inputs.not_negative("accidentals", way.accidentals) * share, 0.9 * n)
    rates = [s.errors / s.bits if s.bits else 0.5 for s in (hv, da)]
    part = chance / n if n else 0.0
    clean = [min(0.5, max(0.0, (e - part / 2) / (1 - part))) for e in rates]
    per_pair = max(0.0, 1 - sum(map(binary_entropy, clean)))
    per_bit = max(0.0, 1 - sum(map(binary_entropy, rates)))
    costs = dict.fromkeys(COSTS, 0.0)
    costs["window"] = per_pair * share * way.beyond_window
    costs["quiet"] = per_pair * share * way.quiet
    true = n - chance
    costs["accidentals"] = per_pair * true - per_bit * n
    left = per_bit * sum(key.own.bits for key in keys)
    costs["test"] = per_bit * n - left
    for name, bits in charged_steps(keys, lengths):
        costs[name] = left - bits
        left = bits
    costs["refused"] = left - secret_bits
    costs["authentication"] = float(authentication_bits)
    whole = per_pair * (true + share * (way.beyond_window + way.quiet))
    return BlockCosts(whole, costs, secret_bits - authentication_bits)
