"""Rules of the conformance suite that let a policy walk through courses and look at what came out.

Each takes a policy and raises AssertionError with a sentence; their docstrings are what a policy's
author reads. Which rules there are, and in which order, `chaosbandit.sim.conformance` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from chaosbandit.core import judge
from chaosbandit.core.model import Bracket
from chaosbandit.core.policies import Policy
from chaosbandit.sim.courses import Answer, Course, anywhere, at_the_objective, courses
from chaosbandit.sim.manners import Manner
from chaosbandit.sim.watching import Walk, place_of, walk

Rule = Callable[[Policy], None]

SEEDS = 30  # of the runs that `brackets_hold_the_truth` counts
WRONG = 2  # of them at 99 %: a policy that just keeps to it is refused once in 300 times
OBJECTIVE_SEEDS = 8


# --- rules of every decision, see `manners` and `watching` ----------------------------------------


def every_decision(manner: Manner) -> Rule:
    """The rule that no decision of any course goes against one of the manners."""

    def rule(policy: Policy) -> None:
        _without_complaint(policy, manner.__name__)

    rule.__name__, rule.__doc__ = manner.__name__, manner.__doc__
    return rule


def comes_to_an_end(policy: Policy) -> None:
    """Every campaign ends, whatever the response, and no question raises."""
    _without_complaint(policy, "comes_to_an_end")


def repeats_itself(policy: Policy) -> None:
    """The same campaign and generator give an equal decision, at any time and in any order."""
    _without_complaint(policy, "repeats_itself")


def leaves_the_campaign_alone(policy: Policy) -> None:
    """`decide` changes nothing of the campaign it is given, arrays and mappings included."""
    _without_complaint(policy, "leaves_the_campaign_alone")


def stays_stopped(policy: Policy) -> None:
    """Asked again after a Stop, with whatever generator, it stops again."""
    _without_complaint(policy, "stays_stopped")


def extends_what_stands(policy: Policy) -> None:
    """An arm it wants to prove held, and that stands, is the same with requests in flight."""
    _without_complaint(policy, "extends_what_stands")


def survives_requests_in_flight(policy: Policy) -> None:
    """Decisions are as legal with `campaign.unresolved` at 7 and at 10 000 as at 0."""
    _without_complaint(policy, "survives_requests_in_flight")


# --- rules of whole campaigns ---------------------------------------------------------------------


def has_a_name(policy: Policy) -> None:
    """`name` can stand in a scenario's `search.policy`, and `decide` can be called."""
    name = getattr(policy, "name", None)
    fits = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert fits, f"found the name {name!r}, wanted 1 to 64 letters, digits, `_` or `-`"
    assert callable(getattr(policy, "decide", None)), "found no method `decide(campaign, rng)`"


def brackets_a_cliff(policy: Policy) -> None:
    """It ends with a closed bracket where there is a clear breaking point."""
    _answers(policy, Answer.BRACKET, lambda bracket, course: bracket.closed)


def holds_at_the_cap(policy: Policy) -> None:
    """It says so when nothing breaks, up to the ladder's end or `guardrails.max_severity`."""

    def capped(bracket: Bracket, course: Course) -> bool:
        cap = course.scenario.guardrails.max_severity or np.inf
        highest = max(each for each in course.scenario.ladder.severities if each <= cap)
        return (bracket.held, bracket.broke) == (highest, None)

    _answers(policy, Answer.CAP, capped)


def breaks_at_the_mildest(policy: Policy) -> None:
    """It says so when every severity breaks."""

    def broken(bracket: Bracket, course: Course) -> bool:
        mildest = course.scenario.ladder.severities[0]
        return (bracket.held, bracket.broke) == (None, mildest)

    _answers(policy, Answer.MILDEST, broken)


def admits_not_to_know(policy: Policy) -> None:
    """It stops without an answer where samples, or severities, do not suffice for one."""
    for each in _walks(policy):
        if each.course.answer is Answer.NONE and each.run is not None:
            found = each.run.reason
            assert not each.run.answered, f"{place_of(each.course)}: found an answer: {found}"


def keeps_to_the_budget(policy: Policy) -> None:
    """The error budget of a run is never exceeded."""
    for each in _walks(policy):
        if each.run is None:
            continue
        for s, slo in enumerate(each.course.scenario.slos):
            arms = [arm for climb in each.run.campaign.climbs for arm in climb.arms]
            bad, allowed = sum(arm.bad[s] for arm in arms), each.course.scenario.budget.allowed(slo)
            found = f"found {bad} bad samples for {slo.name}, wanted at most {allowed}"
            assert bad <= allowed, f"{place_of(each.course)}: {found}"


def claims_nothing_at_the_objective(policy: Policy) -> None:
    """With a bad ratio of exactly tau everywhere at most one run in eight claims anything."""
    claiming = []
    for seed in range(OBJECTIVE_SEEDS):
        run = walk(policy, at_the_objective(seed), closely=False).run
        if run is not None and (run.held, run.broke) != (None, None):
            claiming.append(seed)
    found = f"found claims for seeds {claiming} of {OBJECTIVE_SEEDS}, wanted at most one"
    assert len(claiming) <= 1, f"course 'at the objective': {found}"


def brackets_hold_the_truth(policy: Policy) -> None:
    """Of 30 claims at 99 % about cliffs and smooth curves at random places, at most 2 are wrong."""
    wrong, unfound = [], []
    for seed in range(SEEDS):
        course = anywhere(seed)
        run = walk(policy, course, closely=False).run
        if run is None:
            continue  # comes_to_an_end tells why
        assert course.crossing is not None, "every such course has a breaking point"
        if (run.held or 0.0) > course.crossing or (run.broke or np.inf) < course.crossing:
            wrong.append(seed)
        if course.answer is Answer.BRACKET and not run.answered:
            unfound.append(seed)
    place = f"course `anywhere(seed)`, {SEEDS} seeds"
    found = f"found wrong claims for {wrong}, wanted at most {WRONG}"
    assert len(wrong) <= WRONG, f"{place}: {found}"
    found = f"found no bracket for the cliffs of seeds {unfound}, wanted at most {WRONG}"
    assert len(unfound) <= WRONG, f"{place}: {found}"


# --- how they look --------------------------------------------------------------------------------

_latest: tuple[Policy, dict[str, Walk]] | None = None


def _walks(policy: Policy) -> Iterator[Walk]:
    """All courses, each walked once for all rules about the same object."""
    global _latest
    if _latest is None or _latest[0] is not policy:
        _latest = policy, {}
    walked = _latest[1]
    for course in courses():
        if course.name not in walked:
            walked[course.name] = walk(policy, course)
        yield walked[course.name]


def _without_complaint(policy: Policy, rule: str) -> None:
    for each in _walks(policy):
        assert rule not in each.complaints, each.complaints[rule]


def _answers(policy: Policy, wanted: Answer, fits: Callable[[Bracket, Course], bool]) -> None:
    """Every course that wants this answer gets it, on each of its ladders."""
    for each in _walks(policy):
        if each.course.answer is not wanted or each.run is None:
            continue
        for campaign in each.run.campaign.each():
            bracket = judge.bracket(campaign)
            claimed = f"held {bracket.held}, broke {bracket.broke}"
            found = f"found {each.run.reason!r} with {claimed}, wanted {wanted}"
            good = each.run.answered and fits(bracket, each.course)
            assert good, f"{place_of(each.course)}: {found}"
