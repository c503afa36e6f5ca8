"""Every alarm that a node can raise: its severity, its cause, what to do, and what ends it.

Alarms of one instrument are named ``INSTRUMENT_SUFFIX`` and have one entry per suffix.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from photonlink.pipeline.status.model import Alarm, BlockReport, Severity


class Clears(enum.StrEnum):
    """What ends an alarm. Every alarm ends with the run, too."""

    HANDSHAKE = "the next handshake that completes"
    CONDITION = "its cause ends"
    KEY = "the next block with key"
    STOP = "the end of the run"


@dataclass(frozen=True, slots=True)
class AlarmKind:
    """One entry of the catalogue."""

    code: str
    severity: Severity
    cause: str
    action: str
    clears: Clears


def _kinds(severity: Severity, clears: Clears, *rows: tuple[str, str, str]) -> list[AlarmKind]:
    return [AlarmKind(code, severity, cause, action, clears) for code, cause, action in rows]


_REPEATS = "If it repeats, somebody may be on the line; else compare the versions of both nodes"
_RECONNECTS = "The link reconnects by itself; look at the network and at the peer"

CATALOGUE: dict[str, AlarmKind] = {
    kind.code: kind
    for kind in (
        *_kinds(
            Severity.MAJOR,
            Clears.HANDSHAKE,
            (
                "parameter_mismatch",
                "the nodes disagree about a parameter",
                "Write the same [protocol] into both station files",
            ),
            (
                "ledger_rolled_back",
                "one ledger forgot what the other remembers: an old backup or a second copy",
                "Exchange a new pre-shared key",
            ),
            (
                "authentication_failed",
                "a tag did not fit: the channel was changed, or a message was replayed or lost",
                _REPEATS,
            ),
            ("pad_reuse", "a pad would have been used twice", "Exchange a new pre-shared key"),
            ("unknown_message", "the peer sent a message of unknown type", _REPEATS),
            ("oversize_message", "the peer sent a message beyond the agreed size", _REPEATS),
            ("malformed_message", "the peer sent a message that cannot be read", _REPEATS),
            ("unexpected_message", "the peer sent a message that does not fit the phase", _REPEATS),
            ("reflected_message", "this node's own message came back", _REPEATS),
            ("block_mismatch", "the nodes speak of different blocks", _REPEATS),
            ("length_mismatch", "the nodes computed different key lengths", _REPEATS),
            ("peer_silent", "the peer is connected and says nothing", _RECONNECTS),
            ("phase_timeout", "the peer did not go on with a block", _RECONNECTS),
            ("connection_lost", "the connection to the peer ended", _RECONNECTS),
            (
                "reconnect_limit",
                "a one-time tag was wrong: the link waits, longer each time",
                "Somebody may be on the line: look at the network",
            ),
            (
                "calibration_differs",
                "the two ends hold different calibrations",
                "Calibrate both ends together: photonlink check --calibrate",
            ),
            (
                "acquisition_restarted",
                "a time tagger was started anew: its time zero is another",
                "Nothing, unless it repeats: then look at the tagger",
            ),
            (
                "locked_memory_exhausted",
                "the system locks too little memory for secrets",
                "Raise ulimit -l",
            ),
            ("core_failed", "the native core refused a block", "Report it with the log"),
        ),
        *_kinds(
            Severity.MAJOR,
            Clears.CONDITION,
            (
                "peer_absent",
                "no connection to the peer, or nobody there who proves to be it",
                "Start the peer; check its address and the firewall",
            ),
            (
                "ledger_failed",
                "the ledger cannot be written: no light and no key until it can",
                "Make room on the disk or repair it; the node goes on by itself",
            ),
            (
                "clock_not_found",
                "no correlation between the clicks of both nodes",
                "Set both hosts' clocks; look with `photonlink check` at both ends",
            ),
            (
                "clock_lost",
                "the correlation between the clicks of both nodes was lost",
                "Look at light, fibre and detectors; it is looked for again",
            ),
            (
                "clock_drift",
                "clocks or fibre moved further than the agreed limits allow: key stopped",
                "Look at the reference clock of both taggers and at the fibre; or set wider limits "
                "in [protocol]",
            ),
            (
                "pads_exhausted",
                "too few pads for a block",
                "Exchange a new pre-shared key; use longer blocks",
            ),
            ("store_failed", "key could not be written to the store", "Make room on the disk"),
            (
                "light_guard_lost",
                "the process that switches the light off after the node has ended",
                "The light is off: ask for it again with `light on`, or start the node again",
            ),
            (
                "light_lease_expired",
                "the node stood still, and its light was switched off from outside",
                "Ask for light again; find out what stopped or starved the node",
            ),
            (
                "interlock_tripped",
                "a rule [[interlock]] of the station held, or what it reads could not be read",
                "Remove the cause; a latched rule keeps the light off until the next start",
            ),
            (
                "interlock_failed",
                "the rules [[interlock]] could not be judged: a fault of this program or a driver",
                "The bench is dark: report it with the log; ask for light again when it has ended",
            ),
        ),
        *_kinds(
            Severity.MAJOR,
            Clears.KEY,
            (
                "qber_above_threshold",
                "several blocks in a row had more errors than the agreed threshold",
                "Align the polarization; look at dark counts. It may be an eavesdropper",
            ),
            (
                "detector_efficiency",
                "a detector is dead, or its efficiency has left what was calibrated",
                "Look at its bias and fibre; calibrate again",
            ),
            (
                "detector_delay",
                "a detector's clicks come earlier or later than was calibrated",
                "Look at its cable and threshold; calibrate again",
            ),
            (
                "key_unbalanced",
                "zeros and ones of the key bits are out of balance at one end",
                "Look at source and detectors; it may be an eavesdropper",
            ),
            (
                "key_overdue",
                "no block has given key for longer than three may take, and ten minutes at least",
                "Look at rates and QBER; `photonlink check` at both ends",
            ),
            (
                "no_key",
                "several blocks in a row gave no key",
                "Read the reason of the blocks; `photonlink plan` says which length they need",
            ),
        ),
        *_kinds(
            Severity.MAJOR,
            Clears.STOP,
            (
                "bench_not_opened",
                "an instrument could not be opened; the node ends",
                "Read which and why; correct the station file or the instrument",
            ),
            (
                "ledger_refused",
                "a record contradicts the ledger; the node ends with its light off",
                "Report it with the log; start the node again",
            ),
            (
                "light_guard_failed",
                "an instrument could not be switched off",
                "Use its key switch NOW",
            ),
        ),
        *_kinds(  # raised by unauthenticated connections: displayed only
            Severity.MINOR,
            Clears.HANDSHAKE,
            ("psk_mismatch", "the nodes hold different pre-shared keys", "Copy one file to both"),
            ("role_conflict", "both nodes have one role", "Correct role = in one station file"),
            ("version_mismatch", "the nodes run different versions", "Install one version at both"),
            (
                "refused_by_peer",
                "whoever answers for the peer refuses this node",
                "Read the peer's own alarm",
            ),
            ("handshake_timeout", "who connected did not complete the handshake", _RECONNECTS),
        ),
        *_kinds(
            Severity.MINOR,
            Clears.CONDITION,
            (
                "pads_low",
                "less than a quarter of the pads is left",
                "Use longer blocks, which refill them, or exchange a new pre-shared key",
            ),
            (
                "disk_low",
                "the disk of the ledger is nearly full; when it is, there is no key",
                "Make room on the disk",
            ),
            (
                "detector_silent",
                "a detector hardly clicks while the others do",
                "Look at its bias, its fibre and its cable",
            ),
            (
                "calibration_ends",
                "the calibration of the link runs out within an hour; then there is no key",
                "Calibrate again: photonlink check --calibrate",
            ),
            (
                "not_ready",
                "a calibration task of the station is out of date or out of limits",
                "Do it; `photonlink ready` tells how",
            ),
            (
                "polarization_lost",
                "the controllers do not hold the polarization any more",
                "End the node and align again: photonlink align",
            ),
        ),
        *_kinds(
            Severity.MINOR,
            Clears.STOP,
            ("too_few_sifted_bits", "the run ended before a block could give key", "Run longer"),
            ("no_goodbye", "the peer did not finish the last block in time", "Nothing"),
        ),
    )
}

OF_INSTRUMENTS: dict[str, AlarmKind] = {
    kind.code: kind
    for kind in (
        *_kinds(
            Severity.MINOR,
            Clears.CONDITION,
            (
                "hot",
                "a detector is warmer than asked for: it has more dark counts",
                "Look at its cooler and at the air around it",
            ),
        ),
        *_kinds(
            Severity.MAJOR,
            Clears.CONDITION,
            ("lost", "an instrument does not answer; it is looked for", "Plug it in; `light on`"),
            ("interlock_open", "an interlock circuit is open", "Close it, then ask for light"),
            ("key_locked", "a key switch is locked", "Turn it, then ask for light"),
            ("emission_ended", "a laser went dark by itself", "Find out why, then ask for light"),
        ),
    )
}

OF_WATCHERS: dict[str, AlarmKind] = {
    kind.code: kind
    for kind in _kinds(
        Severity.MINOR,
        Clears.CONDITION,
        (
            "host_clock_off",
            "the clock of the node's host differs from the one of watch's host",
            "Set both clocks (chrony, systemd-timesyncd)",
        ),
        (
            "node_silent",
            "the broker holds the node as online, and nothing is heard of it",
            "Look at its log; it may stand still, or its network may be gone",
        ),
    )
}
"""What ``photonlink watch`` notices; no node can say it of itself."""

CLEARED_BY_HANDSHAKE = tuple(k.code for k in CATALOGUE.values() if k.clears is Clears.HANDSHAKE)
FATAL = frozenset({"ledger_refused"})
"""The node cannot make key any more: it ends, dark, with a failure."""


def kind_of(code: str) -> AlarmKind | None:
    """The entry of an alarm, including alarms named after an instrument."""
    for known in (CATALOGUE, OF_WATCHERS):
        if code in known:
            return known[code]
    for suffix, kind in OF_INSTRUMENTS.items():
        if code.endswith(f"_{suffix}"):
            return kind
    return None


def alarm(code: str, text: str = "", *, active: bool = True) -> Alarm:
    """An alarm of the catalogue. KeyError when it has no entry."""
    kind = kind_of(code)
    if kind is None:
        raise KeyError(code)
    return Alarm(code, kind.severity, text or f"{kind.cause}. {kind.action}", active)


def instrument_code(name: str, suffix: str) -> str:
    """The code of an instrument's alarm."""
    if suffix not in OF_INSTRUMENTS:
        raise KeyError(suffix)
    return f"{re.sub('[^a-z0-9]+', '_', name.lower())}_{suffix}"


class KeyWatch:
    """Raises ``qber_above_threshold`` and ``no_key`` after several blocks in a row without key."""

    BLOCKS = 3

    def __init__(self) -> None:
        self._without = 0
        self._above = 0
        self._raised: set[str] = set()

    def block(self, report: BlockReport) -> list[Alarm]:
        """Take one more block."""
        if report.abort is None:
            self._without = self._above = 0
            cleared = [alarm(code, active=False) for code in sorted(self._raised)]
            self._raised.clear()
            return cleared
        self._without += 1
        above = report.abort.startswith("qber_above_threshold")
        self._above = self._above + 1 if above else 0
        found = []
        if self._above >= self.BLOCKS:
            text = f"{self._above} blocks in a row: {report.abort.partition(': ')[2]}"
            found.append(("qber_above_threshold", text))
        if self._without >= self.BLOCKS:
            text = f"{self._without} blocks in a row without key, the last: {report.abort}"
            found.append(("no_key", text))
        new = [alarm(code, text) for code, text in found if code not in self._raised]
        self._raised |= {a.code for a in new}
        return new
