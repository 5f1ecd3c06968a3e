"""What becomes of single exposures: recovery, budget, control, warm-up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from numpy.random import Generator

from chaosbandit.core.campaign import Campaign, Exposure
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.events import Observed, WashedOut
from chaosbandit.core.model import Cause, Phase, Route, Validity
from chaosbandit.core.replay import opening
from chaosbandit.core.scenario import Scenario, Search, Timing
from chaosbandit.core.slo import ErrorBudget
from chaosbandit.errors import Exit
from chaosbandit.sim.targets import Answer, Asked
from tests.simulated import Heard, cliff, ladder, only, run, scenario, world

AT = 0.2
USUAL = Timing(steady_samples=50)


@dataclass
class Slow:
    """Breaks at `AT`, and stays sick for a while once it broke: queues, pools, breakers."""

    recovers_s: float
    broke_s: float = -1e9

    def __call__(self, asked: Asked, rng: Generator) -> Answer:
        if asked.severity >= AT:
            self.broke_s = asked.now_s
        sick = asked.severity >= AT or asked.now_s - self.broke_s < self.recovers_s
        felt_s = min(asked.severity, 0.1)
        return Answer(0.4, 503) if sick else Answer(0.020 + felt_s)


def recovering(recovers_s: float, asked: Scenario, heard: Heard | None = None) -> Campaign:
    simulated = world(lambda severity: 0.0, target=Slow(recovers_s))
    return run(asked, simulated, sinks=[] if heard is None else [heard])


def quick(**changes: object) -> Scenario:
    plain = scenario(over=ladder(0.01, 1.0), search=Search(hold_s=0.0), timing=USUAL)
    return replace(plain, **changes)  # type: ignore[arg-type]


def ended(campaign: Campaign) -> tuple[Cause, int, str]:
    stopped = campaign.stopped
    assert stopped is not None
    return stopped.cause, stopped.exit_code, stopped.reason


def judged(exposure: Exposure) -> Validity:
    assert exposure.validity is not None
    return exposure.validity


# --- recovery -------------------------------------------------------------------------------------


@pytest.mark.parametrize("recovers_s", [0.0, 20.0, 27.0])
def test_a_slow_recovery_costs_time_and_no_evidence(recovers_s: float) -> None:
    heard = Heard()
    campaign = recovering(recovers_s, quick(), heard)
    cause, code, reason = ended(campaign)
    assert (cause, code) == (Cause.BRACKETED, Exit.ANSWERED), reason
    found = bracket(only(campaign))
    assert found.held is not None and found.broke is not None
    assert found.held < AT <= found.broke
    assert all(judged(exposure).valid for exposure in campaign.exposures)
    assert campaign.stopped is not None and campaign.stopped.clean
    failed = [event for event in heard.of(WashedOut) if not event.back]
    assert bool(failed) == (recovers_s > USUAL.washout_s)
    for event in failed:  # the second look of the same exposure succeeded
        assert [e.back for e in heard.of(WashedOut) if e.n == event.n] == [False, True]


def test_a_target_that_does_not_recover_ends_the_run_and_what_it_taught_stays() -> None:
    campaign = recovering(1e6, quick())
    cause, code, reason = ended(campaign)
    assert (cause, code) == (Cause.TARGET, Exit.HARNESS)
    assert "did not come back to normal within 2 times 15 s" in reason
    assert "timing.washout" in reason
    last = campaign.exposures[-1]
    assert judged(last) == replace(judged(last), valid=False, blind=False, beliefs_stay=True)
    before = only(opening(quick())).believed_broken(last.arm)
    assert only(campaign).believed_broken(last.arm) > max(0.9, before)
    assert only(campaign).arms[last.arm].samples == 0  # what it proved does not
    assert campaign.tallies[Route.CANARY].any_bad < 200


# --- budget ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [40, 60, 80, 100, 150, 200])
@pytest.mark.parametrize("recovers_s", [5.0, 20.0, 1e6])
def test_a_budget_that_runs_low_is_said_and_the_target_is_not_blamed(
    allowed: int, recovers_s: float
) -> None:
    asked = quick(budget=ErrorBudget(1.0, 2_000_000, allowed / 20_000))
    campaign = recovering(recovers_s, asked)
    cause, code, reason = ended(campaign)
    assert campaign.budget_left() >= 0
    if cause is Cause.BUDGET:
        assert code == Exit.GUARDRAIL
        assert "the error budget of this run" in reason
        assert "did not come back" not in reason
        if campaign.washouts_failed:
            assert "before the path could be seen to be back to normal" in reason
    else:
        assert allowed > 100 or recovers_s == 5.0
        blamed = recovers_s == 1e6
        assert cause is (Cause.TARGET if blamed else Cause.BRACKETED), reason


def test_the_path_is_looked_at_after_a_run_that_spent_its_budget() -> None:
    heard = Heard()
    asked = quick(budget=ErrorBudget(1.0, 2_000_000, 40 / 20_000))
    campaign = recovering(1.0, asked, heard)
    cause, code, _ = ended(campaign)
    assert (cause, code) == (Cause.BUDGET, Exit.GUARDRAIL)
    assert campaign.stopped is not None and campaign.stopped.clean
    assert heard.of(WashedOut)[-1].back


# --- control --------------------------------------------------------------------------------------


def test_a_control_that_breaks_for_a_while_takes_gains_and_losses_of_these_exposures() -> None:
    heard = Heard()
    simulated = world(
        cliff(AT, below=0.0),
        control_bad_ratio=lambda now_s: 0.6 if 8.0 < now_s < 14.0 else 0.0,
    )
    held = {}

    class Comparing(Heard):
        def accept(self, event: object, campaign: Campaign) -> None:
            for number, exposure in enumerate(campaign.exposures):
                if number not in held:
                    held[number] = (judged(exposure), only(campaign).certificate.log_e.copy())

    campaign = run(quick(), simulated, sinks=[Comparing(), heard])
    blind = [number for number, (validity, _) in held.items() if validity.blind]
    assert blind
    for number in blind:
        assert "the control route broke availability meanwhile" in held[number][0].why
        before = held[number - 1][1]
        assert held[number][1] == pytest.approx(before)
    assert ended(campaign)[0] in (Cause.BRACKETED, Cause.TARGET, Cause.HARNESS)


# --- warm-up --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_per_s", [50.0, 500.0])
def test_an_exposure_warms_up_with_five_requests_at_any_rate(rate_per_s: float) -> None:
    heard = Heard()
    asked = replace(quick(), traffic=replace(quick().traffic, rate_per_s=rate_per_s))
    campaign = run(asked, world(cliff(AT, below=0.0, above=1.0)), sinks=[heard])
    warmups = [exposure.warmup for exposure in campaign.exposures]
    well = [each.warmup for each in campaign.exposures if each.severity < AT]
    sick = [each.warmup for each in campaign.exposures if each.severity >= AT]
    assert set(well) == {5}
    assert sick and max(sick) <= 5
    assert ended(campaign)[0] is Cause.BRACKETED, warmups
    steady = [
        sample
        for event in heard.of(Observed)
        if event.phase is Phase.WARMUP and event.samples[0].seq < 20
        for sample in event.samples
    ]
    assert sum(sample.route is Route.CANARY for sample in steady) == 5


def test_a_warm_up_whose_first_three_answers_are_bad_ends_there() -> None:
    """They come back at once here, so no more were sent before."""
    simulated = world(cliff(AT, below=0.0, above=1.0), bad_latency_s=0.005)
    campaign = run(quick(), simulated)
    assert {each.warmup for each in campaign.exposures if each.severity >= AT} == {3}
    assert {each.warmup for each in campaign.exposures if each.severity < AT} == {5}
    assert all(each.samples for each in campaign.exposures)
