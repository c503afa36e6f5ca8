"""Cost of sealing at 100 Mb/s of sifted key: one end's store, against one without seals.

Budget: one core at each end, so one core-second for 1e8 sifted bits. One block of ~1e8 bits (as
the ``distil`` benchmark makes them) goes through a real store: opened, its pads reserved, key and
refill stored, prepared, released; 83 % of it is key. The baseline writes the same bytes into the
same number of files and records with the same syncs, neither encrypted nor authenticated.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Effort, Row
from photonlink.pipeline.keys.files import replace
from photonlink.pipeline.keys.node_store import NodeStore, StorePlace
from photonlink.pipeline.keys.store_key import KeySource, create_key_file
from photonlink.pipeline.native.secret import SecretBits

SIFTED_BPS, GOAL = 1e8, 0.02
BLOCK_BITS, KEY_SHARE = 48 << 21, 0.83
REFILL_BITS = 256


def records(number: int, secret_bits: int, seals: dict[str, str]) -> list[dict[str, Any]]:
    block: dict[str, Any] = {"t": "block", "block": number}
    pads = dict.fromkeys(("alice", "bob"), 16 * (number - 1))
    return [
        block
        | {"status": "open", "pairs": 4 * secret_bits, "epsilon": 1e-10, "session": "ab" * 32},
        {"t": "reserve", "block": number, "pads": pads},
        block
        | {"status": "prepared", "sifted_bits": BLOCK_BITS, "key_bits": BLOCK_BITS, "test_bits": 1}
        | {"leak_bits": secret_bits // 12, "secret_bits": secret_bits, "provenance": "real"}
        | {"refill_block_bytes": REFILL_BITS // 16, **seals},
        block | {"status": "released"},
    ]


def cpu_s(work: Callable[[], None]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def sealed(store: NodeStore, number: int, key: SecretBits, refill: SecretBits) -> None:
    seals = {"pad_seal": "", "key_seal": ""}
    first, reserve, prepared, released = records(number, len(key) + len(refill), seals)
    store.ledger.append(first)
    seals["pad_seal"] = store.keys.put_pads(number, refill)
    seals["key_seal"] = store.keys.put_key(number, key)
    store.ledger.append(reserve)
    store.ledger.append(prepared | seals)
    store.ledger.append(released)


def plain(folder: Path, log: int, number: int, key: SecretBits, refill: SecretBits) -> None:
    for name, bits in (("pad", refill), ("key", key)):
        replace(folder / f"{number}.{name}", b"", then=bits.write_file)
    for record in records(number, len(key), {"pad_seal": "ab" * 16, "key_seal": "ab" * 16}):
        os.write(log, json.dumps(record).encode())
        os.fsync(log)


def seal_alone(store: NodeStore, nowhere: int, key: SecretBits) -> None:
    store.seal.seal_to("key", nowhere, key, block=1, length=len(key))


def sealing(name: str, effort: Effort) -> Row:
    bits, budget_s = effort.scaled(BLOCK_BITS, 1 << 16), BLOCK_BITS / SIFTED_BPS
    budget_s *= bits / BLOCK_BITS
    key, refill = (
        SecretBits.random(round(bits * KEY_SHARE) // 8 * 8),
        SecretBits.random(REFILL_BITS),
    )
    with tempfile.TemporaryDirectory(prefix="photonlink-sealing-") as where:
        folder = Path(where)
        create_key_file(folder / "key")
        place = StorePlace(folder / "state", "bench", "alice", KeySource(folder / "key"))
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with NodeStore.open(place) as store:
            store.ledger.bind("ab" * 16, (0, 1 << 20))
            with_seals, without, alone = [], [], []
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for number in range(1, effort.repeats + 2):
                with_seals.append(cpu_s(lambda n=number: sealed(store, n, key, refill)))  # type: ignore[misc]
                without.append(cpu_s(lambda n=number: plain(folder, log, n, key, refill)))  # type: ignore[misc]
                alone.append(cpu_s(lambda: seal_alone(store, nowhere, key)))
            os.close(nowhere)
        os.close(log)
    whole, bare, cipher = (statistics.median(c[1:]) for c in (with_seals, without, alone))
    cost = max(whole - bare, cipher)  # write caching can hide the cost of the cipher
    share = cost / budget_s
    note = (
        f"a block of {bits / 1e6:.0f} Mbit: {1e3 * whole:.1f} ms of CPU in the store with seals, "
        f"{1e3 * bare:.1f} ms without, {1e3 * cipher:.1f} ms for the key's cipher alone; "
        f"everything that the store does, its syncs too, is {100 * whole / budget_s:.1f} %"
    )
    return Row(
        name, 100 * share, "% of one core at 100 Mb/s", f"≤ {100 * GOAL:g} %", share <= GOAL,
        note=note, details={"store_share": whole / budget_s},
    )  # fmt: skip
