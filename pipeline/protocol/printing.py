"""Makes a peer's text safe to show."""

from __future__ import annotations


def printable(value: object) -> str:
    """Bounded, no control characters."""
    text = "".join(c if c.isprintable() else "?" for c in str(value)[:600])
    return text or "(nothing)"
