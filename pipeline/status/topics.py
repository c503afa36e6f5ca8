"""The MQTT topics of a node: layout ``photonlink/v2``, described in docs/mqtt.md.

Pure functions; every topic holds the name of the publishing node, and no other node writes below
it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VERSION = 2
ROOT = f"photonlink/v{VERSION}"


@dataclass(frozen=True, slots=True)
class Speaker:
    """The public name of a node. ``node`` is unique within its site; each is [a-z0-9-], 1 to 64.

    position: latitude and longitude in degrees (WGS 84), for a map; none: not published.
    """

    site: str
    node: str
    link: str
    role: str
    position: tuple[float, float] | None = None

    @property
    def base(self) -> str:
        return f"{ROOT}/{self.site}/{self.node}"

    @property
    def subtree(self) -> str:
        """A filter for all topics of this node."""
        return f"{self.base}/#"

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    @property
    def meta(self) -> str:
        return f"{self.base}/meta"

    @property
    def state(self) -> str:
        return f"{self.base}/link/{self.link}/state"

    @property
    def block(self) -> str:
        return f"{self.base}/link/{self.link}/block"

    @property
    def histogram(self) -> str:
        return f"{self.base}/link/{self.link}/histogram"

    @property
    def readiness(self) -> str:
        return f"{self.base}/readiness"

    def alarm(self, code: str) -> str:
        return f"{self.base}/alarm/{code}"

    def instrument(self, name: str) -> str:
        return f"{self.base}/instrument/{level(name)}"

    def client_id(self, start: str) -> str:
        """``start``: random for each start: no two programs take each other's connection."""
        return f"photonlink-{self.site}-{self.node}-{start}"


def default_node(link: str, role: str) -> str:
    """A node's name where its station file gives none."""
    return f"{link}-{role}"


def level(name: str) -> str:
    """Any name as one level of a topic."""
    return re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:64] or "unnamed"
