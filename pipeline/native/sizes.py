"""Sizes in bytes, defined in the C core's headers and used by all of the pipeline."""

from __future__ import annotations

from photonlink.pipeline._core import lib

SEED_BYTES: int = lib.PL_SEED_BYTES  # public seed of a block's error correction
TAG_BYTES: int = lib.PL_TAG_BYTES  # of an authentication tag and of a whole verification hash
PAD_BYTES: int = lib.PL_PAD_BYTES  # one-time pad that masks a tag
POINT_BYTES: int = lib.PL_POINT_BYTES  # key of a hash: the point at which it is evaluated
DIGEST_BYTES: int = lib.PL_DIGEST_BYTES  # SHA-256 and HMAC-SHA256
