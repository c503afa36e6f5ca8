"""Secret key lengths with every finite-size penalty charged: pure functions on counts."""

from photonlink.pipeline.stages.finite_key.bbm92 import (
    KeyLength,
    bbm92_exact,
    bbm92_key_length,
    tlgr2012,
)
from photonlink.pipeline.stages.finite_key.budget import EpsilonBudget, NetKey, net_key
from photonlink.pipeline.stages.finite_key.costs import (
    authentication_cost,
    binary_entropy,
    planned_leak,
    second_order_leak,
    shortest_tag_bits,
    verification_tag_bits,
)
from photonlink.pipeline.stages.finite_key.counts import (
    Bound,
    Guard,
    chernoff_bounds,
    delta_hoeffding,
    gamma,
    phase_error,
)
from photonlink.pipeline.stages.finite_key.decoy import DecoyKeyLength
from photonlink.pipeline.stages.finite_key.inputs import ParameterError
from photonlink.pipeline.stages.finite_key.one_decoy import rusca2018
from photonlink.pipeline.stages.finite_key.pairs import pair_key_length
from photonlink.pipeline.stages.finite_key.small_blocks import SmallBlock, lim2021
from photonlink.pipeline.stages.finite_key.tails import max_errors_unseen
from photonlink.pipeline.stages.finite_key.three_intensities import lim2014
from photonlink.pipeline.stages.finite_key.thresholds import (
    OBSERVED,
    DecoyThresholds,
    PairThresholds,
)

__all__ = [
    "OBSERVED",
    "Bound",
    "DecoyKeyLength",
    "DecoyThresholds",
    "EpsilonBudget",
    "Guard",
    "KeyLength",
    "NetKey",
    "PairThresholds",
    "ParameterError",
    "SmallBlock",
    "authentication_cost",
    "bbm92_exact",
    "bbm92_key_length",
    "binary_entropy",
    "chernoff_bounds",
    "delta_hoeffding",
    "gamma",
    "lim2014",
    "lim2021",
    "max_errors_unseen",
    "net_key",
    "pair_key_length",
    "phase_error",
    "planned_leak",
    "rusca2018",
    "second_order_leak",
    "shortest_tag_bits",
    "tlgr2012",
    "verification_tag_bits",
]
