"""Every time tagger streams its events, and every missing event is accounted for.

Each emulator replays a list of events from the test for ``PHOTONLINK_STREAM_S`` seconds (10), all
taggers in parallel; in the middle some events are lost inside the instrument. Decoded and lost
events together must equal the list exactly. What a driver reports of the loss depends on the wire
and is declared in the registration: ``counted`` (the number of events), ``flagged`` (a gap), or
nothing, because the wire shows no sign of it. ``PHOTONLINK_STREAM_HZ=1000000`` is the long run, at
a rate near the host's limit.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chalk_bench import Emulator

from photonlink.hal.decoders import decoder_for
from photonlink.hal.registry import Registration, load_driver, registry

STREAM_S = float(os.environ.get("PHOTONLINK_STREAM_S", "10"))
RATE_HZ = float(os.environ.get("PHOTONLINK_STREAM_HZ", "20000"))
VANISH = 500
LEAD_PS = int(1e12)
PATIENCE_S = float(os.environ.get("PHOTONLINK_STREAM_PATIENCE_S", "120"))
"""How long a starved host may take for what is left, once the events are over."""
TAGGERS = [e for e in registry().drivers.values() if "StreamsTags" in e.facets]


class Account:
    """Events of one tagger: given, received, and reported as missing."""

    def __init__(self, entry: Registration, unit: Emulator) -> None:
        self.entry, self.unit = entry, unit
        self.given = self.came = self.counted = self.gaps = 0
        self.uncounted = False

    @property
    def vanished(self) -> int:
        """Events lost inside the instrument: on purpose, and because its memory was full."""
        return VANISH + int(self.unit.port._memory.lost_total)

    @property
    def whole(self) -> bool:
        return self.came + self.vanished >= self.given

    @property
    def words(self) -> str:
        return (
            f"{self.given} given, {self.came} came, {self.vanished} vanished, {self.gaps} gaps "
            f"with {self.counted} events"
        )

    async def run(self) -> None:
        kind: Any = load_driver(self.entry.id)
        more = self.entry.case.get("streaming", {})
        settings = {**self.entry.settings, **more, "reply_timeout_s": 30.0}
        driver = kind(self.entry.id, self.unit.device.address, kind.Settings(**settings))
        await driver.open()
        try:
            await driver.configure()
            await driver.start()
            await asyncio.to_thread(self.unit.call, self.load)
            try:
                await self.stream(driver)
            except TimeoutError:
                raise AssertionError(f"not all came: {self.words}") from None
            await driver.stop()
        finally:
            await driver.close()

    def load(self) -> None:
        """Load events that begin a little later than now, none within another's dead time."""
        rng = np.random.default_rng(len(self.entry.id))
        mean_ps = int(1e12 / RATE_HZ)
        steps = rng.integers(mean_ps // 2, mean_ps * 3 // 2, int(STREAM_S * RATE_HZ))
        times = self.unit.port._now_ps() + LEAD_PS + np.cumsum(steps)
        self.given = len(times)
        inputs = self.entry.case.get("inputs", min(4, self.unit.port.inputs))
        self.unit.port.load(times, rng.integers(0, inputs, len(times)))

    async def stream(self, driver: Any) -> None:
        decoder = decoder_for(driver.wire_format)
        last, armed = -(1 << 62), False
        async with aclosing(driver.chunks()) as chunks:
            async with asyncio.timeout(STREAM_S + PATIENCE_S):
                async for chunk in chunks:
                    block = decoder.feed(chunk)
                    last = self.take(block, last)
                    if not armed and self.came > self.given // 3:
                        armed = True
                        await asyncio.to_thread(self.vanish)
                    if armed and self.settled(decoder):
                        break
        self.take(decoder.finish(), last)

    def settled(self, decoder: Any) -> bool:
        """Whether all events have come, except those that the decoder still holds for sorting."""
        return self.came + self.vanished + self.held(decoder) >= self.given and (
            self.entry.case.get("loss") != "counted" or self.counted >= self.vanished
        )

    def held(self, decoder: Any) -> int:
        return int(decoder._info.held)

    def take(self, block: Any, last: int) -> int:
        self.came += len(block)
        self.gaps += len(block.lost)
        self.counted += sum(gap.count or 0 for gap in block.lost)
        self.uncounted |= any(gap.count is None for gap in block.lost)
        if len(block):
            assert block.time_ps[0] >= last
            assert np.all(np.diff(block.time_ps) >= 0)
            return int(block.time_ps[-1])
        return last

    def vanish(self) -> None:
        order: dict[str, Any] = {"fault": "lose", "events": VANISH}
        if self.entry.case.get("loss") == "flagged":
            order["flagged"] = True
        self.unit.control(**order)

    def check(self) -> None:
        missing, loss = self.given - self.came, self.entry.case.get("loss", "")
        words = self.words
        assert missing == self.vanished, words
        if loss == "counted":
            assert self.counted == missing, words
        elif loss == "flagged":
            assert self.gaps, words
        else:
            assert not self.gaps, f"a gap that the wire cannot tell: {words}"


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[list[Account]]:
    found = []
    try:
        for entry in TAGGERS:
            folder = tmp_path / entry.id
            folder.mkdir()
            found.append(Account(entry, Emulator(entry.emulator, folder, {})))
        yield found
    finally:
        for account in found:
            account.unit.close()


async def test_every_event_that_is_missing_is_accounted_for(accounts: list[Account]) -> None:
    done = await asyncio.gather(*(a.run() for a in accounts), return_exceptions=True)
    said = [f"{a.entry.id}: {e!r}" for a, e in zip(accounts, done, strict=True) if e is not None]
    for account, error in zip(accounts, done, strict=True):
        if error is None:
            try:
                account.check()
            except AssertionError as wrong:
                said.append(f"{account.entry.id}: {wrong}")
    assert not said, "\n".join(said)


def test_an_event_that_nobody_accounts_for_is_noticed(accounts: list[Account]) -> None:
    account = next(a for a in accounts if a.entry.case.get("loss") == "counted")
    account.given, account.came, account.counted = 1000, 500 - 1, 500
    with pytest.raises(AssertionError, match="499 came"):
        account.check()
