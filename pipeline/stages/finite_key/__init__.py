"""Secret key lengths with every finite-size penalty charged: pure functions on counts."""

from photonlink.pipeline.stages.finite_key.bbm92 import (
    KeyLength,
    bbm92_exact,
    bbm92_key_length,
    tlgr2012,
)
from photonlink.pipeline.stages.finite_key.costs import (
    authentication_cost,
    binary_entropy,
    second_order_leak,
    shortest_tag_bits,
    verification_tag_bits,
)
from photonlink.pipeline.stages.finite_key.inputs import ParameterError
from photonlink.pipeline.stages.finite_key.tails import max_errors_unseen

__all__ = [
    "KeyLength",
    "ParameterError",
    "authentication_cost",
    "bbm92_exact",
    "bbm92_key_length",
    "binary_entropy",
    "max_errors_unseen",
    "second_order_leak",
    "shortest_tag_bits",
    "tlgr2012",
    "verification_tag_bits",
]
