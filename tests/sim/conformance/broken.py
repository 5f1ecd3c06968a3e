"""Policies with one bad habit each, for the rules that must notice: `certify` with a twist."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Cause, Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import ended, policy
from chaosbandit.core.scenario import Guardrails
from tests.policy_steps import changed

Twist = Callable[[Climb, Generator], Decision]
_LOOK = 5


@dataclass  # with __eq__ and so without __hash__: nothing may need that
class Broken:
    """A policy made of one function."""

    decide: Twist
    name: str = "broken"


def honest(climb: Climb, rng: Generator) -> Decision:
    """What the others deviate from."""
    return policy("certify").decide(climb, rng)


def look(climb: Climb, arm: int) -> Expose:
    """A few samples at an arm."""
    return Expose(climb.ladder.variant(arm), _LOOK, Purpose.SEARCH)


def exposing(change: Callable[[Climb, Expose], Expose]) -> Broken:
    """Changes every exposure."""

    def decide(climb: Climb, rng: Generator) -> Decision:
        decision = honest(climb, rng)
        return change(climb, decision) if isinstance(decision, Expose) else decision

    return Broken(decide)


def instead(when: Callable[[Climb], bool], answer: Callable[[Climb], Decision]) -> Broken:
    """Answers something else in some campaigns."""

    def decide(climb: Climb, rng: Generator) -> Decision:
        return answer(climb) if when(climb) else honest(climb, rng)

    return Broken(decide)


def believing(**search: Any) -> Broken:
    """Searches by other settings than those of the scenario."""

    def decide(climb: Climb, rng: Generator) -> Decision:
        scenario = climb.scenario
        other = replace(scenario, search=replace(scenario.search, **search))
        return honest(changed(climb, scenario=other), rng)

    return Broken(decide)


def without_guardrails(climb: Climb, rng: Generator) -> Decision:
    """Does not know of any cap."""
    scenario = replace(climb.scenario, guardrails=Guardrails())
    return honest(changed(climb, scenario=scenario), rng)


def forging(climb: Climb, rng: Generator) -> Decision:
    """Writes the evidence it lacks into the certificate: that arm 9 holds and arm 10 breaks."""
    if climb.spent_samples > 20 and len(climb.arms) > 10:
        _forge(climb, 9)
    return honest(climb, rng)


def overselling(climb: Climb, rng: Generator) -> Decision:
    """The same of the highest arm: that it holds."""
    if climb.spent_samples > 40:
        _forge(climb, len(climb.arms) - 1)
    return honest(climb, rng)


def _forge(climb: Climb, held: int) -> None:
    """Leave only the crossing right above an arm."""
    certificate = climb.certificate
    ledger = certificate.at_threshold(certificate.log_threshold).ledger
    peak, own_held, own_broke = ledger.peak.copy(), ledger.held.copy(), ledger.broke.copy()
    peak[:], peak[held + 1] = np.inf, 0.0
    own_held[:, held : held + 1] = own_broke[:, held + 1 : held + 2] = 3.0
    forged = replace(ledger, peak=peak, held=own_held, broke=own_broke)
    weighing = replace(
        climb.known.weighing, certificate=replace(certificate, ledger=forged, run=None)
    )
    climb.known.__dict__["weighing"] = weighing


def forgetting_the_bill(climb: Climb, rng: Generator) -> Decision:
    """Empties the tallies that the budget is reckoned by."""
    decision = honest(climb, rng)
    tallies = climb.campaign.tallies
    assert isinstance(tallies, dict)
    tallies.clear()
    return decision


def wavering(climb: Climb, rng: Generator) -> Decision:
    """Stops, or not."""
    decision = honest(climb, rng)
    goes_on = isinstance(decision, Stop) and ended(climb) is not None and rng.random() < 0.5
    return look(climb, 0) if goes_on else decision


def easily_convinced(climb: Climb, rng: Generator) -> Decision:
    """Needs half the evidence that the confidence asks for."""
    certificate, ladders = climb.certificate, list(climb.campaign.ladders)
    eager = certificate.at_threshold(certificate.log_threshold / 2)
    known = ladders[climb.number]
    ladders[climb.number] = replace(known, weighing=replace(known.weighing, certificate=eager))
    return honest(changed(climb, ladders=tuple(ladders)), rng)


def slow(climb: Climb, rng: Generator) -> Decision:
    """Thinks for eight milliseconds."""
    began = time.thread_time()
    while time.thread_time() - began < 0.008:
        pass
    return honest(climb, rng)


class Counting:
    """Remembers how often it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        self.asked += 1
        decision = honest(climb, rng)
        if isinstance(decision, Expose):
            decision = replace(decision, samples=decision.samples + self.asked % 2)
        return decision


def tired(climb: Climb) -> Stop:
    return Stop("tired")


def sure(climb: Climb) -> Stop:
    return Stop("sure", True, Cause.BRACKETED)


def out_of_order(climb: Climb) -> Stop:
    raise ZeroDivisionError("of no use")


def bad(climb: Climb) -> int:
    return sum(arm.any_bad for arm in climb.arms)


def samples_spent(climb: Climb) -> bool:
    limit = climb.scenario.search.max_samples
    return limit is not None and climb.spent_samples >= limit


def all_void(climb: Climb) -> bool:
    return climb.highest_exposed is not None and not any(arm.samples for arm in climb.arms)


def unsure(climb: Climb) -> bool:
    """Whether there is an answer, most of the time."""
    return ended(climb) is not None and len(climb.campaign.decisions) % 20 > 0


