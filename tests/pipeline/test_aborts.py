"""Row F4 and point 8: the conversation fails at any message, at either end or both, also delayed
and out of order. Keys never differ, a block without a tag costs no pad, and the link recovers.

A sample of the cases; tests/reliability/one_sided.py runs all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import aborts
import pytest
from link import narrow_clock_search

from photonlink.pipeline.protocol.commitment import Commitment
from photonlink.pipeline.protocol.messages import MESSAGES, Message, Refuse

STRIDE = 31  # coprime to 4 * 3 * 3: the sample contains every message, failure, end and delay


@pytest.fixture(autouse=True, scope="module")
def quick_clock() -> Iterator[None]:
    with narrow_clock_search():
        yield


@pytest.fixture(scope="module")
def all_cases(quick_clock: None) -> list[aborts.Case]:
    return aborts.cases(aborts.script())


def test_the_conversation_says_every_message(all_cases: list[aborts.Case]) -> None:
    """A message type that is not sent here would not be covered. Refuse only ends a handshake."""
    assert {c.kind for c in all_cases} == {
        cls.__name__ for cls in MESSAGES.values() if cls is not Refuse
    }


def test_keys_never_differ_whoever_ends_it(all_cases: list[aborts.Case]) -> None:
    chosen = all_cases[::STRIDE]
    for part in ("how", "who", "when"):
        assert {getattr(c, part) for c in chosen} == {getattr(c, part) for c in all_cases}
    for case in chosen:
        try:
            aborts.run(case)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error


def case(all_cases: list[aborts.Case], name: str) -> aborts.Case:
    return next(c for c in all_cases if str(c) == name)


def test_an_end_that_releases_before_the_tag_is_seen(
    all_cases: list[aborts.Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rule, Alice releases a block when she offers it."""
    plain = Commitment.offer

    def hasty(self: Commitment, *arguments: object) -> str | None:
        found = plain(self, *arguments)  # type: ignore[arg-type]
        if self._offered is not None:
            from photonlink.pipeline.protocol.lasting import Verified

            self._lasting.release(Verified(self._offered.message.block))
        return found

    monkeypatch.setattr(Commitment, "offer", hasty)
    with pytest.raises(AssertionError):
        aborts.run(case(all_cases, "alice-Amplify-cut_before-both-at_once"))


def test_a_tag_that_is_made_anew_is_seen(
    all_cases: list[aborts.Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rule, a new tag under the same pad is sent instead of the stored one."""
    from dataclasses import replace

    def anew(self: Commitment, say: object) -> None:
        assert self._offered is not None
        again: Message = replace(self._offered.message, tag=bytes(16))
        say(again)  # type: ignore[operator]

    monkeypatch.setattr(Commitment, "resend", anew)
    with pytest.raises(AssertionError, match="two tags"):
        aborts.run(case(all_cases, "alice-Amplify-cut_before-both-at_once"))


def test_a_block_that_was_cut_and_cost_pads_is_seen(
    all_cases: list[aborts.Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Commitment.expect

    def costly(self: Commitment, step: object, *arguments: object) -> str | None:
        found = plain(self, step, *arguments)  # type: ignore[arg-type]
        if self._expected is not None:
            positions = {"alice": self._expected.alice_pad, "bob": self._expected.bob_pad}
            self._lasting.reserve(self._expected.account.block, positions)
        return found

    monkeypatch.setattr(Commitment, "expect", costly)
    with pytest.raises(AssertionError, match="pads are gone"):
        aborts.run(case(all_cases, "bob-VerifyResult-cut_before-both-at_once"))
