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

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.scenario import Scenario
from chaosbandit.plan.campaigns import Cost, Ended, Found, harshest

SCHEMA = 1
MOST = 0.9  # of the runs: what `p90` and the advice speak of


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity over the simulated campaigns."""

    mean: float
    median: float
    p90: float  # nine of ten campaigns have at most this


@dataclass(frozen=True, slots=True)
class BudgetPlan:
    """What the error budget of one SLO will see."""

    slo: str
    bad: Spread  # canary requests bad in this SLO, all phases
    allowed: int  # bad requests a run may cause
    window_share: Spread  # of the whole window's error budget
    window_s: float


@dataclass(frozen=True, slots=True)
class LadderPlan:
    """What the campaigns find on one ladder: shares that add up to 1."""

    ladder: str
    mildest_text: str
    harshest_text: str  # that the guardrails allow
    bracket: float
    above: float  # held at the harshest severity
    below: float  # broke at the mildest
    nothing: float


@dataclass(frozen=True, slots=True)
class StoppedBy:
    """Shares of the campaigns that a limit ended without an answer."""

    budget: float
    max_duration: float
    max_samples: float
    other: float


@dataclass(frozen=True, slots=True)
class Advice:
    """Changes that help together, and the share of campaigns that are answered with them."""

    changes: Mapping[str, str]  # key of the scenario -> value, as they are written there
    answered: float


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
    stopped_by: StoppedBy
    ladders: tuple[LadderPlan, ...]
    max_duration_s: float  # of the scenario
    advice: tuple[Advice, ...] = ()  # where fewer than nine of ten campaigns are answered


def plan_of(scenario: Scenario, seed: int, costs: Sequence[Cost]) -> Plan:
    """The statistics of campaigns of one scenario."""
    assert costs, "a plan needs campaigns"
    answered = share(costs, lambda cost: cost.ended is Ended.ANSWERED)
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
        answered=answered,
        inconclusive=share(costs, lambda cost: cost.ended is not Ended.ANSWERED),
        stopped_by=_stopped_by(costs),
        ladders=tuple(
            _ladder(scenario, ladder, [cost.found[i] for cost in costs])
            for i, ladder in enumerate(scenario.ladders)
        ),
        max_duration_s=scenario.search.max_duration_s,
    )


def to_json(plan: Plan) -> str:
    """One JSON object; keys are the fields of `Plan`, in their order."""
    content = {"schema": SCHEMA, **asdict(plan)}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def share(costs: Sequence[Cost], true: Callable[[Cost], bool]) -> float:
    """How many of the campaigns, 0..1."""
    return sum(map(true, costs)) / len(costs)


def spread(values: Sequence[float]) -> Spread:
    """Mean, and the smallest values that half and nine of ten do not exceed."""
    return Spread(sum(values) / len(values), quantile(values, 0.5), quantile(values, MOST))


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
    ended = Counter(cost.ended for cost in costs)
    limits = (Ended.BUDGET, Ended.MAX_DURATION, Ended.MAX_SAMPLES, Ended.OTHER)
    return StoppedBy(*(ended[limit] / len(costs) for limit in limits))


def _ladder(scenario: Scenario, ladder: Ladder, found: Sequence[Found]) -> LadderPlan:
    numbers = Counter(found)
    bracket, above, below, nothing = (numbers[each] / len(found) for each in Found)
    return LadderPlan(
        ladder=ladder.name,
        mildest_text=ladder.text(ladder.severities[0]),
        harshest_text=ladder.text(harshest(scenario, ladder)),
        bracket=bracket,
        above=above,
        below=below,
        nothing=nothing,
    )
