"""Plans: better than the file's settings, with correct predictions, and a clear message where no
key is possible.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from typing import Any

import pytest
from typer.testing import CliRunner

from photonlink.pipeline.cli.main import app
from photonlink.pipeline.cli.planning import _plan_text
from photonlink.pipeline.planning import optimise, rates
from photonlink.pipeline.planning import plan as planning
from photonlink.pipeline.planning.model import load_link
from photonlink.pipeline.planning.rates import Planned, key_rate
from photonlink.pipeline.stages import finite_key as fk


@pytest.fixture(scope="module")
def plan() -> planning.Plan:
    return planning.plan(load_link("lucamarini2013"))


def test_the_proposal_beats_the_file_and_is_a_legal_source(plan: planning.Plan) -> None:
    assert plan.proposed.bits_per_s > 1.2 * plan.present.bits_per_s
    mus, ps = plan.settings.mus, plan.settings.ps
    assert mus[0] > mus[1] + mus[2]
    assert mus[2] == 0.001
    assert sum(ps) == pytest.approx(1)
    assert 0 < plan.settings.key_basis < 1


@pytest.mark.row("numbers with 17 digits, rates as 2.101e+06")
def test_no_number_of_a_plan_is_a_power_of_ten_or_has_digits_without_end(
    plan: planning.Plan,
) -> None:
    assert plan.bases.best_two_bits_per_s > 1e6, "a rate that %g writes as a power of ten"
    assert not re.findall(r"\d[.\d]*e[+-]?\d+|\d+\.\d{7,}", _plan_text(plan))


def test_blocks_as_long_as_promised_keep_the_promise(plan: planning.Plan) -> None:
    link = load_link("lucamarini2013")
    source = link.source.model_copy(
        update={"mus": plan.settings.mus, "ps": plan.settings.ps,
                "key_basis": plan.settings.key_basis}
    )  # fmt: skip
    planned = Planned.of(link.model_copy(update={"source": source}))
    assert plan.positive_key_s is not None
    assert plan.near_asymptotic_s is not None
    assert key_rate(planned.with_block_s(plan.positive_key_s)).length > 0
    assert key_rate(planned.with_block_s(0.9 * plan.positive_key_s)).length == 0
    near = key_rate(planned.with_block_s(plan.near_asymptotic_s))
    assert near.bits_per_s >= 0.95 * near.asymptotic_bits_per_s
    sooner = key_rate(planned.with_block_s(0.9 * plan.near_asymptotic_s))
    assert sooner.bits_per_s < 0.95 * sooner.asymptotic_bits_per_s


def test_honest_blocks_are_refused_about_as_often_as_asked(plan: planning.Plan) -> None:
    low, high = plan.abort_interval
    assert low <= plan.abort_probability <= high
    assert plan.abort_probability < 0.04
    assert isinstance(plan.thresholds, fk.DecoyThresholds)
    assert 0 < plan.length < plan.proposed.length


def test_thresholds_for_a_quiet_loss_refuse_more_when_it_wanders() -> None:
    quiet = load_link("nice2022")
    channel = quiet.channel.model_copy(update={"loss_sd_db": 0.5})
    moving = planning.plan(quiet.model_copy(update={"channel": channel}))
    still = planning.plan(quiet)
    assert isinstance(still.thresholds, fk.TwoBasisThresholds)
    assert isinstance(moving.thresholds, fk.TwoBasisThresholds)
    assert moving.thresholds.n_z < still.thresholds.n_z
    assert moving.length < still.length


def test_what_limits_a_link_is_found() -> None:
    dead = planning.plan(load_link("gruenenfelder2023"))
    assert dead.limits[0].name == "dead time and saturation"
    assert all(limit.gain >= 0.999 for limit in dead.limits)


def test_a_link_without_key_says_so() -> None:
    far = load_link("lucamarini2013").at_length(300)
    plan = planning.plan(far)
    assert plan.proposed.length == 0
    assert plan.positive_key_s is None
    assert plan.near_asymptotic_s is None
    assert plan.thresholds is None
    assert plan.abort_probability == 1.0


def test_the_command_says_the_same_in_words_and_in_json() -> None:
    words = CliRunner().invoke(app, ["plan", "nice2022"])
    assert words.exit_code == 0, words.output
    assert "honest blocks refused" in words.stdout
    told = CliRunner().invoke(app, ["plan", "nice2022", "--json"])
    found = json.loads(told.stdout.strip().splitlines()[-1])
    assert f"{found['length']:,} bits" in words.stdout
    assert CliRunner().invoke(app, ["plan", "nowhere.toml"]).exit_code == 1


def test_the_plan_shows_what_rarely_refused_blocks_cost(plan: planning.Plan) -> None:
    trade = planning.plan(load_link("nice2022")).trade
    assert [t.abort_probability for t in trade] == [0.1, 0.01, 1e-3, 1e-4]
    for often, seldom in itertools.pairwise(trade):
        assert seldom.q_z > often.q_z
        assert seldom.q_x > often.q_x
    best = max(trade, key=lambda t: t.bits_per_s)
    assert best.abort_probability in (0.01, 1e-3)
    assert plan.trade == ()


def test_the_plan_says_which_of_one_and_two_bases_gives_more(plan: planning.Plan) -> None:
    """Even splitters: both bases give nearly twice the key; a biased bench: little or no gain."""
    link = load_link("nice2022")

    def bases(key_basis: float) -> planning.BlockBases:
        source = link.source.model_copy(update={"key_basis": key_basis})
        receiver = link.receiver.model_copy(update={"key_basis": key_basis})
        described = link.model_copy(update={"source": source, "receiver": receiver})
        return planning.plan(described).bases

    even, biased = bases(0.5), bases(0.97)
    assert even.better == "both"
    assert even.two_bits_per_s > 1.8 * even.one_bits_per_s
    assert biased.two_bits_per_s < 1.1 * biased.one_bits_per_s
    for each in (even, biased, plan.bases):
        assert each.best_one_bits_per_s >= each.one_bits_per_s
        assert each.best_two_bits_per_s >= each.two_bits_per_s
    assert plan.bases.best_one_bits_per_s >= plan.proposed.bits_per_s


@pytest.mark.parametrize("both", [True, False])
def test_thresholds_are_those_of_the_bases_that_make_key(both: bool) -> None:
    link = load_link("nice2022")
    protocol = link.protocol.model_copy(update={"both_bases": both})
    found = planning.plan(link.model_copy(update={"protocol": protocol}))
    kind = fk.TwoBasisThresholds if both else fk.PairThresholds
    assert isinstance(found.thresholds, kind)
    assert found.abort_probability < 0.04
    assert 0 < found.length <= found.proposed.length * 1.02


@pytest.mark.row("plan for Micius shows 833,796 expected bits beside an account of 819,894")
@pytest.mark.parametrize("name", ["micius2017", "nec2008", "nice2022"])
def test_the_accounts_of_both_bases_add_up_to_what_is_expected(name: str) -> None:
    found = planning.plan(load_link(name))
    assert len(found.accounts) == 2
    parts = [account.length for account in found.accounts]
    assert sum(parts) == found.proposed.length > 0
    words = _plan_text(found)
    assert f"{found.proposed.length:,} secret bits expected ({parts[0]:,} from the key" in words
    for part in parts:
        assert re.search(rf"secret +{part:,}\b", words), "the account itself is shown"


@pytest.mark.row("yin2020 proposes thresholds that give 0 bits")
def test_no_thresholds_are_proposed_for_blocks_without_key() -> None:
    found = planning.plan(load_link("yin2020"))
    assert found.proposed.length == found.length == 0
    assert found.thresholds is None
    assert found.positive_key_s is not None
    words = _plan_text(found)
    assert "no thresholds to agree: a block this short makes no key; it takes" in words
    assert "thresholds to agree: q" not in words


@pytest.mark.row('a far link is "recommended" probabilities 0.0000/0.0015/0.9985')
@pytest.mark.parametrize("length_km", [200, 300])
def test_a_link_too_far_for_key_is_given_no_degenerate_settings(length_km: float) -> None:
    far = load_link("lucamarini2013").at_length(length_km)
    found = planning.plan(far)
    assert min(found.settings.ps) > 0.003
    assert found.settings.ps[0] > 0.1, "most pulses are for key"
    if found.positive_key_s is None:
        assert found.settings.ps == far.source.ps
        assert "no thresholds to agree: this link makes no key" in _plan_text(found)


@pytest.mark.row("neumann2022 takes 10-14 s")
def test_a_plan_needs_few_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations are counted, not timed: 1,500 take about 1.5 s of CPU."""
    calls = Counter[str]()
    plain = rates.key_rate

    def counted(*arguments: Any, **more: Any) -> Any:
        calls["key_rate"] += 1
        return plain(*arguments, **more)

    for module in (planning, optimise):
        monkeypatch.setattr(module, "key_rate", counted)
    planning.plan(load_link("neumann2022"))
    assert calls["key_rate"] < 1000
