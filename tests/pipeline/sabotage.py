"""One switch per rule: it disables the rule, so that the attack of this rule must succeed.

Only for tests: a switch patches the running program; the product contains no switch. Some attacks
are also stopped by other guards, mostly statistical ones. The second entry of a row of SWITCHES
disables those in both runs, so that the result depends on the rule alone. The names are those of
``pipeline/attacks/rules.py``, which docs/attacks.md lists.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from photonlink.hal.tags import TagBlock
from photonlink.pipeline.attacks import entry, play
from photonlink.pipeline.attacks.entry import AttackEntry, AttackOutcome
from photonlink.pipeline.attacks.light import Light
from photonlink.pipeline.attacks.play import ATTACKS
from photonlink.pipeline.attacks.rules import RULES
from photonlink.pipeline.native.quiet import KeptEvents
from photonlink.pipeline.protocol import roles
from photonlink.pipeline.protocol.channel import claims, handshake
from photonlink.pipeline.protocol.channel.authentication import Covered
from photonlink.pipeline.protocol.channel.framing import ProtocolError
from photonlink.pipeline.protocol.distilling.shared import Distilling
from photonlink.pipeline.protocol.lasting import Lasting
from photonlink.pipeline.protocol.publishing import Publisher
from photonlink.pipeline.protocol.sifting.own_tags import OwnTags
from photonlink.pipeline.stages import estimate
from photonlink.pipeline.stages.agreed import AgreedParameters
from photonlink.pipeline.stages.finite_key import TwoBasisThresholds
from photonlink.pipeline.stages.quiet import QuietBuffer

Patch = pytest.MonkeyPatch
Switch = Callable[[Patch], None]


def no_judge(patch: Patch) -> None:
    patch.setattr(estimate, "judge_detectors", lambda *a, **k: None)


def no_balance(patch: Patch) -> None:
    patch.setattr(estimate, "key_balanced", lambda *a, **k: True)


def no_multi_click_limit(patch: Patch) -> None:
    patch.setattr(estimate, "few_multi_clicks", lambda *a, **k: True)


def only_followers(patch: Patch) -> None:
    """Do not count marks that come from the event before a pair."""
    keep = QuietBuffer.keep

    def without(self: QuietBuffer, *arguments: Any) -> KeptEvents:
        kept = keep(self, *arguments)
        return dataclasses.replace(kept, marks=kept.marks & 1)

    patch.setattr(QuietBuffer, "keep", without)


def no_error_threshold(patch: Patch) -> None:
    patch.setattr(estimate, "judge_errors", lambda *a, **k: None)


def no_thresholds(patch: Patch) -> None:
    """Key from both bases: the errors in DA no longer limit the key from HV, nor the reverse."""
    no_error_threshold(patch)
    patch.setattr(TwoBasisThresholds, "refusal", lambda *a: None)
    patch.setattr(AgreedParameters, "leak_cap_bits", lambda self, n: 10 * n)


def _agree(patch: Patch, **changes: Any) -> None:
    patch.setattr(play, "AGREED", dataclasses.replace(entry.AGREED, **changes))


def no_noise(patch: Patch) -> None:
    _agree(patch, noise_ps=0)


def no_quiet_time(patch: Patch) -> None:
    _agree(patch, hardware_hold_off=1)


def prolonged_veto(patch: Patch) -> None:
    """Each click, announced or not, restarts the quiet time."""
    plain = QuietBuffer.add

    def add(self: QuietBuffer, block: TagBlock) -> None:
        t, quiet = block.time_ps, self.rule.quiet_ps
        gap = np.diff(t, prepend=np.int64(-(1 << 60)))
        # a click within the quiet time after any other click is dropped
        keep = gap > quiet
        block = dataclasses.replace(
            block, time_ps=t[keep].copy(), channel=block.channel[keep].copy()
        )
        plain(self, block)

    patch.setattr(QuietBuffer, "add", add)


def delays_from_the_light(patch: Patch) -> None:
    """Use the detector delays that would be learned from the light of phase 1 of attack C2."""

    def learned(attack: AttackEntry, p: dict[str, Any], light: Light) -> object:
        x = p["learn_ps"] / 2
        return entry.calibrated(alice_ps=(-x, -x, x, x), bob_ps=(x, x, -x, -x))

    patch.setattr(play, "bench_for", learned)


def judged_after_release(patch: Patch) -> None:
    """Judge each block by the verdict on the block before it."""
    plain = Distilling.own_verdict
    last: dict[int, str | None] = {}

    def late(self: Distilling, *sides: object) -> str | None:
        found, last[id(self)] = last.get(id(self)), plain(self, *sides)  # type: ignore[arg-type]
        return found

    patch.setattr(Distilling, "own_verdict", late)


def live_rates(patch: Patch) -> None:
    """Publish the count rate of each detector immediately."""
    plain = Publisher.state

    def state(self: Publisher, phase: Any, now_s: float, line: Any, tags: Any) -> None:
        if line is not None and line.role is not None:
            line.view.show["rate_hz"] = tags.rates_hz()
        plain(self, phase, now_s, line, tags)

    patch.setattr(Publisher, "state", state)


def rates_of_before(patch: Patch) -> None:
    """After the end of a session, keep the rates of its last two seconds."""
    plain = OwnTags.forget

    def forget(self: OwnTags) -> None:
        kept = list(self._history)
        plain(self)
        self._history.extend(kept)

    patch.setattr(OwnTags, "forget", forget)


def no_tags(patch: Patch) -> None:
    """Neither end checks the other's one-time tag."""
    patch.setattr(Covered, "check_alice_tag", lambda *a: True)
    patch.setattr("photonlink.pipeline.protocol.commitment.hmac.compare_digest", lambda a, b: True)


