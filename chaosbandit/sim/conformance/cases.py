"""The campaigns that the conformance suite puts a policy through: scenarios, responses, answers.

Small and quick ones, each with something that policies tend to get wrong. All are seeded, so that
whatever goes wrong goes wrong again. This module knows nothing of policies or rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.random import Generator

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Variant
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.slo import SLI, SLO, ErrorBudget
from chaosbandit.sim.response_curves import CLEAN, Curve, cliff, flat, smooth
from chaosbandit.sim.simulated_campaign import Mask, Toll, scenario_of

CONFIDENCE = 0.99


class Answer(StrEnum):
    """How a campaign has to end."""

    BRACKET = "a closed bracket"
    CAP = "held at the cap"
    MILDEST = "broke at the mildest severity"
    NONE = "an end without an answer"
    ANY = "an end"


@dataclass(frozen=True, slots=True)
class Case:
    """One seeded campaign; `curves` are bad ratios by severity, per ladder and SLO."""

    name: str
    scenario: Scenario
    curves: Mapping[str, tuple[Curve, ...]]
    answer: Answer
    crossing: float | None = None  # the severity where tau is crossed
    toll: Toll = field(default_factory=Toll)
    seed: int = 1

    def draw(self, variant: Variant, samples: int, rng: Generator) -> Mask:
        """Independent failures, as `chaosbandit.sim.simulated_campaign` asks for them."""
        ratios = [curve(variant.severity) for curve in self.curves[variant.ladder]]
        return rng.random((samples, len(ratios))) < np.array(ratios)

    @property
    def control_bad_ratios(self) -> tuple[float, ...]:
        """Without a fault, per SLO."""
        return tuple(CLEAN * slo.bad_ratio for slo in self.scenario.slos)


def plain(
    name: str,
    curve: Curve,
    answer: Answer,
    crossing: float | None = None,
    *,
    high: float = 30.0,
    objective: float = 0.95,
    seed: int = 1,
    toll: Toll | None = None,
    **asked: Any,
) -> Case:
    """A case on one ladder of numbers with one SLO; `asked` is more of `scenario_of`."""
    scenario = scenario_of(1.0, high, objective, **{"confidence": CONFIDENCE, **asked})
    curves = {scenario.ladder.name: (curve,)}
    return Case(name, scenario, curves, answer, crossing, toll or Toll(), seed)


def cases() -> tuple[Case, ...]:
    """Every case, each hard in a way of its own."""
    clean, broken = flat(0.005), flat(0.4)
    never = plain("never breaks", clean, Answer.CAP)
    return (
        plain("cliff", cliff(37.0, tau=0.01), Answer.BRACKET, 37.0, high=100.0, objective=0.99),
        plain("few samples", cliff(20.0), Answer.NONE, max_samples=33),
        plain("two arms", cliff(1.01), Answer.BRACKET, 1.01, high=1.02),
        _one_arm("one arm that holds", clean, Answer.CAP),
        _one_arm("one arm that breaks", broken, Answer.MILDEST),
        _two_slos("two SLOs, the first breaks first", 3.0, 9.0),
        _two_slos("two SLOs, the second breaks first", 9.0, 3.0),
        _two_ladders(),
        _searching(plain("few blocks", cliff(20.0), Answer.NONE, max_samples=101), block=8),
        _searching(plain("blocks of 8", cliff(5.0), Answer.BRACKET, 5.0), block=8),
        _guarded(never, "a cap below the mildest severity", 0.5, Answer.NONE),
        _guarded(never, "never breaks below the cap", 7.0, Answer.CAP),
        never,
        plain("breaks everywhere", broken, Answer.MILDEST),
        plain("tight budget", cliff(3.0), Answer.ANY, budget_bad=23),
        plain("costly moves", cliff(5.0), Answer.BRACKET, 5.0, toll=Toll(setup_s=2.0)),
        _searching(plain("harm counts", cliff(5.0), Answer.BRACKET, 5.0), cost_of_bad=50.0),
        _searching(plain("arm by arm", cliff(1.2), Answer.BRACKET, 1.2, high=1.4), escalation=1.0),
        plain("coarse", cliff(5.0), Answer.BRACKET, 5.0, resolution=0.5, confidence=0.8),
        plain("soft cliff", cliff(4.2, up_to=0.3), Answer.BRACKET, 4.2),
        plain("not monotone", _bump, Answer.ANY, max_samples=20_000),
        plain("smooth", smooth(9.0, 0.1), Answer.ANY, max_samples=20_000),
    )


def at_the_objective(seed: int) -> Case:
    """Exactly tau at every severity: nothing may be claimed, whatever is tried."""
    return plain("at the objective", flat(0.05), Answer.ANY, seed=seed, max_samples=1500)


def anywhere(seed: int) -> Case:
    """A cliff, or for every third seed a smooth curve, at a random severity."""
    at = math.exp(np.random.default_rng([seed, 7]).uniform(math.log(1.2), math.log(26.0)))
    if seed % 3 == 2:
        return plain(
            "smooth, anywhere", smooth(at, 0.05), Answer.ANY, at, seed=seed, max_samples=20_000
        )
    return plain("cliff, anywhere", cliff(at), Answer.BRACKET, at, seed=seed)


def long_ladder() -> Case:
    """Some 400 arms, to time decisions on."""
    return plain("a ladder of 400 arms", cliff(3000.0), Answer.BRACKET, 3000.0, high=13_000.0)


def _bump(severity: float) -> float:
    return 0.5 if 3.0 <= severity < 6.0 else 0.005


def _guarded(case: Case, name: str, cap: float, answer: Answer) -> Case:
    guardrails = replace(case.scenario.guardrails, max_severity=cap)
    scenario = replace(case.scenario, guardrails=guardrails)
    return replace(case, name=name, scenario=scenario, answer=answer)


def _searching(case: Case, **changes: Any) -> Case:
    search = replace(case.scenario.search, **changes)
    return replace(case, scenario=replace(case.scenario, search=search))


def _two_slos(name: str, first: float, second: float) -> Case:
    """Of 95 % and 90 %, each with a breaking point of its own."""
    case = plain(name, flat(0.0), Answer.BRACKET, min(first, second))
    loose = SLO("loose", SLI("any"), 0.90)
    scenario = replace(case.scenario, slos=(*case.scenario.slos, loose))
    curves = (cliff(first), cliff(second, tau=0.1))
    return replace(case, scenario=scenario, curves={scenario.ladder.name: curves})


def _one_arm(name: str, curve: Curve, answer: Answer) -> Case:
    case = plain(name, curve, answer)
    ladder = Ladder("simulated", "simulated", "latency", 0.1, 0.1, 0.10)
    return replace(case, scenario=replace(case.scenario, ladders=(ladder,)))


def _two_ladders() -> Case:
    """The same breaking point on ladders of different lengths, with one budget."""
    case = plain("two ladders", cliff(5.0), Answer.BRACKET, 5.0)
    other = Ladder("other", "simulated", "number", 2.0, 12.0, 0.10)
    scenario = replace(
        case.scenario,
        ladders=(*case.scenario.ladders, other),
        budget=ErrorBudget(30 * 86400.0, 1, 1e12),
    )
    return replace(case, scenario=scenario, curves={**case.curves, "other": (cliff(5.0),)})
