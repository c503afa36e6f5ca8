"""An MQTT 5 broker on loopback for the demo and the tests: rumqttd, from the package iotcore.

It runs in its own process session, so Ctrl-C in a terminal does not reach it, and it ends with its
owner, when its standard input closes.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from photonlink.hal.errors import PhotonlinkError

START_TIMEOUT_S = 20.0

_CONFIG = """\
id = 0
[router]
id = 0
max_connections = 64
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 4
[v5.1]
name = "mqtt5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = 65536
max_inflight_count = 100
"""


class BrokerError(PhotonlinkError):
    """The embedded broker did not start."""


class EmbeddedBroker:
    """``with EmbeddedBroker() as broker: broker.port``; loopback only, any free port."""

    def __init__(self, port: int = 0, folder: Path | None = None) -> None:
        """folder: where its file goes; none: a temporary one of its own."""
        self.port = port or free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="photonlink-broker-", dir=folder)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until the listener answers."""
        config = Path(self._folder.name) / "rumqttd.toml"
        config.write_text(_CONFIG.format(port=self.port), encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603 our own module
            [sys.executable, "-m", "photonlink.pipeline.status.broker", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=0.5):
                    return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise BrokerError("the embedded MQTT broker did not start", where=f"127.0.0.1:{self.port}")

    def stop(self) -> None:
        """End the broker; safe to call twice."""
        process, self._process = self._process, None
        self._folder.cleanup()
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()


def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _serve(config: str) -> None:
    from iotcore import Broker

    with Broker(config_path=config):
        sys.stdin.buffer.read()  # until the owner closes it or ends


if __name__ == "__main__":
    _serve(sys.argv[1])
