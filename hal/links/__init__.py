"""How bytes travel: one Link contract over TCP and serial lines, VISA, and vendor libraries."""

from __future__ import annotations

from photonlink.hal.links.address import Address
from photonlink.hal.links.base import Link, Tap
from photonlink.hal.links.factory import make_link

__all__ = ["Address", "Link", "Tap", "make_link"]
