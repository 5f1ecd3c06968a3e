"""A campaign of a policy on a case, recorded: what it said, and what was wrong with it.

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
from chaosbandit.core.climb import Climb
from chaosbandit.core.forbidden_decisions import ALLOWED
from chaosbandit.core.model import Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import Policy
from chaosbandit.errors import PolicyError
from chaosbandit.sim.conformance.cases import Case
from chaosbandit.sim.conformance.decision_rules import (
    DECISION_RULES,
    complaint,
    keeps_to_max_samples,
    samples_left,
)
from chaosbandit.sim.simulated_campaign import SimulatedRun, trial

LONGEST = 3000  # decisions after which a campaign counts as endless
_EVERY = 6  # every so many decisions the dearer checks are made
_FEW, _MANY = 7, 10_000  # requests in flight
_FEW_LEFT = 100  # samples: then each decision matters


@dataclass(slots=True)
class Record:
    """How a case ended, and the first complaint per rule; `run` is None where it did not end."""

    case: Case
    run: SimulatedRun | None = None
    complaints: dict[str, str] = field(default_factory=dict)


def record(policy: Policy, case: Case, *, closely: bool = True) -> Record:
    """One campaign of a policy on a case; without `closely`, only to see where it ends."""
    found = Record(case)
    recorded = (_Closely if closely else _Recorded)(policy, found)
    try:
        found.run = trial(
            case.scenario,
            case.draw,
            policy=recorded,
            seed=case.seed,
            control_bad_ratios=case.control_bad_ratios,
            toll=case.toll,
        )
        recorded.at_the_end(found.run.campaign)
    except PolicyError:
        pass  # why is among its complaints
    return found


class _Recorded:
    """A policy that must come to an end, with decisions that can be carried out."""

    def __init__(self, policy: Policy, record: Record) -> None:
        self.policy, self.name, self.record = policy, getattr(policy, "name", ""), record
        self.asked = 0

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """What the policy says."""
        number, self.asked = len(climb.campaign.decisions), self.asked + 1
        if number >= LONGEST:
            self._abort("comes_to_an_end", climb, f"found {number} decisions and no end")
        decision = self._ask(climb, self.asked)
        for rule in ALLOWED:
            what = rule(climb, decision)
            if what is not None:
                self._abort(rule.__name__, climb, what)
        return decision

    def at_the_end(self, campaign: Campaign) -> None:
        """What is still to be seen when the campaign is over."""

    def _ask(self, climb: Climb, seed: int) -> Decision:
        """What it says to a generator of this seed."""
        try:
            return self.policy.decide(climb, np.random.default_rng(seed))
        except Exception as error:
            what = f"found {type(error).__name__}: {error}, wanted a decision"
            flying = "survives_requests_in_flight" if climb.unresolved else "comes_to_an_end"
            self._abort(flying, climb, what, error)

    def _complain(self, rule: str, climb: Climb, what: str) -> None:
        place = f"{place_of(self.record.case)}, decision {len(climb.campaign.decisions)}"
        self.record.complaints.setdefault(rule, f"{place}: {what}")

    def _abort(
        self, rule: str, climb: Climb, what: str, cause: Exception | None = None
    ) -> NoReturn:
        self._complain(rule, climb, what)
        raise PolicyError(what) from cause


class _Closely(_Recorded):
    """The same with everything a single decision and its repetition can show."""

    def __init__(self, policy: Policy, record: Record) -> None:
        super().__init__(policy, record)
        self.stops: dict[int, Stop] = {}  # per ladder
        self.kept: list[tuple[Climb, int, Decision]] = []

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """What the policy says, having been asked more than that."""
        dearer = self.asked % _EVERY == 0
        before = _values(climb.campaign) if dearer else b""
        decision = super().decide(climb, rng)
        if dearer and before != _values(climb.campaign):
            what = "found the campaign changed by `decide`, wanted it left as it was"
            self._complain("leaves_the_campaign_alone", climb, what)
        self._judge(climb, decision)
        if dearer or isinstance(decision, Stop):
            self.kept.append((climb, self.asked, decision))
        if climb.spent_samples and (dearer or samples_left(climb) < _FEW_LEFT):
            self._ask_in_flight(climb, decision)
        if self.record.case.toll.setup_s > 0:
            self._ask_standing(climb, decision)
        return decision

    def at_the_end(self, campaign: Campaign) -> None:
        """The same questions in another order, and whether a stop was meant."""
        for number, stop in self.stops.items():
            climb = Climb(campaign, number)
            for seed in range(3):
                self._stays_stopped(climb, stop, self._ask(climb, seed))
        for climb, seed, decision in reversed(self.kept):
            again = self._ask(replace(climb), seed)
            if again != decision:
                what = f"found {again}, wanted {decision} as when it was asked first"
                self._complain("repeats_itself", climb, what)

    def _judge(self, climb: Climb, decision: Decision) -> None:
        """What is wrong with the decision by itself, and after those before it."""
        for rule in DECISION_RULES:
            what = rule(climb, decision)
            if what is not None:
                self._complain(rule.__name__, climb, what)
        if climb.number in self.stops:
            self._stays_stopped(climb, self.stops[climb.number], decision)
        if isinstance(decision, Stop):
            self.stops[climb.number] = decision

    def _stays_stopped(self, climb: Climb, stop: Stop, decision: Decision) -> None:
        if isinstance(decision, Expose):
            what = f"found an exposure after it had stopped ({stop.reason}), wanted a Stop again"
            self._complain("stays_stopped", climb, what)

    def _ask_in_flight(self, climb: Climb, decision: Decision) -> None:
        """A legal decision stays legal with few and with very many requests unresolved."""
        if complaint(climb, decision) is not None:
            return
        for unresolved in (_FEW, _MANY):
            waiting = _waiting(climb, max(0, int(min(unresolved, samples_left(climb)))))
            answer = self._ask(waiting, self.asked)
            what = keeps_to_max_samples(waiting, answer)
            if what is not None:
                self._complain(keeps_to_max_samples.__name__, waiting, what)
            elif (what := complaint(waiting, answer)) is not None:
                self._complain("survives_requests_in_flight", waiting, what)

    def _ask_standing(self, climb: Climb, decision: Decision) -> None:
        """An arm to hold is stayed at while its newest answers are out: the engine sends on."""
        if not isinstance(decision, Expose) or decision.purpose is not Purpose.HELD:
            return
        if decision.variant.arm != climb.standing:
            return
        answer = self._ask(_waiting(climb, _FEW), self.asked)
        if not isinstance(answer, Expose) or answer.variant != decision.variant:
            found = f"found {_brief(answer)} with {_FEW} requests in flight"
            what = f"{found}, wanted arm {decision.variant.arm} as without them: it stands"
            self._complain("extends_what_stands", climb, what)


def place_of(case: Case) -> str:
    """Where to go again to see it."""
    return f"case {case.name!r}, seed {case.seed}"


def _waiting(climb: Climb, unresolved: int) -> Climb:
    """The same with so many requests in flight."""
    return replace(climb, campaign=replace(climb.campaign, unresolved=unresolved))


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
