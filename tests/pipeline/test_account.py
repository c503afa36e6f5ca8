"""The run summary of demo, node and replay: counts, rates, and f over corrected blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from photonlink.pipeline.stages.finite_key import binary_entropy
from photonlink.pipeline.status.model import BlockReport
from photonlink.pipeline.status.run_summary import account

GOOD = BlockReport(
    block=1, sifted_bits=12_000, sifted_bits_hv=9_000, sifted_bits_da=3_000, key_bits_in=9_000,
    test_bits=3_000, qber_hv=0.02, qber_da=0.03, leak_bits=1_400, f_ec=None, verification_bits=80,
    secret_bits=3_000, authentication_bits=1_024, net_bits=2_000, secret_bits_tlgr2012=0,
    epsilon=1e-10, q_tol_hv=None, q_tol_da=0.08, rounds=20, duration_s=2.0, emulated=True,
    refill_bits=1_000,
)  # fmt: skip
FLAWLESS = replace(GOOD, block=2, qber_hv=0.0, qber_da=0.0, leak_bits=300)
REFUSED = replace(
    GOOD, block=3, qber_hv=None, qber_da=0.1, leak_bits=0, secret_bits=0, net_bits=0,
    refill_bits=0, epsilon=0.0, abort="qber_above_threshold",
)  # fmt: skip
# burnt at Bob after correction, before the message with the leak arrived
UNTOLD = replace(REFUSED, block=4, qber_hv=0.05, abort="connection_lost")
# burnt during Cascade: parities were sent, but no block was corrected
UNDONE = replace(REFUSED, block=5, leak_bits=500, abort="leak_cap_reached")


def test_nothing_adds_up_to_nothing() -> None:
    found = account([], 0.0, emulated=False)
    assert found["qber"] is None
    assert found["f_ec"] is None
    assert (found["secret_bits"], found["skr_bps"], found["blocks"]) == (0, 0.0, 0)
    assert found["aborts"] == []


def test_blocks_with_and_without_key() -> None:
    found = account([GOOD, FLAWLESS, REFUSED, UNTOLD, UNDONE], 10.0, emulated=True)
    assert found["blocks"] == 2
    assert found["secret_bits"] == 4_000
    assert found["skr_bps"] == 400.0
    assert found["sifted_bits"] == 60_000
    assert found["leak_bits"] == 2_200
    assert found["epsilon"] == pytest.approx(2e-10)
    assert found["aborts"] == ["qber_above_threshold", "connection_lost", "leak_cap_reached"]
    assert found["qber"] == (180 + 90 + 0 + 300 + 450 + 300 + 300) / (3 * 9_000 + 5 * 3_000)


def test_f_is_over_the_blocks_that_were_corrected_and_charged() -> None:
    limit = 9_000 * binary_entropy(0.02)
    for others in ([], [REFUSED], [UNTOLD], [UNDONE], [REFUSED, UNTOLD, UNDONE]):
        found = account([GOOD, *others], 1.0, emulated=True)
        assert found["f_ec"] == pytest.approx(1_400 / limit), others
    both = account([GOOD, FLAWLESS], 1.0, emulated=True)
    assert both["f_ec"] == pytest.approx(1_700 / limit), "parities of a flawless block count"
    assert account([FLAWLESS], 1.0, emulated=True)["f_ec"] is None


def test_both_bases_count_where_both_make_key() -> None:
    block = replace(GOOD, key_bits_in=12_000, test_bits=0, q_tol_hv=0.08)
    found = account([block], 1.0, emulated=True)
    assert found["qber"] == (180 + 90) / 12_000
    limit = 9_000 * binary_entropy(0.02) + 3_000 * binary_entropy(0.03)
    assert found["f_ec"] == pytest.approx(1_400 / limit)
