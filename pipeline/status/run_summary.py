"""The sums over the blocks of a run: the JSON of ``demo``, ``node`` and ``replay``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from photonlink.pipeline.status.model import BlockReport


def account(reports: Sequence[BlockReport], elapsed_s: float, *, emulated: bool) -> dict[str, Any]:
    """Blocks summed up. blocks: those that gave key. secret_bits: net of authentication.

    qber: of all sifted bits whose errors were counted, both bases. f_ec: parities over the
    Shannon limit n h(errors/n), each summed over the blocks that were corrected; one without an
    error has leak and a limit of 0. epsilon: summed over the blocks that gave key.
    """
    corrected = [b for b in reports if b.qber_hv is not None and b.leak_bits]
    shannon = sum(
        bits * _entropy(rate) for b in corrected for bits, rate in _strings(b, b.test_bits == 0)
    )
    strings = [string for b in reports for string in _strings(b, True)]
    errors = sum(round(rate * bits) for bits, rate in strings)
    counted = sum(bits for bits, _ in strings)
    net = sum(b.net_bits for b in reports)
    return {
        "secret_bits": net,
        "qber": errors / counted if counted else None,
        "sifted_bits": sum(b.sifted_bits for b in reports),
        "leak_bits": sum(b.leak_bits for b in reports),
        "f_ec": sum(b.leak_bits for b in corrected) / shannon if shannon else None,
        "epsilon": sum(b.epsilon for b in reports if b.abort is None),
        "skr_bps": net / elapsed_s if elapsed_s > 0 else 0.0,
        "emulated": emulated,
        "blocks": sum(b.abort is None for b in reports),
        "aborts": [b.abort for b in reports if b.abort is not None],
        "elapsed_s": elapsed_s,
    }


def _strings(b: BlockReport, both: bool) -> list[tuple[int, float]]:
    """Bits and error rate of each basis that was counted; ``both`` False: of HV."""
    found = [(b.sifted_bits_hv, b.qber_hv), (b.sifted_bits_da, b.qber_da)][: 1 + both]
    return [(bits, rate) for bits, rate in found if rate is not None]


def _entropy(p: float) -> float:
    """Binary entropy, bits; here too, because status knows no stage."""
    return -sum(x * math.log2(x) for x in (p, 1 - p) if x > 0)
