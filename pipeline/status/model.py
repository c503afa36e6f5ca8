"""The published status of a link: public numbers only, flat, units in the names.

These records are what the session publishes; MQTT, the terminal view and ``--json`` only
render them. No field may ever hold key, sifted bits, pads, or any digest of them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Phase(enum.StrEnum):
    """The phase of the session."""

    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    ACQUIRING = "acquiring"  # searching the clock
    SIFTING = "sifting"
    DISTILLING = "distilling"
    CLOSED = "closed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LinkState:
    """The present state of the link. None means not known (yet)."""

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
    q_tol_hv: float | None = None  # thresholds of the latest block; None: HV has none
    q_tol_da: float | None = None
    multi_click_fraction: float | None = None
    sifted_bps: float | None = None
    skr_bps: float | None = None
    channel_bps: float | None = None  # classical channel, both directions
    sifted_bits: int = 0
    secret_bits: int = 0  # net of authentication
    leak_bits: int = 0
    epsilon: float = 0.0  # summed over blocks
    pads_left_bits: int = 0
    pads_days: float | None = None  # days that the pads last at the last hour's net consumption
    key_stored_bits: int = 0
    blocks: int = 0
    block_fill: float = 0.0  # 0..1 of the block now being sifted
    last_abort: str | None = None
    emulated: bool = False
    calibration_left_s: float | None = None  # until the calibration expires; None: there is none
    assumptions: str = ""  # beside those of every link (docs/claim.md), comma-separated


@dataclass(frozen=True, slots=True)
class CoincidenceHistogram:
    """Coincidences over Bob's time minus Alice's in her clock, of disclosed events alone.

    source: ``disclosed`` (pairs in different bases of the latest block: both ends have told their
    times and detectors on the line, none is key; they reach little beyond the window) or
    ``alignment`` (announced events in which the clock was found, all spent). counts: of bins of
    bin_ps, the middle one about 0. window_ps: half width of a coincidence.
    """

    source: str
    counts: tuple[int, ...]
    bin_ps: int
    window_ps: int
    pairs: int


COSTS = (
    "window", "quiet", "accidentals", "test", "threshold", "finite_size", "mismatch", "correction",
    "multi_clicks", "verification", "refused", "authentication",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BlockReport:
    """One block that was distilled, refused or burnt. All counts but ``block`` are of this block.

    Both bases make key (test_bits = 0, key_bits_in = sifted_bits), or HV alone does: then
    key_bits_in and test_bits make up sifted_bits, but for a block that was burnt before its test
    bits were counted: it has test_bits = 0. Without key (``abort`` names the
    reason) secret_bits, refill_bits, net_bits and epsilon are 0. With key:
    secret_bits = what privacy amplification left (leak and verification are already off);
    refill_bits = the part of it that went back into the pads; net_bits = secret_bits - refill_bits.
    authentication_bits are pads spent; the refill pays for them and, as far as the block
    reaches, for those of the handshake and of earlier blocks.
    """

    block: int
    sifted_bits: int  # both bases
    sifted_bits_hv: int
    sifted_bits_da: int
    key_bits_in: int  # of the bases that make key
    test_bits: int  # of a basis that is disclosed and counted
    qber_hv: float | None  # counted by error correction; None: not corrected
    qber_da: float | None  # counted by error correction or by disclosure; None: not counted
    leak_bits: int  # parities sent, as Alice counted them
    f_ec: float | None  # leak_bits over n h(QBER), summed over the bases that make key
    verification_bits: int  # length of the verification hashes, charged
    secret_bits: int  # l, before authentication is paid
    authentication_bits: int  # pads spent on this block, both directions
    net_bits: int  # secret_bits - refill_bits: what is stored as key
    secret_bits_tlgr2012: int  # bound of Tomamichel et al. 2012, shown beside
    epsilon: float  # of a block with key: secrecy, correctness and authentication
    q_tol_hv: float | None  # acceptance threshold, agreed before the block; None: HV has none
    q_tol_da: float
    rounds: int  # of error correction
    duration_s: float  # of acquisition, by Bob's clock
    emulated: bool
    abort: str | None = None  # named reason when the block gave no key
    refill_bits: int = 0  # of secret_bits, put back into the pads of both directions
    # asymptotic_bits less all costs is net_bits. COSTS name them, in the order of the way; empty
    # where errors were not counted in both bases. Bob does not know window, quiet, accidentals: 0
    asymptotic_bits: float | None = None  # of the true coincidences in equal bases
    costs: Mapping[str, float] = field(default_factory=dict)


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


SessionRecord = LinkState | BlockReport | Alarm | CoincidenceHistogram
"""What a session publishes."""


@dataclass(frozen=True, slots=True)
class InstrumentState:
    """One instrument of the bench, as the node last read it.

    state: ``ok`` or ``lost``. readings: its snapshot, units in the names.
    """

    name: str
    driver: str
    serial: str
    provenance: str
    state: str
    last_error: str = ""
    readings: Mapping[str, float | int | bool | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a bench is ready: all calibration tasks in date and in limits.

    tasks: those that are not, each ``NAME: why``. readings: per task ``task_NAME_ok`` and
    ``task_NAME_left_s`` (None: never done).
    """

    ready: bool
    tasks: tuple[str, ...]
    readings: Mapping[str, float | bool | None] = field(default_factory=dict)
