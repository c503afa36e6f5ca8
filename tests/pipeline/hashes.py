"""Helpers that the tests of the hashes share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from photonlink.pipeline.native.hashing import toeplitz, toeplitz_modified
from photonlink.pipeline.native.secret import SecretBits

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "security_vectors.json"


def vectors(function: str) -> list[dict[str, Any]]:
    every = json.loads(VECTORS.read_text())["vectors"]
    chosen = [v for v in every if v["function"] == function]
    assert chosen
    return chosen


def secret(data: bytes, n_bits: int | None = None) -> SecretBits:
    return SecretBits.take(bytearray(data), n_bits)


def seed_bytes(n: int, n_out: int, modified: bool) -> int:
    return (max(0, n - 1 if modified else n + n_out - 1) + 7) // 8


def run_toeplitz(x: bytes, n: int, seed: bytes, n_out: int, modified: bool) -> bytes:
    function = toeplitz_modified if modified else toeplitz
    return function(secret(x, n), seed, n_out).disclose()
