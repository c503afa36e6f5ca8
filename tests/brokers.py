"""The reference MQTT broker, for tests; CI installs it, elsewhere its tests are skipped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from photonlink.pipeline.status.broker import free_port


class Mosquitto:
    """The reference broker, on a free port of loopback."""

    def __init__(self, folder: Path, *, anonymous: bool = True) -> None:
        """anonymous: whether all clients are accepted; otherwise none is."""
        self.port = free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        self.configure(
            f"listener {self.port} 127.0.0.1\nallow_anonymous {str(anonymous).lower()}\n"
            "persistence false"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, text: str) -> None:
        """Set another configuration for the next start."""
        self._config.write_text(text + "\n")

    def start(self) -> None:
        found = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen(
            [found, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def answers(self) -> bool:
        """Whether the broker accepts connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


def find_mosquitto(folder: Path, *, anonymous: bool = True) -> Mosquitto:
    if not (shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()):
        if os.environ.get("CI"):
            pytest.fail("CI installs mosquitto, but it is not here")
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    return Mosquitto(folder, anonymous=anonymous)
