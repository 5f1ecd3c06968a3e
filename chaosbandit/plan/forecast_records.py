"""What many simulated campaigns say about the next real one: the records of `plan --json`.

Shares are fractions 0..1, durations seconds, counts requests. Means, medians and 90th percentiles
are over all simulated campaigns, whether they found an answer or not.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from chaosbandit.core.campaign import least_good
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Cause, GateOutcome
from chaosbandit.core.scenario import Scenario
from chaosbandit.plan.campaigns import Cost, Found, harshest
from chaosbandit.plan.intervals import Between, of_mean, of_quantile, of_share

SCHEMA = 1
MOST = 0.9  # of the runs: what `p90` and the advice speak of


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity over the simulated campaigns."""

    mean: float
    median: float
    p90: float  # nine of ten campaigns have at most this
    mean_between: Between = (0.0, None)  # 95 % intervals, as there are only so many campaigns
    median_between: Between = (0.0, None)
    p90_between: Between = (0.0, None)


@dataclass(frozen=True, slots=True)
class BudgetPlan:
    """What the error budget of one SLO will see."""

    slo: str
    bad: Spread  # canary requests bad in this SLO, all phases
    allowed: int  # bad requests a run may cause
    window_share: Spread  # of the whole window's error budget
    window_s: float


@dataclass(frozen=True, slots=True)
class GatePlan:
    """What a `require` gate comes to: shares that add up to 1."""

    above_text: str  # what the breaking point must be above
    passed: float
    failed: float
    undecided: float


@dataclass(frozen=True, slots=True)
class LadderPlan:
    """What the campaigns find on one ladder: shares of the brackets' ends add up to 1."""

    ladder: str
    mildest_text: str
    harshest_text: str  # that the guardrails allow
    bracket: float
    above: float  # held at the harshest severity
    below: float  # broke at the mildest
    nothing: float
    gate: GatePlan | None = None


@dataclass(frozen=True, slots=True)
class StoppedBy:
    """Shares of the campaigns that a limit ended without an answer."""

    budget: float
    max_duration: float
    max_samples: float
    other: float


@dataclass(frozen=True, slots=True)
class Price:
    """What a campaign costs, in the mean."""

    requests: float  # on all routes
    bad_requests: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Advice:
    """Changes that help together, the share of campaigns that are answered with them, the price.

    The price is of the campaigns that were simulated once more, and so is what they cost as it is.
    """

    changes: Mapping[str, str]  # key of the scenario -> value, as they are written there
    answered: float
    price: Price
    instead_of: Price
    campaigns: int  # that were simulated once more
    answered_between: tuple[float, float]  # 95 % interval


@dataclass(frozen=True, slots=True)
class HoldPlan:
    """What it takes to say that a severity holds."""

    slo: str  # the one that takes most
    objective: float
    confidence: float
    least_good: int  # requests without a bad one
    possible: bool  # within search.max_samples and the time for them
    hold_s: float  # as asked
    price: Price  # of standing so long, per answer; canary requests


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole answer of `plan`; `--json` prints its fields."""

    scenario: str
    campaigns: int
    seed: int
    duration_s: Spread
    requests: Spread  # on all routes
    canary_requests: Spread
    exposures: Spread
    bad_requests: Spread  # canary requests bad in at least one SLO
    budgets: tuple[BudgetPlan, ...]
    answered: float  # share: a bracket, or the breaking point is beyond an end, on every ladder
    inconclusive: float  # the others
    inconclusive_between: tuple[float, float]  # 95 % interval
    stopped_by: StoppedBy
    ladders: tuple[LadderPlan, ...]
    max_duration_s: float  # of the scenario
    exits: Mapping[str, float]  # exit code -> share of the campaigns
    stop: str  # search.stop
    hold: HoldPlan
    advice: tuple[Advice, ...] = ()  # where fewer than nine of ten campaigns are answered
    alternatives: tuple[Advice, ...] = ()  # that cost less; of the campaigns simulated for them


def plan_of(scenario: Scenario, seed: int, costs: Sequence[Cost]) -> Plan:
    """The statistics of campaigns of one scenario."""
    assert costs, "a plan needs campaigns"
    return Plan(
        scenario=scenario.name,
        campaigns=len(costs),
        seed=seed,
        duration_s=spread([cost.duration_s for cost in costs]),
        requests=spread([cost.requests for cost in costs]),
        canary_requests=spread([cost.canary_requests for cost in costs]),
        exposures=spread([cost.exposures for cost in costs]),
        bad_requests=spread([cost.bad_requests for cost in costs]),
        budgets=tuple(_budget(scenario, costs, s) for s in range(len(scenario.slos))),
        answered=share(costs, lambda cost: cost.answered),
        inconclusive=share(costs, lambda cost: not cost.answered),
        inconclusive_between=of_share(sum(not cost.answered for cost in costs), len(costs)),
        stopped_by=_stopped_by(costs),
        ladders=tuple(
            _ladder(scenario, ladder, costs, i) for i, ladder in enumerate(scenario.ladders)
        ),
        max_duration_s=scenario.search.max_duration_s,
        exits=_exits(costs),
        stop=scenario.search.stop,
        hold=_hold(scenario, costs),
    )


def to_json(plan: Plan) -> str:
    """One JSON object; keys are the fields of `Plan`, in their order."""
    content = {"schema": SCHEMA, **asdict(plan)}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def share(costs: Sequence[Cost], true: Callable[[Cost], bool]) -> float:
    """How many of the campaigns, 0..1."""
    return sum(map(true, costs)) / len(costs)


def spread(values: Sequence[float]) -> Spread:
    """Mean, the smallest values that half and nine of ten do not exceed, and their intervals."""
    return Spread(
        sum(values) / len(values),
        quantile(values, 0.5),
        quantile(values, MOST),
        of_mean(values),
        of_quantile(values, 0.5),
        of_quantile(values, MOST),
    )


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that a share q of them does not exceed."""
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(q * len(ordered) - 1e-9) - 1)])


