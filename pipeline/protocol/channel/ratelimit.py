"""A token bucket in the caller's time."""

from __future__ import annotations


class TokenBucket:
    """``burst`` tokens at once, one more every ``period_s`` (times ``slower``)."""

    def __init__(self, burst: int, period_s: float) -> None:
        self._burst, self._period_s = burst, period_s
        self._tokens = float(burst)
        self._last_s: float | None = None

    def take(self, now_s: float, slower: float = 1.0) -> bool:
        if self._last_s is not None and now_s > self._last_s:
            self._tokens = min(
                self._burst, self._tokens + (now_s - self._last_s) / (self._period_s * slower)
            )
        self._last_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
