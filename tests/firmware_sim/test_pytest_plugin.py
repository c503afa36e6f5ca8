"""The pytest fixture that the package provides to other projects."""

from __future__ import annotations

from typing import Any

import pytest


def test_a_fresh_bench_on_free_addresses(photonlink_bench: Any) -> None:
    first, second = (
        photonlink_bench(model="sfifteen-irspd1"),
        photonlink_bench('[devices]\npump = { model = "toptica-dlc-pro", place = "pump" }', seed=5),
    )
    assert first.addresses["unit"].startswith("serial://")
    assert set(second.lines["pump"]) == {"command", "monitoring"}
    second.set("bob.loss_db", 6.0)
    second.fault("pump", "silent", count=2)
    assert second.status("pump")["emission"] is False
    with pytest.raises(ValueError, match="no fault 'explode'"):
        second.fault("pump", "explode")
