"""The virtual demo: one seed gives the same key and bytes, on an idle and on a loaded machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from photonlink.hal.tags import Provenance
from photonlink.pipeline.demo.virtual import virtual_demo
from photonlink.pipeline.keys.delivery import deliver, stored_blocks
from photonlink.pipeline.keys.policy import DeliveryRefused
from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.station import load_node_station

DURATION_S, BLOCK_BITS = 4.0, 10_000


def _program(seed: int, hash_seed: int) -> subprocess.Popen[str]:
    arguments = ["--virtual", "--seed", str(seed), "--duration", str(DURATION_S)]
    arguments += ["--block-bits", str(BLOCK_BITS), "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "photonlink.pipeline.cli", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
    )


def _result(program: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = program.communicate(timeout=300.0)
    assert program.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """Seed 1 in this process, under load of a busy thread and two programs; the programs run seeds
    1 and 2 with another order of Python's sets."""
    folder = tmp_path_factory.mktemp("virtual") / "kept"
    programs = [_program(1, 11), _program(2, 12)]
    done = threading.Event()

    def busy() -> None:
        while not done.is_set():
            sum(range(10_000))

    load = threading.Thread(target=busy)
    load.start()
    try:
        here = virtual_demo(duration_s=DURATION_S, seed=1, block_bits=BLOCK_BITS, folder=folder)
    finally:
        done.set()
        load.join()
    assert here.failures == []
    return [here.result(), *map(_result, programs)], folder


@pytest.mark.row("the same seed gives different key on a loaded host")
def test_the_same_seed_gives_the_same_bytes_and_the_same_key(
    runs: tuple[list[dict[str, Any]], Path],
) -> None:
    loaded, alone, _ = runs[0]
    assert loaded["keys_match"]
    assert loaded["secret_bits"] > 0
    assert loaded["lasers_off"]
    for what in ("wire_digest", "key_check", "wire_bytes", "virtual_s", "secret_bits", "blocks"):
        assert loaded[what] == alone[what], what


def test_another_seed_gives_others(runs: tuple[list[dict[str, Any]], Path]) -> None:
    _, one, two = runs[0]
    assert two["keys_match"]
    assert one["wire_digest"] != two["wire_digest"]
    assert one["key_check"] != two["key_check"]


def test_its_key_is_never_delivered(
    runs: tuple[list[dict[str, Any]], Path], tmp_path: Path
) -> None:
    for side in ("alice", "bob"):
        with open_store(load_node_station(runs[1] / f"{side}.toml")) as store:
            blocks = stored_blocks(store.ledger)
            assert {b.provenance for b in blocks} == {Provenance.SEEDED.value}
            with pytest.raises(DeliveryRefused, match="virtual run"):
                deliver(
                    store.ledger, store.keys, blocks[0].block, tmp_path / "k", allow_marked=True
                )
