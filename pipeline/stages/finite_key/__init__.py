"""Secret key lengths with every finite-size penalty charged: pure functions on counts."""

from photonlink.pipeline.stages.finite_key.bbm92 import (
    KeyLength,
    bbm92_exact,
    bbm92_key_length,
    tlgr2012,
)
from photonlink.pipeline.stages.finite_key.block_costs import (
    COSTS,
    BlockCosts,
    OnTheWay,
    block_costs,
)
from photonlink.pipeline.stages.finite_key.budget import (
    Attempts,
    EpsilonBudget,
    NetKey,
    net_key,
)
from photonlink.pipeline.stages.finite_key.charges import (
    VERIFICATION_OUTCOME_BITS,
    leak_bits,
    multi_click_bits,
    told_bits,
)
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
from photonlink.pipeline.stages.finite_key.decoy import (
    DecoyKeyLength,
)
from photonlink.pipeline.stages.finite_key.following import (
    EarlierBlock,
    threshold_from,
)
from photonlink.pipeline.stages.finite_key.inputs import (
    ParameterError,
)
from photonlink.pipeline.stages.finite_key.mismatch import (
    PhaseErrorTest,
    phase_error_bound,
    phase_errors_per_key_bit,
)
from photonlink.pipeline.stages.finite_key.one_decoy import (
    rusca2018,
)
from photonlink.pipeline.stages.finite_key.pairs import (
    pair_key_length,
)
from photonlink.pipeline.stages.finite_key.small_blocks import (
    SmallBlock,
    lim2021,
)
from photonlink.pipeline.stages.finite_key.tails import (
    max_errors_unseen,
)
from photonlink.pipeline.stages.finite_key.three_intensities import (
    lim2014,
)
from photonlink.pipeline.stages.finite_key.thresholds import (
    OBSERVED,
    DecoyThresholds,
    PairThresholds,
)
from photonlink.pipeline.stages.finite_key.timing import (
    Jitter,
    StationMismatch,
    StationRatio,
    jitter_ratio,
    link_ratio,
    noise_reach_ps,
    quiet_time_ps,
    uncertain_share,
)
from photonlink.pipeline.stages.finite_key.two_bases import (
    BasisString,
    TwoBasisLength,
    TwoBasisThresholds,
    agreed_share,
    agreed_tests,
    two_basis_key_length,
)
from photonlink.pipeline.stages.finite_key.yield_account import (
    ChargedKey,
    YieldAccount,
    YieldBlock,
    YieldRow,
    yield_account,
)

__all__ = [
    "COSTS",
    "OBSERVED",
    "VERIFICATION_OUTCOME_BITS",
    "Attempts",
    "BasisString",
    "BlockCosts",
    "Bound",
    "ChargedKey",
    "DecoyKeyLength",
    "DecoyThresholds",
    "EarlierBlock",
    "EpsilonBudget",
    "Guard",
    "Jitter",
    "KeyLength",
    "NetKey",
    "OnTheWay",
    "PairThresholds",
    "ParameterError",
    "PhaseErrorTest",
    "SmallBlock",
    "StationMismatch",
    "StationRatio",
    "TwoBasisLength",
    "TwoBasisThresholds",
    "YieldAccount",
    "YieldBlock",
    "YieldRow",
    "agreed_share",
    "agreed_tests",
    "authentication_cost",
    "bbm92_exact",
    "bbm92_key_length",
    "binary_entropy",
    "block_costs",
    "chernoff_bounds",
    "delta_hoeffding",
    "gamma",
    "jitter_ratio",
    "leak_bits",
    "lim2014",
    "lim2021",
    "link_ratio",
    "max_errors_unseen",
    "multi_click_bits",
    "net_key",
    "noise_reach_ps",
    "pair_key_length",
    "phase_error",
    "phase_error_bound",
    "phase_errors_per_key_bit",
    "planned_leak",
    "quiet_time_ps",
    "rusca2018",
    "second_order_leak",
    "shortest_tag_bits",
    "threshold_from",
    "tlgr2012",
    "told_bits",
    "two_basis_key_length",
    "uncertain_share",
    "verification_tag_bits",
    "yield_account",
]