def no_bounds(patch: Patch) -> None:
    """Use the content of a message unchecked."""
    patch.setattr("photonlink.pipeline.protocol.messages.math.isfinite", lambda v: True)
    patch.setattr(roles, "check", lambda acquisition: acquisition)


def uncharged_attempts(patch: Patch) -> None:
    plain = Lasting.attempt

    def free(self: Lasting, block: int, pairs: int, epsilon: float, session: str) -> None:
        plain(self, block, pairs, 0.0, session)

    patch.setattr(Lasting, "attempt", free)


def no_memory_of_the_peer(patch: Patch) -> None:
    """Do not compare this ledger's records with those of the peer's ledger."""
    plain = claims.compare

    def trusting(own: Any, peer: Any, *, is_alice: bool) -> claims.LedgerResolution:
        try:
            return plain(own, peer, is_alice=is_alice)
        except ProtocolError:
            position = dict(zip(("alice", "bob"), own.pads, strict=True))
            return claims.LedgerResolution(
                0, (), False, max(own.next_block, peer.next_block), position
            )

    patch.setattr(handshake, "compare", trusting)


def blind_oracle(patch: Patch) -> None:
    patch.setattr("photonlink.pipeline.attacks.knowing._by_record",
                  lambda *a: np.empty(0, np.int64))  # fmt: skip


SWITCHES: dict[str, tuple[Switch, tuple[Switch, ...]]] = {
    "tentative": (no_tags, ()),
    "constant delays": (delays_from_the_light, (no_judge,)),
    "held until judged": (judged_after_release, (no_balance,)),
    "every detector judged": (no_judge, (no_balance,)),
    "key balance": (no_balance, (no_judge,)),
    "nothing leaves": (live_rates, ()),
    "nothing of before": (rates_of_before, ()),
    "errors": (no_error_threshold, ()),
    "thresholds": (no_thresholds, ()),
    "noise": (no_noise, (no_judge, no_balance)),
    "quiet time": (no_quiet_time, (no_multi_click_limit,)),
    "later clicks": (prolonged_veto, (no_multi_click_limit,)),
    "shadow": (only_followers, ()),
    "bounds": (no_bounds, ()),
    "memory": (no_memory_of_the_peer, ()),
    "attempts": (uncharged_attempts, ()),
    "oracle": (blind_oracle, ()),
}
"""By rule name (``RULES``): the switch of the rule, and the guards disabled in both runs."""


@contextlib.contextmanager
def switched(*switches: Switch) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for switch in switches:
            switch(patch)
        yield


def outcomes(name: str, seed: int = 1) -> tuple[AttackOutcome, AttackOutcome]:
    """Outcomes of the rule's attack with the rule and without it."""
    rule = next(r for r in RULES if r.name == name)
    attack = ATTACKS[rule.row]
    attack = dataclasses.replace(
        attack,
        defaults={**attack.defaults, **rule.settings},
        agreed={**attack.agreed, "bases": rule.bases},
    )
    switch, others = SWITCHES[name]
    with switched(*others):
        with_it = play.play(attack, seed)
    with switched(*others, switch):
        without = play.play(attack, seed)
    return with_it, without
