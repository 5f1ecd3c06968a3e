"""A policy watched while it walks through a course: what it said, and what was wrong with it.

Between the decisions that count, it is asked the same again, and what it would say with requests in
flight; a pure policy cannot tell. Complaints are kept under the name of the rule they break.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.random import Generator

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.model import Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import Policy
from chaosbandit.sim.courses import Course
from chaosbandit.sim.manners import FATAL, MANNERS, complaint, keeps_to_max_samples, samples_left
from chaosbandit.sim.trial import SimulatedRun, trial

LONGEST = 3000  # decisions after which a campaign counts as endless
_EVERY = 6  # every so many decisions the dearer checks are made
_FEW, _MANY = 7, 10_000  # requests in flight
_FEW_LEFT = 100  # samples: then each decision matters


@dataclass(slots=True)
class Walk:
    """How a course ended, and the first complaint per rule; `run` is None where it did not end."""

    course: Course
    run: SimulatedRun | None = None
    complaints: dict[str, str] = field(default_factory=dict)


class _AbortedError(Exception):
    """The walk cannot go on; why is among its complaints."""


def walk(policy: Policy, course: Course, *, closely: bool = True) -> Walk:
    """One campaign of a policy on a course; without `closely`, only to see where it ends."""
    found = Walk(course)
    watched = (_Closely if closely else _Watched)(policy, found)
    try:
        found.run = trial(
            course.scenario,
            course.draw,
            policy=watched,
            seed=course.seed,
            control_bad_ratios=course.control_bad_ratios,
            toll=course.toll,
        )
        watched.at_the_end(found.run.campaign)
    except _AbortedError:
        pass
    return found


class _Watched:
    """A policy that must come to an end, with decisions that can be carried out."""

    def __init__(self, policy: Policy, walk: Walk) -> None:
        self.policy, self.name, self.walk = policy, getattr(policy, "name", ""), walk
        self.asked = 0

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        """What the policy says."""
        number, self.asked = len(campaign.decisions), self.asked + 1
        if number >= LONGEST:
            self._abort("comes_to_an_end", campaign, f"found {number} decisions and no end")
        decision = self._ask(campaign, self.asked)
        for manner in FATAL:
            what = manner(campaign, decision)
            if what is not None:
                self._abort(manner.__name__, campaign, what)
        return decision

    def at_the_end(self, campaign: Campaign) -> None:
        """What is still to be seen when the campaign is over."""

    def _ask(self, campaign: Campaign, seed: int) -> Decision:
        """What it says to a generator of this seed."""
        try:
            return self.policy.decide(campaign, np.random.default_rng(seed))
        except Exception as error:
            what = f"found {type(error).__name__}: {error}, wanted a decision"
            flying = "survives_requests_in_flight" if campaign.unresolved else "comes_to_an_end"
            self._abort(flying, campaign, what, error)

    def _complain(self, rule: str, campaign: Campaign, what: str) -> None:
        place = f"{place_of(self.walk.course)}, decision {len(campaign.decisions)}"
        self.walk.complaints.setdefault(rule, f"{place}: {what}")

    def _abort(
        self, rule: str, campaign: Campaign, what: str, cause: Exception | None = None
    ) -> NoReturn:
        self._complain(rule, campaign, what)
        raise _AbortedError from cause


class _Closely(_Watched):
    """The same with everything a single decision and its repetition can show."""

    def __init__(self, policy: Policy, walk: Walk) -> None:
        super().__init__(policy, walk)
        self.stops: dict[int, Stop] = {}  # per ladder
        self.kept: list[tuple[Campaign, int, Decision]] = []

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        """What the policy says, having been asked more than that."""
        dearer = self.asked % _EVERY == 0
        before = _values(campaign) if dearer else b""
        decision = super().decide(campaign, rng)
        if dearer and before != _values(campaign):
            what = "found the campaign changed by `decide`, wanted it left as it was"
            self._complain("leaves_the_campaign_alone", campaign, what)
        self._judge(campaign, decision)
        if dearer or isinstance(decision, Stop):
            self.kept.append((campaign, self.asked, decision))
        if campaign.spent_samples and (dearer or samples_left(campaign) < _FEW_LEFT):
            self._ask_in_flight(campaign, decision)
        if self.walk.course.toll.setup_s > 0:
            self._ask_standing(campaign, decision)
        return decision

    def at_the_end(self, campaign: Campaign) -> None:
        """The same questions in another order, and whether a stop was meant."""
        for face, stop in self.stops.items():
            for seed in range(3):
                self._stays_stopped(campaign, stop, self._ask(campaign.facing(face), seed))
        for asked, seed, decision in reversed(self.kept):
            again = self._ask(replace(asked), seed)
            if again != decision:
                what = f"found {again}, wanted {decision} as when it was asked first"
                self._complain("repeats_itself", asked, what)

    def _judge(self, campaign: Campaign, decision: Decision) -> None:
        """What is wrong with the decision by itself, and after those before it."""
        for manner in MANNERS:
            what = manner(campaign, decision)
            if what is not None:
                self._complain(manner.__name__, campaign, what)
        if campaign.face in self.stops:
            self._stays_stopped(campaign, self.stops[campaign.face], decision)
        if isinstance(decision, Stop):
            self.stops[campaign.face] = decision

    def _stays_stopped(self, campaign: Campaign, stop: Stop, decision: Decision) -> None:
        if isinstance(decision, Expose):
            what = f"found an exposure after it had stopped ({stop.reason}), wanted a Stop again"
            self._complain("stays_stopped", campaign, what)

    def _ask_in_flight(self, campaign: Campaign, decision: Decision) -> None:
        """A legal decision stays legal with few and with very many requests unresolved."""
        if complaint(campaign, decision) is not None:
            return
        for unresolved in (_FEW, _MANY):
            flying = int(min(unresolved, samples_left(campaign)))
            waiting = replace(campaign, unresolved=flying)
            answer = self._ask(waiting, self.asked)
            what = keeps_to_max_samples(waiting, answer)
            if what is not None:
                self._complain(keeps_to_max_samples.__name__, waiting, what)
            elif (what := complaint(waiting, answer)) is not None:
                self._complain("survives_requests_in_flight", waiting, what)

    def _ask_standing(self, campaign: Campaign, decision: Decision) -> None:
        """An arm to hold is stayed at while its newest answers are out: the engine sends on."""
        if not isinstance(decision, Expose) or decision.purpose is not Purpose.HELD:
            return
        if decision.variant.arm != campaign.standing:
            return
        answer = self._ask(replace(campaign, unresolved=_FEW), self.asked)
        if not isinstance(answer, Expose) or answer.variant != decision.variant:
            found = f"found {_brief(answer)} with {_FEW} requests in flight"
            what = f"{found}, wanted arm {decision.variant.arm} as without them: it stands"
            self._complain("extends_what_stands", campaign, what)


def place_of(course: Course) -> str:
    """Where to go again to see it."""
    return f"course {course.name!r}, seed {course.seed}"


def _brief(decision: Decision) -> str:
    return f"arm {decision.variant.arm}" if isinstance(decision, Expose) else "a Stop"


class _Fields(pickle.Pickler):
    """Nested records by their fields; caches apart, which may be filled at any time."""

    def reducer_override(self, part: Any) -> Any:
        if is_dataclass(part) and not isinstance(part, type) and hasattr(part, "__dict__"):
            return type(part), tuple(getattr(part, each.name) for each in fields(part))
        return NotImplemented


def _values(campaign: Campaign) -> bytes:
    written = io.BytesIO()
    _Fields(written).dump(campaign)
    return written.getvalue()
