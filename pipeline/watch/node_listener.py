"""Listens to one node's own page (``[status] listen``) where there is no broker."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from photonlink.pipeline.status.connection import BrokerAddressError, jittered, plain
from photonlink.pipeline.watch.listener import BACKOFF_S, TIMEOUT_S

log = logging.getLogger(__name__)
SILENCE_S = 30.0
MAX_LINE_BYTES = 65_536


class NodeListener:
    """Like ``BrokerListener``, for ``http://HOST:PORT`` of a node."""

    def __init__(self, url: str, feed: Callable[[str, bytes], None]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BrokerAddressError(f"--node {url!r} is no http://HOST:PORT")
        self._url, self._feed = url.rstrip("/"), feed
        self.connected = False
        self.trouble = "not connected yet"

    async def run(self) -> None:
        """Until cancelled; reconnects by itself."""
        pause = BACKOFF_S[0]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=SILENCE_S)
        async with aiohttp.ClientSession(timeout=timeout, max_line_size=MAX_LINE_BYTES) as session:
            while True:
                try:
                    async with session.get(f"{self._url}/events") as answer:
                        answer.raise_for_status()
                        self.connected, self.trouble, pause = True, "", BACKOFF_S[0]
                        async for line in answer.content:
                            self._take(line)
                    self._lost("the node has closed the connection")
                except (aiohttp.ClientError, OSError, ValueError) as error:
                    self._lost(plain(error).replace("broker", "node"))
                await asyncio.sleep(jittered(pause))
                pause = min(2 * pause, BACKOFF_S[1])

    def _take(self, line: bytes) -> None:
        if not line.startswith(b"data: "):
            return
        found = json.loads(line[6:])
        if isinstance(found, dict):
            self._feed(str(found.get("topic", "")), str(found.get("payload", "")).encode())

    def _lost(self, why: str) -> None:
        if self.connected or why != self.trouble:
            log.warning("node %s: %s", self._url, why)
        self.connected, self.trouble = False, why
