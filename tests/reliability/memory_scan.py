"""Search the memory of two running nodes for pads and keys, from outside (/proc/PID/mem).

    python tests/reliability/memory_scan.py [--blocks 6] [--seed 1]

Two real nodes make blocks of key from both bases on an emulated bench. Each is stopped briefly and
its writable memory is copied. When both have ended, the secrets that the copy must not contain are
read from their stores: the pads of blocks that were released at least a second before, the keys of
these blocks, also as text, and the bits that refilled the pads. Secrets that must be present
(unused pads, the store's key) show that the scan works. It searches for aligned pieces of 8 bytes:
every fragment of 16 holds one. Exits with 1 when it finds any. Linux only.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_link import SIDES, Link, small_link
from test_secrets_in_memory import FIXED, HEAD, words

from photonlink.pipeline.node.open_store import open_store
from photonlink.pipeline.node.station import load_node_station

AFTER_S = 1.0


def writable_memory(pid: int) -> bytes:
    """A copy of every writable mapping of the process, which is stopped meanwhile."""
    copied = bytearray()
    os.kill(pid, signal.SIGSTOP)
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                bounds, rights = line.split()[:2]
                if not rights.startswith("rw"):
                    continue
                start, end = (int(n, 16) for n in bounds.split("-"))
                memory.seek(start)
                while start < end:
                    data = memory.read(min(end - start, 1 << 24))
                    if not data:
                        break
                    copied += data
                    start += len(data)
    finally:
        os.kill(pid, signal.SIGCONT)
    return bytes(copied)


def found_in(memory: bytes, secrets: dict[str, bytes]) -> dict[str, int]:
    """Number of aligned 8-byte pieces of each secret found in the memory, at any of 8 offsets."""
    pieces = np.unique(np.concatenate([words(secret) for secret in secrets.values()]))
    likely = np.zeros(1 << 16, bool)
    likely[pieces & 0xFFFF] = True
    hits: set[int] = set()
    for shift in range(8):
        seen = words(memory[shift:])
        seen = seen[likely[seen & 0xFFFF]]
        hits.update(seen[np.isin(seen, pieces)].tolist())
    return {
        name: sum(piece in hits for piece in words(secret).tolist())
        for name, secret in secrets.items()
    }


@dataclass
class Side:
    """The copied memory of one node, and the blocks that had ended at least a second before."""

    memory: bytes = b""
    over: list[int] = field(default_factory=list)
    absent: dict[str, bytes] = field(default_factory=dict)
    present: dict[str, bytes] = field(default_factory=dict)


def look(link: Link, side: str) -> Side:
    node = link.nodes[side]
    time.sleep(AFTER_S + 0.2)
    now, memory = time.time(), writable_memory(node.process.pid)
    told = [e for e in node.events if e["event"] == "block" and e["abort"] is None]
    over = [event["block"] for event in told if event["ts"] < now - AFTER_S]
    return Side(memory, over)


def tell_secrets(link: Link, side: str, seen: Side) -> None:
    """Read the secrets from the stores, after the nodes have ended, and from the carrier."""
    secret = (link.folder / "link.psk").read_bytes()[HEAD:-32]
    n_pads = (len(secret) - FIXED) // 16
    handshake, block = 16 * (n_pads // 8), 16 * ((n_pads - 2 * (n_pads // 8)) // 2)
    starts = {"alice": FIXED + 2 * handshake, "bob": FIXED + 2 * handshake + block}
    spent, refills = b"", b""
    with open_store(load_node_station(link.files.stations[side])) as store:
        state = store.ledger.state
        for number in seen.over:
            for direction, position in state.blocks[number].reserved.items():
                at = starts[direction] + position
                spent += secret[at : at + 16]
        for number in seen.over:
            entry = state.blocks[number]
            if state.has_pads(number) and entry.refill_bits:
                with store.keys.get_pads(number, entry.refill_bits, entry.pad_seal) as pads:
                    refills += pads.disclose()
        unused = starts[side] + max(state.pads.values()) + 16
    seen.absent |= {"spent pads": spent, "refills": refills}
    seen.present["pads to be used"] = secret[unused : starts[side] + block]
    seen.present["key of the store"] = next(link.folder.glob(f"{side}*.key")).read_bytes()[8:40]


def run(blocks: int, seed: int) -> dict[str, dict[str, tuple[int, int]]]:
    """By side and secret: pieces found, and all pieces."""
    with (
        tempfile.TemporaryDirectory(prefix="photonlink-memory-") as name,
        small_link(Path(name), seed, 16_000) as link,
    ):
        os.environ["PHOTONLINK_DEBUGGER"] = "allowed"
        since = link.start(*SIDES)
        for _ in range(blocks):
            since += link.wait_for_key(since)
        seen = {side: look(link, side) for side in SIDES}
        for side in SIDES:
            link.nodes[side].interrupt()
        for side in SIDES:
            link.nodes[side].finish()
        for side in SIDES:
            tell_secrets(link, side, seen[side])
        link.end()
    found = {}
    for side, one in seen.items():
        keys = b"".join(link.outcome.given[side][n] for n in one.over)
        one.absent |= {"keys": keys, "keys as text": keys.hex().encode()}
        hits = found_in(one.memory, one.absent | one.present)
        found[side] = {
            name: (hits[name], len(words(secret)))
            for name, secret in (one.absent | one.present).items()
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wrong = 0
    for side, found in run(options.blocks, options.seed).items():
        for name, (hits, pieces) in found.items():
            must = name in ("pads to be used", "key of the store")
            wrong += pieces == 0 or (hits < pieces if must else hits > 0)
            print(f"{side}: {name}: {hits} of {pieces} pieces")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
