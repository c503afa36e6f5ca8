"""Listens to a broker for ``photonlink watch``: never publishes, reconnects by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable

import aiomqtt

from photonlink.hal.errors import PhotonlinkError
from photonlink.pipeline.status.connection import (
    BrokerAddress,
    SaidByClient,
    jittered,
)
from photonlink.pipeline.status.topics import ROOT

log = logging.getLogger(__name__)

BACKOFF_S = (0.5, 30.0)
TIMEOUT_S = 5.0
KEEPALIVE_S = 10


class BrokerListener:
    """Runs until cancelled; ``feed`` gets (topic, payload); ``trouble`` gets the reason for a lost
    connection.
    """

    def __init__(self, address: BrokerAddress, feed: Callable[[str, bytes], None]) -> None:
        self._address, self._feed = address, feed
        self.connected = False
        self.trouble = "not connected yet"
        self.since_s = time.time()
        self._said = SaidByClient()

    async def run(self) -> None:
        pause = BACKOFF_S[0]
        while True:
            try:
                async with self._client() as client:
                    await client.subscribe(f"{ROOT}/#", qos=0)
                    if self.trouble:
                        log.info("broker %s connected", self._address.where)
                    self.connected, self.trouble, pause = True, "", BACKOFF_S[0]
                    self.since_s = time.time()
                    async for message in client.messages:
                        payload = message.payload
                        self._feed(
                            str(message.topic), payload if isinstance(payload, bytes) else b""
                        )
            except (aiomqtt.MqttError, OSError, ssl.SSLError, PhotonlinkError) as error:
                self._lost(self._address.why(error, self._said.last))
            await asyncio.sleep(jittered(pause))
            pause = min(2 * pause, BACKOFF_S[1])

    def _lost(self, why: str) -> None:
        """Report it once, and again when the reason changes."""
        if self.connected or why != self.trouble:
            self.since_s = time.time()
            log.warning("broker %s: %s", self._address.where, why)
        self.connected, self.trouble = False, why

    def _client(self) -> aiomqtt.Client:
        return self._address.client(
            f"photonlink-watch-{random.getrandbits(48):012x}",
            self._said,
            keepalive_s=KEEPALIVE_S, timeout_s=TIMEOUT_S, most_in=20_000,
        )  # fmt: skip


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel and wait, swallowing the cancellation."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
