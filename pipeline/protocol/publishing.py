"""What a node publishes while it makes key: alarms, block reports and the state of the link.

No published value depends on the detectors or outcomes of events that may become key: rates per
detector are live only while no session runs (those events never become key), else they come from
disclosed pairs, and so does the coincidence histogram; error rates come from disclosed and
corrected blocks.
"""

from __future__ import annotations

from typing import Any

from photonlink.pipeline.keys.policy import is_emulated
from photonlink.pipeline.protocol.block_account import BlockAccount
from photonlink.pipeline.protocol.connection import Connection
from photonlink.pipeline.protocol.lasting import Lasting
from photonlink.pipeline.protocol.setup import Effect, Publish, SessionSetup
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.status.alarms import alarm as catalogued
from photonlink.pipeline.status.model import (
    Alarm,
    BlockReport,
    CoincidenceHistogram,
    LinkState,
    Phase,
)


class Publisher:
    """Alarms are raised once and cleared once. Totals are of this session."""

    verdict_alarms = ("detector_efficiency", "detector_delay", "key_unbalanced", "clock_drift")

    def __init__(self, setup: SessionSetup, lasting: Lasting) -> None:
        self._setup, self._lasting = setup, lasting
        self._effects: list[Effect] = []
        self._alarms: dict[str, Alarm] = {}
        self._counted = (0, 0.0)  # bytes carried at the last state, and its time
        self.last_abort: str | None = None
        self._totals: dict[str, Any] = {
            "sifted_bits": 0, "leak_bits": 0, "blocks": 0, "secret_bits": 0,
        }  # fmt: skip
        self._latest: dict[str, Any] = {}  # of the latest block
        self._histogram: CoincidenceHistogram | None = None  # that was published

    @property
    def blocks(self) -> int:
        """Blocks that gave key."""
        return int(self._totals["blocks"])

    @property
    def seen_rate(self) -> float | None:
        """The worse error rate of the latest block; None: no block gave key."""
        if not self.blocks:
            return None
        return max(self._latest.get("qber_hv") or 0.0, self._latest.get("qber_da") or 0.0)

    def alarm(self, code: str, text: str | None) -> None:
        """Raise an alarm with a text, clear it with None. Severities are those of the catalogue."""
        known = self._alarms.get(code)
        if text is None:
            if known is not None:
                del self._alarms[code]
                cleared = Alarm(code, known.severity, known.text, active=False)
                self._effects.append(Publish(cleared))
        elif known is None:
            alarm = self._alarms[code] = catalogued(code, text)
            self._effects.append(Publish(alarm))

    def report(self, account: BlockAccount, abort: str | None) -> BlockReport:
        report = account.report(abort, emulated=self._emulated(None))
        if abort is not None:
            self.last_abort = abort
        self._effects.append(Publish(report))
        totals = self._totals
        totals["sifted_bits"] += report.sifted_bits
        totals["leak_bits"] += report.leak_bits
        totals["blocks"] += abort is None
        totals["secret_bits"] += report.net_bits
        if report.qber_da is not None:
            self._latest["qber_hv"], self._latest["qber_da"] = report.qber_hv, report.qber_da
        self._latest["q_tol_hv"], self._latest["q_tol_da"] = report.q_tol_hv, report.q_tol_da
        if report.duration_s > 0:
            self._latest["skr_bps"] = report.net_bits / report.duration_s
        return report

    def _emulated(self, line: Connection | None) -> bool:
        peer = line is not None and line.role is not None and is_emulated(line.view.peer_provenance)
        return is_emulated(self._lasting.provenance) or peer

    def state(self, phase: Phase, now_s: float, line: Connection | None, tags: OwnTags) -> None:
        """The link as this node sees it now: public numbers only."""
        show: dict[str, Any] = {**self._totals, **self._latest, "last_abort": self.last_abort}
        if line is not None and line.role is not None:
            show |= line.view.show
        elif tags.first_ps is not None and not tags.ended:
            show["rate_hz"] = tags.rates_hz()
            show["multi_click_fraction"] = tags.multi_click_fraction()
        carried = line.bytes_carried if line is not None else 0
        before, since = self._counted
        self._counted = (carried, now_s)
        new = carried - before if carried >= before else carried
        show["channel_bps"] = 8 * new / (now_s - since) if now_s > since else None
        state, pads = self._lasting.state, self._lasting.pads
        show["epsilon"] = state.epsilon
        show["pads_left_bits"] = 8 * (pads.left("alice") + pads.left("bob"))
        show["key_stored_bits"] = state.stored_bits
        show["emulated"] = self._emulated(line)
        show["assumptions"] = ", ".join(self._setup.assumptions)
        self._effects.append(Publish(LinkState(phase=phase, **show)))
        found = line.view.histogram if line is not None and line.role is not None else None
        if found is not None and found is not self._histogram:  # one a block, one a lock
            self._histogram = found
            self._effects.append(Publish(found))

    def take(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
