"""What may be delivered: the one place where the provenance of a key is compared."""

from __future__ import annotations

from photonlink.hal.errors import PhotonlinkError
from photonlink.hal.tags import Provenance

_ORDER = (Provenance.REAL, Provenance.REPLAYED, Provenance.EMULATED, Provenance.SEEDED)


class DeliveryRefused(PhotonlinkError):
    """The key is marked and the station does not allow its delivery."""


def is_marked(provenance: Provenance | str) -> bool:
    """True for key that was made with any emulated, replayed or recorded input."""
    return Provenance(provenance) is not Provenance.REAL


def is_emulated(provenance: Provenance | str) -> bool:
    """For display: at least one instrument, or the randomness, is emulated."""
    return Provenance(provenance) in (Provenance.EMULATED, Provenance.SEEDED)


def least_real(first: Provenance, second: Provenance) -> Provenance:
    """The provenance of a key: that of its least real source."""
    return max(first, second, key=_ORDER.index)


def require_deliverable(provenance: Provenance | str, *, allow_marked: bool) -> None:
    """Raise DeliveryRefused for marked key, unless the station allows it; always for key from a
    seed.
    """
    if Provenance(provenance) is Provenance.SEEDED:
        raise DeliveryRefused(
            "this key is from a virtual run: whoever knows its seed can make it again",
            hint="No setting allows its delivery.",
        )
    if is_marked(provenance) and not allow_marked:
        raise DeliveryRefused(
            f"this key is {Provenance(provenance)}, not from real light and fresh randomness",
            hint="It proves that the link works and protects nothing.",
        )
