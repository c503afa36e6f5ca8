"""A node's checks of itself: a full disk, a hot or silent detector, overdue key, the days that the
pads last. Pure except for the disk query; the node calls it and takes its alarms.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from photonlink.pipeline.status.alarms import alarm, instrument_code
from photonlink.pipeline.status.model import Alarm, BlockReport, LinkState, Phase

LOOK_S = 5.0
DISK_LEAST_BYTES = 256 << 20
HOT_K = 3.0  # a detector's loop holds a tenth of a kelvin; dark counts double every 10 K or less
HOT_LOOKS = 6  # half a minute: not during the cool-down
SILENT_PART, SILENT_LEAST_HZ, SILENT_S = 0.01, 100.0, 30.0
OVERDUE_LEAST_S, OVERDUE_BLOCKS = 600.0, 3
PADS_S, PADS_LEAST_S = 3600.0, 60.0
_MAKING = (Phase.SIFTING, Phase.DISTILLING)


class Health:
    """``record`` takes alarms: each raised once, cleared once."""

    def __init__(
        self, state_dir: Path, block_max_s: float, record: Callable[[Alarm], None]
    ) -> None:
        self._state_dir, self._record = state_dir, record
        self._overdue_s = max(OVERDUE_LEAST_S, OVERDUE_BLOCKS * block_max_s)
        self._held: set[str] = set()
        self._hot: dict[str, int] = {}
        self._silent_since: dict[str, float] = {}
        self._key_s: float | None = None
        self._pads: deque[tuple[float, int]] = deque(maxlen=721)
        self._days: float | None = None

    def hold(self, code: str, text: str | None) -> None:
        """Raise the alarm while the condition holds (text), clear it when not (None)."""
        if text is not None and code not in self._held:
            self._held.add(code)
            self._record(alarm(code, text))
        elif text is None and code in self._held:
            self._held.discard(code)
            self._record(alarm(code, active=False))

    # ---- every few seconds ----

    def look(self, readings: Mapping[str, Mapping[str, Any]], now_s: float) -> None:
        """Disk, temperatures, and whether there was key. now_s: of any steady clock."""
        self._disk()
        for name, values in readings.items():
            self._temperature(name, values)
        late = self._key_s is not None and now_s - self._key_s > self._overdue_s
        text = f"no block has given key for {(now_s - (self._key_s or 0.0)) / 60:.0f} minutes"
        self.hold("key_overdue", text if late else None)

    def _disk(self) -> None:
        try:
            free = shutil.disk_usage(self._state_dir).free
        except OSError:
            return  # the ledger's own alarm has the details
        text = f"{free >> 20} MiB are left where {self._state_dir} lies"
        self.hold("disk_low", text if free < DISK_LEAST_BYTES else None)

    def _temperature(self, name: str, values: Mapping[str, Any]) -> None:
        is_c, wanted_c = values.get("temperature_act_c"), values.get("temperature_set_c")
        if not isinstance(is_c, (int, float)) or not isinstance(wanted_c, (int, float)):
            return
        warm = is_c - wanted_c > HOT_K
        looks = self._hot[name] = self._hot.get(name, 0) + 1 if warm else 0
        text = f"{name}: {is_c:.1f} °C, asked for are {wanted_c:.1f} °C"
        self.hold(instrument_code(name, "hot"), text if looks >= HOT_LOOKS else None)

    # ---- from the session's records ----

    def state(self, state: LinkState, now_s: float) -> LinkState:
        """The state with the days that the pads last."""
        if state.phase in _MAKING and self._key_s is None:
            self._key_s = now_s  # from now on key may be expected
        elif state.phase not in (*_MAKING, Phase.ACQUIRING):
            self._key_s = None  # a missing peer has an alarm of its own
        self._silent(state, now_s)
        if not self._pads or now_s - self._pads[-1][0] >= LOOK_S:
            self._pads.append((now_s, state.pads_left_bits))
        self._days = self.pads_days(now_s)
        return dataclasses.replace(state, pads_days=self._days)

    def told(self, record: Alarm) -> Alarm:
        """An alarm about pads with the days that they last."""
        days = self._days if record.code == "pads_low" else None
        if days is None:
            return record
        text = f"{record.text}; at the rate of the last hour they last {days:.1f} days"
        return dataclasses.replace(record, text=text)

    def block(self, report: BlockReport, now_s: float) -> None:
        if report.net_bits > 0:
            self._key_s = now_s

    def _silent(self, state: LinkState, now_s: float) -> None:
        rates = state.rate_hz
        mean = sum(rates.values()) / len(rates) if rates else 0.0
        found = []
        for letter, rate in rates.items():
            if mean >= SILENT_LEAST_HZ and rate < SILENT_PART * mean:
                since = self._silent_since.setdefault(letter, now_s)
                if now_s - since >= SILENT_S:
                    found.append(letter)
            else:
                self._silent_since.pop(letter, None)
        if rates:
            names = ", ".join(found)
            text = f"detector {names} clicks less than a hundredth of the mean of all"
            self.hold("detector_silent", text if found else None)

    def pads_days(self, now_s: float) -> float | None:
        """At the net consumption of the last hour; None: they grow, or it is too early to say."""
        while len(self._pads) > 1 and now_s - self._pads[0][0] > PADS_S:
            self._pads.popleft()
        if not self._pads:
            return None
        (then_s, then), (last_s, last) = self._pads[0], self._pads[-1]
        if last_s - then_s < PADS_LEAST_S or last >= then:
            return None
        return last / ((then - last) / (last_s - then_s)) / 86_400