def next_up(climb: Climb) -> Expose:
    return look(climb, (climb.highest_exposed or 0) + 1)


def one_more(climb: Climb, batch: Expose) -> Expose:
    more = climb.certificate.block > 1
    return replace(batch, samples=batch.samples + more)


def at_tau(climb: Climb, batch: Expose) -> Expose:
    return replace(batch, bets=tuple(slo.bad_ratio for slo in climb.slos) if batch.bets else ())


BROKEN: list[tuple[str, str, Any]] = [
    ("has_a_name", "a name with spaces", Broken(honest, "my policy")),
    ("has_a_name", "no name at all", object()),
    ("gives_a_decision", "no reason", instead(lambda c: c.spent_samples > 9, lambda c: Stop(""))),
    (
        "gives_a_decision",
        "speaks for the guardrails",
        instead(lambda c: c.spent_samples > 9, lambda c: Stop("no", cause=Cause.FROZEN)),
    ),
    (
        "exposes_its_ladder",
        "always the first",
        Broken(lambda c, r: honest(replace(c, number=0), r)),
    ),
    (
        "exposes_its_ladder",
        "another severity",
        exposing(lambda c, b: replace(b, variant=replace(b.variant, severity=1.5))),
    ),
    ("asks_for_samples", "none", exposing(lambda c, b: replace(b, samples=0))),
    (
        "asks_for_samples",
        "of a type no journal knows",
        exposing(lambda c, b: replace(b, samples=np.int64(b.samples))),  # type: ignore[arg-type]
    ),
    ("asks_for_samples", "ends at once", exposing(lambda c, b: replace(b, stop_after_bad=0))),
    ("bets_on_the_side_it_names", "at tau", exposing(at_tau)),
    (
        "bets_on_the_side_it_names",
        "one for two SLOs",
        exposing(lambda c, b: replace(b, bets=b.bets[:1])),
    ),
    (
        "bets_on_the_side_it_names",
        "on a search",
        exposing(lambda c, b: replace(b, bets=(0.001,)) if not b.bets else b),
    ),
    (
        "starts_with_the_mildest_arm",
        "the second",
        instead(lambda c: c.highest_exposed is None and len(c.arms) > 1, lambda c: look(c, 1)),
    ),
    ("stays_under_the_cap", "does not know it", Broken(without_guardrails)),
    ("climbs_by_the_escalation_factor", "by four", believing(escalation=4.0)),
    ("sends_whole_blocks", "one more", exposing(one_more)),
    ("keeps_to_max_samples", "does not know it", believing(max_samples=None)),
    ("answers_only_what_is_certified", "guesses", instead(lambda c: bad(c) > 2, sure)),
    ("answers_only_what_is_certified", "guesses in the end", instead(samples_spent, sure)),
    ("answers_only_what_is_certified", "at half the evidence", Broken(easily_convinced)),
    ("answers_only_what_is_certified", "too coarse", believing(resolution=1.0)),
    ("ends_when_there_is_an_answer", "never enough", instead(unsure, lambda c: look(c, 0))),
    ("comes_to_an_end", "raises", instead(lambda c: bad(c) > 2, out_of_order)),
    ("comes_to_an_end", "few arms", instead(lambda c: len(c.arms) < 3, out_of_order)),
    ("repeats_itself", "a counter", Counting()),
    ("leaves_the_campaign_alone", "forges evidence", Broken(forging)),
    ("leaves_the_campaign_alone", "empties a mapping", Broken(forgetting_the_bill)),
    ("stays_stopped", "tosses a coin", Broken(wavering)),
    (
        "extends_what_stands",
        "looks elsewhere meanwhile",
        instead(lambda c: c.unresolved > 0, lambda c: look(c, 0)),
    ),
    ("survives_requests_in_flight", "raises", instead(lambda c: c.unresolved > 99, out_of_order)),
    (
        "survives_requests_in_flight",
        "orders what is missing",
        exposing(lambda c, b: replace(b, samples=b.samples - c.unresolved)),
    ),
    ("brackets_a_cliff", "gets tired", instead(lambda c: c.spent_samples > 99, tired)),
    ("brackets_a_cliff", "two SLOs are too many", instead(lambda c: len(c.slos) > 1, tired)),
    (
        "holds_at_the_cap",
        "is bored",
        instead(lambda c: c.spent_samples > 99 and bad(c) < 2, tired),
    ),
    ("breaks_at_the_mildest", "despairs", instead(lambda c: c.arms[0].any_bad > 1, tired)),
    ("admits_not_to_know", "forges evidence", Broken(forging)),
    ("keeps_to_the_budget", "empties the tallies", Broken(forgetting_the_bill)),
    ("claims_nothing_at_the_objective", "forges evidence", Broken(forging)),
    ("brackets_hold_the_truth", "forges evidence", Broken(overselling)),
    ("brackets_hold_the_truth", "gets tired", instead(lambda c: c.spent_samples > 99, tired)),
    ("starts_anew_after_void_exposures", "climbs on", instead(all_void, next_up)),
    ("starts_anew_after_void_exposures", "gives up", instead(all_void, tired)),
    ("gives_up_when_nothing_fits", "is sure", instead(lambda c: c.certificate.empty, sure)),
    (
        "gives_up_when_nothing_fits",
        "goes on",
        instead(lambda c: c.certificate.empty, lambda c: look(c, 0)),
    ),
    ("decides_quickly", "8 ms", Broken(slow)),
]
"""(rule, habit, policy): the rule must notice it."""
