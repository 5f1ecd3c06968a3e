"""Policies with one bad habit each, for the rules that must notice: `certify` with a twist."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.model import Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import ended, policy
from chaosbandit.core.scenario import Guardrails

Twist = Callable[[Campaign, Generator], Decision]
_LOOK = 5


@dataclass  # with __eq__ and so without __hash__: nothing may need that
class Broken:
    """A policy made of one function."""

    decide: Twist
    name: str = "broken"


def honest(campaign: Campaign, rng: Generator) -> Decision:
    """What the others deviate from."""
    return policy("certify").decide(campaign, rng)


def look(campaign: Campaign, arm: int) -> Expose:
    """A few samples at an arm."""
    return Expose(campaign.ladder.variant(arm), _LOOK, Purpose.SEARCH)


def exposing(change: Callable[[Campaign, Expose], Expose]) -> Broken:
    """Changes every exposure."""

    def decide(campaign: Campaign, rng: Generator) -> Decision:
        decision = honest(campaign, rng)
        return change(campaign, decision) if isinstance(decision, Expose) else decision

    return Broken(decide)


def instead(when: Callable[[Campaign], bool], answer: Callable[[Campaign], Decision]) -> Broken:
    """Answers something else in some campaigns."""

    def decide(campaign: Campaign, rng: Generator) -> Decision:
        return answer(campaign) if when(campaign) else honest(campaign, rng)

    return Broken(decide)


def believing(**search: Any) -> Broken:
    """Searches by other settings than those of the scenario."""

    def decide(campaign: Campaign, rng: Generator) -> Decision:
        scenario = campaign.scenario
        other = replace(scenario, search=replace(scenario.search, **search))
        return honest(replace(campaign, scenario=other), rng)

    return Broken(decide)


def without_guardrails(campaign: Campaign, rng: Generator) -> Decision:
    """Does not know of any cap."""
    scenario = replace(campaign.scenario, guardrails=Guardrails())
    return honest(replace(campaign, scenario=scenario), rng)


def forging(campaign: Campaign, rng: Generator) -> Decision:
    """Writes the evidence it lacks into the certificate: that arm 9 holds and arm 10 breaks."""
    certificate = campaign.certificate
    if campaign.spent_samples > 40 and len(certificate.peak) > 11:
        for array in (certificate.peak, certificate.held, certificate.broke):
            array.setflags(write=True)
        certificate.peak[:], certificate.peak[10] = np.inf, 0.0
        certificate.held[0, 9] = certificate.broke[0, 10] = 3.0
    return honest(campaign, rng)


def forgetting_the_bill(campaign: Campaign, rng: Generator) -> Decision:
    """Empties the tallies that the budget is reckoned by."""
    decision = honest(campaign, rng)
    assert isinstance(campaign.tallies, dict)
    campaign.tallies.clear()
    return decision


def wavering(campaign: Campaign, rng: Generator) -> Decision:
    """Stops, or not."""
    decision = honest(campaign, rng)
    goes_on = isinstance(decision, Stop) and ended(campaign) is not None and rng.random() < 0.5
    return look(campaign, 0) if goes_on else decision


def easily_convinced(campaign: Campaign, rng: Generator) -> Decision:
    """Needs half the evidence that the confidence asks for."""
    certificate = campaign.certificate
    eager = certificate.at_threshold(certificate.log_threshold / 2)
    return honest(campaign.with_climb(certificate=eager), rng)


def slow(campaign: Campaign, rng: Generator) -> Decision:
    """Thinks for eight milliseconds."""
    began = time.thread_time()
    while time.thread_time() - began < 0.008:
        pass
    return honest(campaign, rng)


class Counting:
    """Remembers how often it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        self.asked += 1
        decision = honest(campaign, rng)
        if isinstance(decision, Expose):
            decision = replace(decision, samples=decision.samples + self.asked % 2)
        return decision


def tired(campaign: Campaign) -> Stop:
    return Stop("tired")


def sure(campaign: Campaign) -> Stop:
    return Stop("sure", answered=True)


def out_of_order(campaign: Campaign) -> Stop:
    raise ZeroDivisionError("of no use")


def bad(campaign: Campaign) -> int:
    return sum(arm.any_bad for arm in campaign.arms)


def samples_spent(campaign: Campaign) -> bool:
    limit = campaign.scenario.search.max_samples
    return limit is not None and campaign.spent_samples >= limit


def all_void(campaign: Campaign) -> bool:
    return campaign.highest_exposed is not None and not any(arm.samples for arm in campaign.arms)


def unsure(campaign: Campaign) -> bool:
    """Whether there is an answer, most of the time."""
    return ended(campaign) is not None and len(campaign.decisions) % 20 > 0


def next_up(campaign: Campaign) -> Expose:
    return look(campaign, (campaign.highest_exposed or 0) + 1)


def one_more(campaign: Campaign, batch: Expose) -> Expose:
    more = campaign.certificate.block > 1
    return replace(batch, samples=batch.samples + more)


def at_tau(campaign: Campaign, batch: Expose) -> Expose:
    return replace(batch, bets=tuple(slo.bad_ratio for slo in campaign.slos) if batch.bets else ())


BROKEN: list[tuple[str, str, Any]] = [
    ("has_a_name", "a name with spaces", Broken(honest, "my policy")),
    ("has_a_name", "no name at all", object()),
    ("gives_a_decision", "no reason", instead(lambda c: c.spent_samples > 9, lambda c: Stop(""))),
    (
        "gives_a_decision",
        "speaks for the guardrails",
        instead(lambda c: c.spent_samples > 9, lambda c: Stop("no", by_guardrail=True)),
    ),
    ("exposes_the_ladder_faced", "always the first", Broken(lambda c, r: honest(c.facing(0), r))),
    (
        "exposes_the_ladder_faced",
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
    ("admits_not_to_know", "guesses in the end", instead(samples_spent, sure)),
    ("keeps_to_the_budget", "empties the tallies", Broken(forgetting_the_bill)),
    ("claims_nothing_at_the_objective", "forges evidence", Broken(forging)),
    ("brackets_hold_the_truth", "forges evidence", Broken(forging)),
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
