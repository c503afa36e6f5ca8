"""Detectors behind an analyser, one or all four: a device writes their operating point."""

from __future__ import annotations

from typing import Any

from photonlink.firmware_sim.places import PlaceKind


class DetectorAt:
    """``places.DetectorPlace``."""

    def __init__(self, table: Any, place: str) -> None:
        self._table, self._place = table, place
        side, letter = place.split(".")
        table.set({f"{side}.detectors.{letter}.excess_bias_v": 0.0})

    def _put(self, leaf: str, value: float) -> None:
        self._table.put(self._table.detector(self._place), leaf, value)

    def set_excess_bias_v(self, excess_v: float) -> None:
        self._put("excess_bias_v", excess_v)

    def set_temperature_c(self, temperature_c: float) -> None:
        self._put("temperature_c", temperature_c)

    def set_threshold_mv(self, threshold_mv: float) -> None:
        self._put("threshold_mv", threshold_mv)

    def set_dead_time_s(self, dead_time_s: float) -> None:
        self._put("dead_time_s", dead_time_s)

    def clicks_total(self) -> int:
        total: int = self._table.clicks_total(self._place)
        return total

    def stage_k(self) -> float | None:
        """Temperature of the side's cold stage; None without a controller."""
        stage = self._table.elements.get(f"{self._place.partition('.')[0]}.cryostat")
        return None if stage is None else float(stage.get("temperature_k"))


class DetectorArray:
    """One device with all detectors of a side: ``channels`` in the order H, V, D, A."""

    def __init__(self, table: Any, place: str) -> None:
        side = place.partition(".")[0]
        self.channels = tuple(DetectorAt(table, f"{side}.{letter}") for letter in "hvda")


KINDS = (
    PlaceKind("detector", "(alice|bob).[hvda]", DetectorAt),
    PlaceKind("detector-array", "(alice|bob).detectors", DetectorArray, covers=tuple("hvda")),
)
