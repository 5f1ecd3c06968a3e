"""Rules of the conformance suite that put a policy through its cases and look at what came out.

Each takes a policy and raises AssertionError with a sentence; their docstrings are what a policy's
author reads. Which rules there are, and in which order, `chaosbandit.sim.conformance.suite` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from chaosbandit.core import guardrail
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import climbs
from chaosbandit.core.forbidden_decisions import Check
from chaosbandit.core.model import Bracket
from chaosbandit.core.policies import Policy
from chaosbandit.sim.conformance.cases import Answer, Case, anywhere, at_the_objective, cases
from chaosbandit.sim.conformance.recording import Record, place_of, record

Rule = Callable[[Policy], None]

SEEDS = 30  # of the runs that `brackets_hold_the_truth` counts
WRONG = 2  # of them at 99 %: a policy that just keeps to it is refused once in 300 times
OBJECTIVE_SEEDS = 8


# --- rules of every decision, see `decision_rules` and `recording` --------------------------------


def every_decision(check: Check) -> Rule:
    """The rule that no decision in any case is complained of by a check."""

    def rule(policy: Policy) -> None:
        _without_complaint(policy, check.__name__)

    rule.__name__, rule.__doc__ = check.__name__, check.__doc__
    return rule


def comes_to_an_end(policy: Policy) -> None:
    """Every campaign ends, whatever the response, and no question raises."""
    _without_complaint(policy, "comes_to_an_end")


def repeats_itself(policy: Policy) -> None:
    """The same campaign and generator give an equal decision, at any time and in any order."""
    _without_complaint(policy, "repeats_itself")


def leaves_the_campaign_alone(policy: Policy) -> None:
    """`decide` changes nothing of the climb it is given, arrays and mappings included."""
    _without_complaint(policy, "leaves_the_campaign_alone")


def stays_stopped(policy: Policy) -> None:
    """Asked again after a Stop, with whatever generator, it stops again."""
    _without_complaint(policy, "stays_stopped")


def extends_what_stands(policy: Policy) -> None:
    """An arm it wants to prove held, and that stands, is the same with requests in flight."""
    _without_complaint(policy, "extends_what_stands")


def survives_requests_in_flight(policy: Policy) -> None:
    """Decisions are as legal with `climb.unresolved` at 7 and at 10 000 as at 0."""
    _without_complaint(policy, "survives_requests_in_flight")


# --- rules of whole campaigns ---------------------------------------------------------------------


def has_a_name(policy: Policy) -> None:
    """`name` can stand in a scenario's `search.policy`, and `decide` can be called."""
    name = getattr(policy, "name", None)
    fits = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert fits, f"found the name {name!r}, wanted 1 to 64 letters, digits, `_` or `-`"
    assert callable(getattr(policy, "decide", None)), "found no method `decide(climb, rng)`"


def brackets_a_cliff(policy: Policy) -> None:
    """It ends with a closed bracket where there is a clear breaking point."""
    _answers(policy, Answer.BRACKET, lambda bracket, case: bracket.closed)


def holds_at_the_cap(policy: Policy) -> None:
    """It says so when nothing breaks, up to the ladder's end or `guardrails.max_severity`."""

    def capped(bracket: Bracket, case: Case) -> bool:
        cap = case.scenario.guardrails.max_severity or np.inf
        highest = max(each for each in case.scenario.ladder.severities if each <= cap)
        return (bracket.held, bracket.broke) == (highest, None)

    _answers(policy, Answer.CAP, capped)


def breaks_at_the_mildest(policy: Policy) -> None:
    """It says so when every severity breaks."""

    def broken(bracket: Bracket, case: Case) -> bool:
        mildest = case.scenario.ladder.severities[0]
        return (bracket.held, bracket.broke) == (None, mildest)

    _answers(policy, Answer.MILDEST, broken)


def admits_not_to_know(policy: Policy) -> None:
    """It stops without an answer where samples, or severities, do not suffice for one."""
    for each in _records(policy):
        if each.case.answer is Answer.NONE and each.run is not None:
            found = each.run.reason
            assert not each.run.answered, f"{place_of(each.case)}: found an answer: {found}"


def keeps_to_the_budget(policy: Policy) -> None:
    """Measuring leaves of the error budget what looking at the path afterwards may cost."""
    for each in _records(policy):
        if each.run is None:
            continue
        scenario = each.case.scenario
        for s, slo in enumerate(scenario.slos):
            arms = [arm for known in each.run.campaign.ladders for arm in known.arms]
            bad = sum(arm.bad[s] for arm in arms)
            allowed = scenario.budget.allowed(slo) - guardrail.reserve(scenario)
            found = f"found {bad} bad samples for {slo.name}, wanted at most {allowed}"
            assert bad <= max(allowed, 0), f"{place_of(each.case)}: {found}"


def claims_nothing_at_the_objective(policy: Policy) -> None:
    """With a bad ratio of exactly tau everywhere at most one run in eight claims anything."""
    claiming = []
    for seed in range(OBJECTIVE_SEEDS):
        run = record(policy, at_the_objective(seed), closely=False).run
        if run is not None and (run.held, run.broke) != (None, None):
            claiming.append(seed)
    found = f"found claims for seeds {claiming} of {OBJECTIVE_SEEDS}, wanted at most one"
    assert len(claiming) <= 1, f"case 'at the objective': {found}"


def brackets_hold_the_truth(policy: Policy) -> None:
    """Of 30 claims at 99 % about cliffs and smooth curves at random places, at most 2 are wrong."""
    wrong, unfound = [], []
    for seed in range(SEEDS):
        case = anywhere(seed)
        run = record(policy, case, closely=False).run
        if run is None:
            continue  # comes_to_an_end tells why
        assert case.crossing is not None, "every such case has a breaking point"
        if (run.held or 0.0) > case.crossing or (run.broke or np.inf) < case.crossing:
            wrong.append(seed)
        if case.answer is Answer.BRACKET and not run.answered:
            unfound.append(seed)
    place = f"case `anywhere(seed)`, {SEEDS} seeds"
    found = f"found wrong claims for {wrong}, wanted at most {WRONG}"
    assert len(wrong) <= WRONG, f"{place}: {found}"
    found = f"found no bracket for the cliffs of seeds {unfound}, wanted at most {WRONG}"
    assert len(unfound) <= WRONG, f"{place}: {found}"


# --- how they look --------------------------------------------------------------------------------

_latest: tuple[Policy, dict[str, Record]] | None = None


def _records(policy: Policy) -> Iterator[Record]:
    """All cases, each recorded once for all rules about the same object."""
    global _latest
    if _latest is None or _latest[0] is not policy:
        _latest = policy, {}
    recorded = _latest[1]
    for case in cases():
        if case.name not in recorded:
            recorded[case.name] = record(policy, case)
        yield recorded[case.name]


def _without_complaint(policy: Policy, rule: str) -> None:
    for each in _records(policy):
        assert rule not in each.complaints, each.complaints[rule]


def _answers(policy: Policy, wanted: Answer, fits: Callable[[Bracket, Case], bool]) -> None:
    """Every case that wants this answer gets it, on each of its ladders."""
    for each in _records(policy):
        if each.case.answer is not wanted or each.run is None:
            continue
        for climb in climbs(each.run.campaign):
            between = bracket(climb)
            claimed = f"held {between.held}, broke {between.broke}"
            found = f"found {each.run.reason!r} with {claimed}, wanted {wanted}"
            good = each.run.answered and fits(between, each.case)
            assert good, f"{place_of(each.case)}: {found}"
