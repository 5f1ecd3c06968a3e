"""What an answer needs beyond its certificate: that it stood, and was no hiccup."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from numpy.random import Generator
from scipy.stats import binom

from chaosbandit.core import certified_claims, confirmation
from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bracket, gate
from chaosbandit.core.confirmation import repeated, stood_s
from chaosbandit.core.events import Decided, ExposureStarted
from chaosbandit.core.model import Cause, Expose, GateOutcome, Purpose
from chaosbandit.core.policies import policy
from chaosbandit.core.replay import replay
from chaosbandit.core.scenario import GATE, Guardrails, Scenario, Search, Timing
from chaosbandit.errors import Exit
from chaosbandit.sim.targets import (
    Answer,
    Asked,
    Service,
    Symptom,
    independent,
    lognormal,
    setting_in,
)
from tests.simulated import Heard, cliff, generator, ladder, only, run, scenario, world

LATE_AT, AT = 0.1, 0.3  # s of latency: what fails late, and what fails at once
RATE_PER_S = 50.0
TIMING = Timing(steady_samples=50)


def bearing(after_s: float, ratio: float = 0.5) -> Service:
    """Fails at once from `AT` on, and from `LATE_AT` on when the dose has stood for a while."""
    at_once = independent(cliff(AT, below=0.0))
    later = independent(cliff(LATE_AT, below=0.0, above=ratio))
    failing = setting_in(after_s, later, at_once)
    return Service((Symptom(failing, status=503),), lognormal(0.020, 0.2, passed_on=1.0))


def asked(hold_s: float, **changes: object) -> Scenario:
    plain = scenario(
        over=ladder(0.02, 0.5),
        search=Search(hold_s=hold_s),
        guardrails=Guardrails(max_exposure_s=60.0),
        timing=TIMING,
    )
    return replace(plain, search=replace(plain.search, **changes))  # type: ignore[arg-type]


def searched(hold_s: float, after_s: float, seed: int, **changes: object) -> Campaign:
    simulated = world(lambda severity: 0.0, seed, target=bearing(after_s))
    return run(asked(hold_s, **changes), simulated, seed=seed)


def cause_of(campaign: Campaign) -> Cause:
    assert campaign.stopped is not None
    return campaign.stopped.cause


def held_arm(campaign: Campaign) -> int:
    arm = only(campaign).certificate.held_arm
    assert arm is not None
    return arm


# --- standing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("after_s", [4.0, 10.0, 20.0])
def test_what_fails_later_in_an_exposure_is_never_said_to_hold(after_s: float, seed: int) -> None:
    campaign = searched(30.0, after_s, seed)
    held = bracket(only(campaign)).held
    assert held is None or held < LATE_AT


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("after_s", [10.0, 20.0])
def test_it_did_not_stand_and_the_second_is_named(after_s: float, seed: int) -> None:
    campaign = searched(30.0, after_s, seed)
    stopped = campaign.stopped
    assert stopped is not None
    assert (stopped.cause, stopped.exit_code) == (Cause.NOT_STOOD, Exit.INCONCLUSIVE)
    assert not stopped.answered
    begins, ends = after_s, after_s + 0.5  # the first bad one may come a few requests later
    said = stopped.reason.split("fails from ")[1].split(" s after the injection")[0]
    assert begins <= float(said) <= ends
    assert "timing.warmup: " in stopped.reason


@pytest.mark.parametrize("after_s", [10.0, 20.0])
def test_without_a_hold_it_would_have_been_said_to_hold(after_s: float) -> None:
    campaign = searched(0.0, after_s, 0)
    held = bracket(only(campaign)).held
    assert held is not None and held > LATE_AT
    assert cause_of(campaign) is Cause.BRACKETED


@pytest.mark.parametrize("seed", range(3))
def test_what_is_well_stands_as_long_as_asked_in_one_exposure_and_costs_only_the_rest(
    seed: int,
) -> None:
    plain, standing = searched(0.0, math.inf, seed), searched(30.0, math.inf, seed)
    assert bracket(only(standing)) == bracket(only(plain))
    assert cause_of(standing) is Cause.BRACKETED
    already_s, stood = (stood_s(only(c), held_arm(c)) for c in (plain, standing))
    assert 30.0 <= stood <= 31.1  # looks are a second long
    assert len(standing.exposures) == len(plain.exposures)
    more = standing.spent_samples - plain.spent_samples
    assert abs(more - (stood - already_s) * RATE_PER_S) <= 5
    longest = [e for e in standing.exposures if e.arm == held_arm(standing)]
    assert sum(each.age_s >= 30.0 for each in longest) == 1


def test_no_hold_asks_for_nothing_more() -> None:
    heard = Heard()
    run(asked(0.0), world(lambda severity: 0.0, target=bearing(math.inf)), sinks=[heard])
    decisions = [e.decision for e in heard.of(Decided) if isinstance(e.decision, Expose)]
    assert all(each.purpose is not Purpose.HOLD for each in decisions)
    assert decisions


def test_a_hold_bets_nothing_and_its_decisions_replay() -> None:
    heard, held = Heard(), asked(30.0)
    run(held, world(lambda severity: 0.0, target=bearing(math.inf)), sinks=[heard])
    decisions = [e.decision for e in heard.of(Decided) if isinstance(e.decision, Expose)]
    holds = [each for each in decisions if each.purpose is Purpose.HOLD]
    assert holds and all(each.bets == () for each in holds)
    again = replay(heard.events, held, policy("certify"))
    assert again.difference is None
    assert again.decisions == len(heard.of(Decided))


# --- gates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["bracket", GATE])
@pytest.mark.parametrize("hold_s", [0.0, 30.0])
def test_a_gate_passes_only_after_the_hold(stop: str, hold_s: float) -> None:
    gated = replace(asked(hold_s, stop=stop), require={"slow": 0.2})
    campaign = run(gated, world(lambda severity: 0.0, target=bearing(math.inf)))
    assert campaign.stopped is not None
    assert campaign.stopped.exit_code == Exit.ANSWERED, campaign.stopped.reason
    assert gate(only(campaign)) is GateOutcome.PASSED
    assert stood_s(only(campaign), held_arm(campaign)) >= hold_s


@pytest.mark.parametrize("stop", ["bracket", GATE])
def test_a_gate_of_what_does_not_stand_is_undecided(stop: str) -> None:
    gated = replace(asked(30.0, stop=stop), require={"slow": 0.2})
    campaign = run(gated, world(lambda severity: 0.0, target=bearing(10.0)))
    assert campaign.stopped is not None
    assert campaign.stopped.exit_code == Exit.INCONCLUSIVE
    assert gate(only(campaign)) is GateOutcome.UNDECIDED


@pytest.mark.parametrize(
    ("hold_s", "outcome"), [(0.0, GateOutcome.PASSED), (30.0, GateOutcome.UNDECIDED)]
)
def test_a_gate_whose_hold_was_cut_short_is_undecided(hold_s: float, outcome: GateOutcome) -> None:
    in_haste = replace(asked(hold_s, max_duration_s=26.0), require={"slow": 0.2})
    in_haste = replace(in_haste, guardrails=Guardrails(max_exposure_s=10.0))
    campaign = run(in_haste, world(lambda severity: 0.0, target=bearing(math.inf)))
    assert only(campaign).certificate.held_arm is not None
    assert gate(only(campaign)) is outcome


# --- no hiccup ------------------------------------------------------------------------------------


class Hiccup:
    """A canary that is healthy below `AT`, and sick for two seconds from `at_s` on at any dose."""

    def __init__(self, at_s: float) -> None:
        self.at_s, self.service = at_s, bearing(math.inf)

    def __call__(self, request: Asked, rng: Generator) -> Answer:
        answer = self.service(request, rng)
        sick = self.at_s <= request.now_s < self.at_s + 2.0
        return replace(answer, status=503) if sick else answer


RUNS = 40


def false_brokes() -> int:
    """How often a hiccup near the end of the search makes something broken that holds."""
    rng, wrong = generator(5), 0
    for seed in range(RUNS):
        target = Hiccup(at_s=float(rng.uniform(11.0, 13.0)))
        campaign = run(asked(0.0), world(lambda severity: 0.0, seed, target=target), seed=seed)
        broke = bracket(only(campaign)).broke
        wrong += broke is not None and broke < AT
    return wrong


MOST = binom.ppf(0.999, RUNS, 0.05)  # of so many, were each as likely as promised at most


def without_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation, "repeated", lambda climb, broke: True)
    for module in (confirmation, certified_claims):
        monkeypatch.setattr(module, "refuted", lambda climb, broke: False)


def test_a_passing_hiccup_of_the_canary_breaks_nothing() -> None:
    assert false_brokes() <= MOST


def test_in_one_exposure_alone_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    without_confirmation(monkeypatch)
    assert false_brokes() > MOST


@pytest.mark.parametrize("seed", range(3))
def test_what_broke_is_broken_in_a_second_exposure_before_it_is_an_answer(seed: int) -> None:
    heard = Heard()
    campaign = run(scenario(), world(cliff(0.2), seed), seed=seed, sinks=[heard])
    climb = only(campaign)
    broke = climb.certificate.broke_arm
    assert broke is not None
    assert repeated(climb, broke)
    failing = [e for e in campaign.exposures if e.arm <= broke and e.severity >= 0.2 and any(e.bad)]
    assert len(failing) >= 2
    assert len(heard.of(ExposureStarted)) == len(campaign.exposures)


def test_that_costs_few_bad_requests_on_a_clean_cliff(monkeypatch: pytest.MonkeyPatch) -> None:
    def bad() -> float:
        plain, spent = scenario(search=Search(hold_s=0.0)), 0
        for seed in range(30):
            campaign = run(plain, world(cliff(0.2, below=0.0), seed), seed=seed)
            assert cause_of(campaign) is Cause.BRACKETED
            spent += campaign.spent_bad(0)
        return spent / 30

    confirmed = bad()
    without_confirmation(monkeypatch)
    assert 0.0 < confirmed - bad() <= 3.0
