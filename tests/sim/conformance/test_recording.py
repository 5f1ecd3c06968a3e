"""Records: campaigns end, repeat themselves, and leave what a policy decides as it is."""

from __future__ import annotations

import pytest

from chaosbandit.core.model import Expose, Stop
from chaosbandit.core.policies import policy
from chaosbandit.sim.conformance import recording
from chaosbandit.sim.conformance.cases import Case, cases
from chaosbandit.sim.conformance.recording import place_of, record
from chaosbandit.sim.simulated_campaign import trial
from tests.sim.conformance.broken import honest, instead, look, out_of_order, sure

CASES = {case.name: case for case in cases()}
TWO_ARMS = CASES["two arms"]


@pytest.mark.parametrize("case", [TWO_ARMS, CASES["costly moves"]], ids=place_of)
def test_being_recorded_changes_nothing(case: Case) -> None:
    """`certify` draws no numbers, so that it decides the same when nobody looks."""
    seen, quickly = record(policy("certify"), case), record(policy("certify"), case, closely=False)
    alone = trial(
        case.scenario,
        case.draw,
        policy=policy("certify"),
        seed=case.seed,
        control_bad_ratios=case.control_bad_ratios,
        toll=case.toll,
    )
    assert seen.run is not None and quickly.run is not None and seen.complaints == {}
    wanted = list(alone.campaign.decisions.values())
    assert list(seen.run.campaign.decisions.values()) == wanted
    assert list(quickly.run.campaign.decisions.values()) == wanted


def test_a_campaign_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LONGEST", 40)
    endless = instead(lambda campaign: True, lambda campaign: look(campaign, 0))
    found = record(endless, TWO_ARMS, closely=False)
    assert found.run is None
    wanted = "case 'two arms', seed 1, decision 40: found 40 decisions and no end"
    assert found.complaints == {"comes_to_an_end": wanted}


def test_what_raises_is_told_apart_by_requests_in_flight() -> None:
    at_once = record(instead(lambda campaign: True, out_of_order), TWO_ARMS)
    waiting = record(instead(lambda campaign: campaign.unresolved > 0, out_of_order), TWO_ARMS)
    assert set(at_once.complaints) == {"comes_to_an_end"}
    assert set(waiting.complaints) == {"survives_requests_in_flight"}
    assert at_once.run is None and waiting.run is None


def test_the_first_complaint_of_a_rule_is_kept() -> None:
    far = instead(
        lambda c: bool(c.spent_samples),
        lambda c: look(c, 1) if c.spent_samples < 90 else Stop("enough"),
    )
    case = CASES["breaks everywhere"]
    found = record(far, case)
    place, what = found.complaints["climbs_by_the_escalation_factor"].split(": ", 1)
    assert place in {f"{place_of(case)}, decision {early}" for early in (1, 2, 3)}
    assert what == "found arm 1, wanted at most arm 0: no arm was seen to hold"


def test_the_same_campaign_is_recorded_twice() -> None:
    bad_habit = instead(lambda c: c.spent_samples > 20, sure)
    one, same = record(bad_habit, TWO_ARMS), record(bad_habit, TWO_ARMS)
    assert one.complaints == same.complaints
    assert set(one.complaints) == {"answers_only_what_is_certified"}


def test_a_generator_that_is_drawn_from_is_given_again() -> None:
    class Drawing:
        name = "drawing"

        def decide(self, campaign, rng):  # type: ignore[no-untyped-def]
            decision = honest(campaign, rng)
            more = int(rng.integers(3))
            if isinstance(decision, Expose):
                return look(campaign, decision.variant.arm) if more == 2 else decision
            return decision

    found = record(Drawing(), TWO_ARMS)
    assert found.run is not None and "repeats_itself" not in found.complaints
