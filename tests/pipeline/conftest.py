"""Lets tests import the helpers beside them (``clicks``, ``link``); a key that two files need."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from photonlink.pipeline.native.base import NativeMemoryError
from photonlink.pipeline.native.secret import SecretBits

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="module")
def huge() -> Iterator[SecretBits]:
    try:
        secret = SecretBits(2**31 + 1)
    except NativeMemoryError:
        pytest.skip("2^31 + 1 bits cannot be locked here, and that is a named error")
    yield secret
    secret.close()