def _budget(scenario: Scenario, costs: Sequence[Cost], s: int) -> BudgetPlan:
    slo, budget = scenario.slos[s], scenario.budget
    bad = [cost.bad[s] for cost in costs]
    return BudgetPlan(
        slo=slo.name,
        bad=spread(bad),
        allowed=budget.allowed(slo),
        window_share=spread([budget.window_share(slo, number) for number in bad]),
        window_s=budget.window_s,
    )


def _stopped_by(costs: Sequence[Cost]) -> StoppedBy:
    ended = Counter(cost.ending.cause for cost in costs if not cost.answered)
    limits = [ended.pop(cause, 0) for cause in (Cause.BUDGET, Cause.TIME, Cause.SAMPLES)]
    return StoppedBy(*(number / len(costs) for number in (*limits, ended.total())))


def _exits(costs: Sequence[Cost]) -> dict[str, float]:
    codes = Counter(int(cost.ending.exit_code) for cost in costs)
    return {str(code): codes[code] / len(costs) for code in sorted(codes)}


def _hold(scenario: Scenario, costs: Sequence[Cost]) -> HoldPlan:
    """What holding takes at the very least, and what `search.hold` costs each answer."""
    search, rate_per_s = scenario.search, scenario.traffic.rate_per_s
    slo = max(scenario.slos, key=lambda each: each.objective)
    good = least_good(slo, search)
    most = min(search.max_samples or math.inf, rate_per_s * search.max_duration_s)
    stood = [cost.stood for cost in costs if cost.answered]
    number = max(1, len(stood))
    price = Price(
        sum(each.samples for each in stood) / number,
        sum(each.bad for each in stood) / number,
        sum(each.duration_s for each in stood) / number,
    )
    return HoldPlan(
        slo=slo.name,
        objective=slo.objective,
        confidence=search.confidence,
        least_good=good,
        possible=good <= most,
        hold_s=search.hold_s,
        price=price,
    )


def _ladder(scenario: Scenario, ladder: Ladder, costs: Sequence[Cost], number: int) -> LadderPlan:
    numbers = Counter(cost.found[number] for cost in costs)
    bracket, above, below, nothing = (numbers[each] / len(costs) for each in Found)
    return LadderPlan(
        ladder=ladder.name,
        mildest_text=ladder.text(ladder.severities[0]),
        harshest_text=ladder.text(harshest(scenario, ladder)),
        bracket=bracket,
        above=above,
        below=below,
        nothing=nothing,
        gate=_gate(scenario, ladder, costs),
    )


def _gate(scenario: Scenario, ladder: Ladder, costs: Sequence[Cost]) -> GatePlan | None:
    bound = scenario.require.get(ladder.name)
    if bound is None:
        return None
    outcomes = Counter(cost.ending.gates[ladder.name] for cost in costs)
    shares = (outcomes[outcome] / len(costs) for outcome in GateOutcome)
    return GatePlan(ladder.text(bound), *shares)
