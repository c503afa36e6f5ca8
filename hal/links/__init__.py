"""Transports: streams (TCP, serial) and messages (ZeroMQ, UDP, VISA, HTTP)."""

from __future__ import annotations

from photonlink.hal.links.address import Address
from photonlink.hal.links.base import Link, MessageLink, StreamLink, Tap
from photonlink.hal.links.factory import make_link, make_stream

__all__ = ["Address", "Link", "MessageLink", "StreamLink", "Tap", "make_link", "make_stream"]
