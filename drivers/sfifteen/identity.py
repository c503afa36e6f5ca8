"""The identity in the reply to ``*IDN?``, for all S-Fifteen instruments.

The full text is not documented. A serial number is taken from it when it contains ``SN …`` or
``serial …``; otherwise only the port's by-id path distinguishes two units.
"""

from __future__ import annotations

import re

from photonlink.hal.errors import IdentityError
from photonlink.hal.facets import Identity

_SERIAL = re.compile(r"(?:\bS/?N|\bserial(?: number)?)[\s:#=]*([\w-]+)", re.IGNORECASE)


def identify(text: str, *, key: str, model: str, where: str) -> Identity:
    """The identity in a reply; IdentityError unless the reply contains ``key``."""
    if key not in text:
        raise IdentityError(
            "another instrument answers here",
            where=where,
            seen=text[:80],
            hint=f"The reply to *IDN? should contain {key}; are two cables swapped?",
        )
    serial = _SERIAL.search(text)
    return Identity("S-Fifteen", model, serial.group(1) if serial else "", text)
