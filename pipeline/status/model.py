"""What a link tells those who watch it: public numbers only, flat, units in the names.

These records are what the session publishes; MQTT, the terminal view and ``--json`` only
render them. No field may ever hold key, sifted bits, pads, or any digest of them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Phase(enum.StrEnum):
    """Where the session stands."""

    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    ACQUIRING = "acquiring"  # looking for the clock
    SIFTING = "sifting"
    DISTILLING = "distilling"
    CLOSED = "closed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LinkState:
    """The link as it stands now. None means not known (yet)."""

    phase: Phase
    rate_hz: dict[str, float] = field(default_factory=dict)  # by detector letter, own side
    coincidences_hz: float | None = None
    accidentals_hz: float | None = None  # from a displaced window
    coincidence_to_accidental_ratio: float | None = None
    clock_offset_s: float | None = None  # Bob's clock minus Alice's
    clock_frequency_ppm: float | None = None
    clock_drift_ppb_per_s: float | None = None
    clock_lock_age_s: float | None = None
    clock_locked: bool = False
    qber_hv: float | None = None
    qber_da: float | None = None
    multi_click_fraction: float | None = None
    sifted_bps: float | None = None
    skr_bps: float | None = None
    channel_bps: float | None = None  # classical channel, both directions
    sifted_bits: int = 0
    secret_bits: int = 0  # net of authentication
    leak_bits: int = 0
    epsilon: float = 0.0  # summed over blocks
    pads_left_bits: int = 0
    key_stored_bits: int = 0
    blocks: int = 0
    block_fill: float = 0.0  # 0..1 of the block now being sifted
    last_abort: str | None = None
    emulated: bool = False


@dataclass(frozen=True, slots=True)
class BlockReport:
    """One distilled (or refused) block."""

    block: int
    sifted_bits: int
    key_bits_in: int  # n, bits of the key basis
    test_bits: int  # k, bits of the test basis, all disclosed
    qber_hv: float | None
    qber_da: float
    leak_bits: int
    f_ec: float | None
    verification_bits: int
    secret_bits: int  # l, before authentication is paid
    authentication_bits: int  # pads spent on this block, both directions
    net_bits: int
    secret_bits_tlgr2012: int  # bound of Tomamichel et al. 2012, shown beside
    epsilon: float
    q_tol: float
    rounds: int
    duration_s: float
    emulated: bool
    abort: str | None = None  # named reason when the block gave no key


class Severity(enum.StrEnum):
    MAJOR = "major"
    MINOR = "minor"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A named condition; raised once, cleared once. ``code`` is stable, lower_snake_case."""

    code: str
    severity: Severity
    text: str
    active: bool = True
