"""Whole campaigns without a network: thousands a minute, on the fold and the policies of real runs.

A trial asks `core.replay.decide` and folds with `core.campaign`, as the engine does. What it leaves
out is the order of answers: a batch is known at once, no sample is late, no exposure void. A `Toll`
says what time and requests everything around a batch costs; with a `Latency`, so do requests in
flight. `chaosbandit.sim.world` has all that, sample by sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from chaosbandit._version import __version__
from chaosbandit.core import guardrail
from chaosbandit.core.campaign import Campaign, Tally, apply, begin, charged, measured
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.events import ExposureEnded, ExposureStarted, RunStarted, SteadyStateMeasured
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import (
    Dose,
    Expose,
    Health,
    Phase,
    Purpose,
    Route,
    Stop,
    Validity,
    Variant,
)
from chaosbandit.core.policies import Policy
from chaosbandit.core.policies import policy as policy_of
from chaosbandit.core.replay import decide
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Timing, Traffic
from chaosbandit.core.slo import SLI, SLO, ErrorBudget
from chaosbandit.core.topology import topology

Mask = NDArray[np.bool_]
Flags = NDArray[np.bool_]  # a sample each
Draw = Callable[[Variant, int, Generator], Mask]
"""Bad flags [sample, SLO] of so many requests at a variant, in order of sending."""

RATE_PER_S = 50.0
LONGEST = 10_000_000  # samples after which a trial without `max_samples` gives up
_PLENTY = 10**12  # an error budget no trial can spend


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers take at a variant."""

    good_s: float
    bad_s: float


@dataclass(frozen=True, slots=True)
class Toll:
    """What everything around a batch costs in time and requests; by default only sending does.

    With `latency`, requests in flight are limited as in the engine: those sent before a bad answer
    came back are spent, and arms that fail or hang are sampled slowly.
    """

    rate_per_s: float = RATE_PER_S
    setup_s: float = 0.0  # per exposure, whatever is sent in it
    warmup_samples: int = 0  # per exposure; charged to the budget, never evidence
    warmup_s: float = 0.0  # at least as long
    washout_samples: int = 0  # at severity 0 after each exposure
    steady_samples: int = 0  # at severity 0 before the first one, and after the last if one broke
    steady_s: float = 0.0  # how long each of these two looks takes
    longest_s: float = math.inf  # an exposure that lasts longer is injected anew
    latency: Callable[[Variant], Latency] | None = None  # None: answered before the next is sent
    reckoned_samples: float | None = None  # an exposure's price for policies; None: its set-up's

    @property
    def setup_samples(self) -> float:
        """What one more exposure costs in time, in samples: policies weigh moving by it."""
        reckoned = self.reckoned_samples
        return self.setup_s * self.rate_per_s if reckoned is None else reckoned


@dataclass(frozen=True, slots=True)
class Spent:
    """What part of a run cost."""

    samples: int = 0  # canary requests of all phases
    bad: int = 0  # in at least one SLO
    duration_s: float = 0.0


NOTHING_SPENT = Spent()


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """What one simulated campaign found and what it cost."""

    held: float | None  # highest severity certified to hold
    broke: float | None  # lowest severity certified to break
    samples: int  # measured requests
    bad_samples: int  # bad in at least one SLO; warm-up included
    exposures: int  # injections; extending a standing one is free
    reason: str
    answered: bool
    duration_s: float
    decisions: int
    campaign: Campaign = field(repr=False)
    stood: Spent = NOTHING_SPENT  # of all this, for `search.hold` alone


def simulate(
    response: Callable[[float], float],
    *,
    low: float,
    high: float,
    objective: float,
    baseline_bad_ratio: float = 0.0,
    policy: str | Policy = "certify",
    confidence: float = 0.95,
    resolution: float = 0.10,
    seed: int = 0,
    max_samples: int | None = None,
    budget_bad: int | None = None,
    setup_s: float = 0.0,
) -> SimulatedRun:
    """One campaign of a policy against a response curve.

    Args:
        response: bad ratio (0..1) by severity; any callable, monotone or not.
        low, high: the ladder's ends, in any unit.
        objective: share of requests that must be good, 0..1.
        baseline_bad_ratio: bad ratio without a fault; no severity has a lower one.
        policy: the name of a policy, or a policy.
        confidence: 1 - delta, of the claim that the bracket holds the breaking point.
        resolution: the bracket asked for: broke <= (1 + resolution) x held.
        seed: of the policy's choices and of the samples.
        max_samples: measured requests to give up after (default ten million).
        budget_bad: bad requests that may be caused; None is no limit.
        setup_s: seconds an injection costs beside its samples, which are sent at 50/s.

    Raises:
        ValueError: an argument is outside of its range.
    """
    scenario = scenario_of(
        low, high, objective, confidence, resolution, policy, max_samples, budget_bad
    )
    _refuse("baseline_bad_ratio", baseline_bad_ratio, 0.0 <= baseline_bad_ratio <= 1.0)
    _refuse("setup_s", setup_s, 0.0 <= setup_s < math.inf)
    return trial(
        scenario,
        drawn(response, baseline_bad_ratio),
        policy=policy_of(policy) if isinstance(policy, str) else policy,
        seed=seed,
        control_bad_ratios=(baseline_bad_ratio,),
        toll=Toll(setup_s=setup_s),
    )


def trial(
    scenario: Scenario,
    draw: Draw,
    *,
    policy: Policy,
    seed: int,
    control_bad_ratios: Sequence[float],
    toll: Toll | None = None,
) -> SimulatedRun:
    """One campaign of any scenario, with several SLOs and ladders where it has them."""
    loop = _Trial(scenario, draw, policy, seed, tuple(control_bad_ratios), toll or Toll())
    return loop.run()


def drawn(response: Callable[[float], float], baseline_bad_ratio: float = 0.0) -> Draw:
    """Independent failures of one SLO, by a response curve."""

    def draw(variant: Variant, samples: int, rng: Generator) -> Mask:
        ratio = response(variant.severity)
        if not 0.0 <= ratio <= 1.0:
            found = f"response({variant.severity:g}): found {ratio:g}"
            raise ValueError(f"{found}, wanted a bad ratio from 0 to 1")
        ratio = max(ratio, baseline_bad_ratio)
        return (rng.random(samples) < ratio)[:, None]

    return draw


def scenario_of(
    low: float,
    high: float,
    objective: float,
    confidence: float = 0.95,
    resolution: float = 0.10,
    policy: str | Policy = "certify",
    max_samples: int | None = None,
    budget_bad: int | None = None,
    hold_s: float = 0.0,
) -> Scenario:
    """A scenario with one ladder of plain numbers and one SLO; only the search matters in it."""
    if not 0.0 < low < high < math.inf:
        raise ValueError(f"low, high: found {low:g} and {high:g}, wanted 0 < low < high")
    _refuse("objective", objective, 0.0 < objective < 1.0)
    _refuse("confidence", confidence, 0.0 < confidence < 1.0)
    _refuse("resolution", resolution, 0.0 < resolution <= 10.0)
    _refuse("max_samples", max_samples or 0, max_samples is None or max_samples > 0)
    _refuse("budget_bad", budget_bad or 0, budget_bad is None or budget_bad >= 0)
    slo = SLO("simulated", SLI("any"), objective)
    allowed = _PLENTY if budget_bad is None else budget_bad
    budget = ErrorBudget(30 * 86400.0, 1, allowed / slo.bad_ratio)
    return Scenario(
        name="simulated",
        toxiproxy="",
        topology=topology("edge"),
        proxies=(Proxy("simulated", ""),),
        traffic=Traffic("", "", RATE_PER_S, 2.0),
        slos=(slo,),
        budget=budget,
        ladders=(Ladder("simulated", "simulated", "number", low, high, resolution),),
        search=Search(
            policy=policy if isinstance(policy, str) else policy.name,
            confidence=confidence,
            resolution=resolution,
            max_samples=LONGEST if max_samples is None else max_samples,
            max_duration_s=math.inf,
            hold_s=hold_s,
        ),
        guardrails=Guardrails(max_unresolved=0),
        timing=Timing(warmup_s=0.0, warmup_samples=0),
    )


_WANTED = {
    "objective": "a share between 0 and 1, such as 0.99",
    "confidence": "a share between 0 and 1, such as 0.95",
    "resolution": "a share above 0, such as 0.1",
    "baseline_bad_ratio": "a share from 0 to 1",
    "max_samples": "at least 1",
    "budget_bad": "at least 0",
    "setup_s": "seconds, at least 0",
}


def _refuse(name: str, found: float, fits: bool) -> None:
    if not fits:
        raise ValueError(f"{name}: found {found:g}, wanted {_WANTED[name]}")


class _Trial:
    """The state of one: decide, inject, draw, cut, fold."""

    def __init__(
        self,
        scenario: Scenario,
        draw: Draw,
        policy: Policy,
        seed: int,
        control_bad_ratios: tuple[float, ...],
        toll: Toll,
    ) -> None:
        self.draw, self.policy, self.toll = draw, policy, toll
        self.rng = np.random.default_rng([seed, 0, 1])  # decisions have [seed, number]
        self.now_s, self.since_s = 0.0, 0.0
        self.stood = NOTHING_SPENT
        self.drain_s = 0.0  # until the newest answers of a batch are in that nobody waited for
        self.control = np.asarray(control_bad_ratios)
        header = RunStarted("simulated", scenario.name, seed, __version__, 0.0, 0.0, "", "", "")
        block = scenario.search.block or 1
        seen = self._seen_of_control()
        steady = SteadyStateMeasured(True, "", seen, block, 0.0, 0.0, {}, 0.0)
        self.campaign = apply(apply(begin(scenario, toll.setup_samples), header), steady)

    def run(self) -> SimulatedRun:
        """To the end."""
        self._at_severity_0(self.toll.steady_samples, self.toll.steady_s)
        while True:
            decided = decide(self.policy, self.campaign, 0, self.now_s)
            self.campaign = apply(self.campaign, decided)
            decision = decided.decision
            if isinstance(decision, Stop):
                return self._ended(decision)
            before = self._spent()
            self._expose(decision.variant, decision.anew)
            self._measure(decided.n, decision)
            if decision.purpose is Purpose.HOLD:
                self.stood = _sum(self.stood, before, self._spent())

    def _spent(self) -> Spent:
        tally = self.campaign.tallies.get(Route.CANARY, Tally())
        return Spent(tally.samples, tally.any_bad, self.now_s)

    def _climb(self, variant: Variant) -> Climb:
        return Climb(self.campaign, self.campaign.number_of(variant.ladder))

    @property
    def _block(self) -> int:
        return self.campaign.ladders[0].certificate.block

    def _seen_of_control(self) -> tuple[float, ...]:
        """The control's bad ratios as steady state would measure them; exact without one."""
        if not self.toll.steady_samples:
            return tuple(self.control.tolist())
        bad = self.rng.random(self.toll.steady_samples)[:, None] < self.control
        return tuple(bad.mean(axis=0).tolist())

    def _expose(self, variant: Variant, anew: bool = False) -> None:
        """Have the variant in place: stay where it stands, or end that exposure and begin one."""
        stands = self._climb(variant).standing == variant.arm
        if stands and not anew and self.now_s - self.since_s < self.toll.longest_s:
            return
        self._end_exposure()
        n = len(self.campaign.exposures) + 1
        started = ExposureStarted(n, variant.arm, variant.severity, "", self.now_s, variant.ladder)
        self.campaign = apply(self.campaign, started)
        self.now_s += self.toll.setup_s
        self.since_s = self.now_s
        self._warm_up(variant)

    def _warm_up(self, variant: Variant) -> None:
        """As many as a real exposure sends; none after the first answers, if all are bad."""
        toll = self.toll
        if toll.warmup_samples == 0:
            return
        bad = self.draw(variant, toll.warmup_samples, self.rng)
        spoilt = np.asarray(bad.any(axis=1))
        first = guardrail.HOPELESS
        hopeless = len(bad) > first and bool(spoilt[:first].all())
        bad = bad[:first] if hopeless else bad
        self.campaign = charged(self.campaign, bad, Phase.WARMUP)
        lasts_s = len(bad) * self._apart_s(variant, spoilt[: len(bad)])
        self.now_s += lasts_s if hopeless else max(toll.warmup_s, lasts_s)

    def _at_severity_0(self, samples: int, lasts_s: float) -> None:
        """Requests without a fault, which are charged as well."""
        if samples:
            bad = self.rng.random(samples)[:, None] < self.control
            self.campaign = charged(self.campaign, bad, Phase.WASHOUT)
        self.now_s += lasts_s

    def _end_exposure(self) -> None:
        current = self.campaign.current
        if current is None:
            return
        self.now_s, self.drain_s = self.now_s + self.drain_s, 0.0
        ended = ExposureEnded(
            current.n,
            current.arm,
            Validity(True),
            Dose(current.severity),
            Health(),
            0,
            None,
            self.now_s,
        )
        self.campaign = apply(self.campaign, ended)
        washout = self.toll.washout_samples
        self._at_severity_0(washout, washout / self.toll.rate_per_s)

    def _measure(self, number: int, decision: Expose) -> None:
        """Send the batch until bad samples, the budget or a certificate that closes end it."""
        variant = decision.variant
        bad = self.draw(variant, decision.samples, self.rng)
        spoilt = np.asarray(bad.any(axis=1))  # bad in any SLO
        sent = ends = self._fitting(variant, spoilt)
        if decision.stop_after_bad is not None:
            ends = _until(spoilt[:sent], decision.stop_after_bad)
        if ends < sent:
            ends = min(sent, ends + self._flying(variant, spoilt[:ends]))
        for slo, left in enumerate(_left(self.campaign)):
            ends = _until(bad[:ends, slo], left)
        apart_s = self._apart_s(variant, spoilt[:ends])
        after = self._after(number, bad[:ends], apart_s)
        if _claims(after, number) != _claims(self.campaign, number):
            closed = self._until_closed(number, bad[:ends])
            ends = min(ends, closed + self._flying(variant, spoilt[:closed]))
            after = self._after(number, bad[:ends], apart_s)
        spoilt = spoilt[:ends]
        self.now_s += ends * apart_s
        self.drain_s = self._answer_s(variant, spoilt)
        if decision.purpose not in guardrail.GO_ON:  # the next decision waits for all answers
            self.now_s, self.drain_s = self.now_s + self.drain_s, 0.0
        self.campaign = after

    def _fitting(self, variant: Variant, spoilt: Flags) -> int:
        """How much of a batch an exposure has time for, in whole blocks."""
        left_s = self.toll.longest_s - (self.now_s - self.since_s)
        fitting = left_s / self._apart_s(variant, spoilt)
        block = self._block
        return len(spoilt) if fitting >= len(spoilt) else max(1, int(fitting) // block) * block

    def _flying(self, variant: Variant, spoilt: Flags) -> int:
        """Requests that are sent before the answer to the last of these ends the batch."""
        if self.toll.latency is None:
            return 0
        meanwhile = math.ceil(self._answer_s(variant, spoilt[-1:]) * self.toll.rate_per_s)
        return max(0, min(self._most_in_flight(variant), meanwhile) - 1)

    def _apart_s(self, variant: Variant, spoilt: Flags) -> float:
        """Seconds from one request to the next, as few may be in flight (Little's law)."""
        pace_s = 1.0 / self.toll.rate_per_s
        if self.toll.latency is None:
            return pace_s
        takes, share = self.toll.latency(variant), int(np.count_nonzero(spoilt)) / len(spoilt)
        mean_s = takes.good_s + (takes.bad_s - takes.good_s) * share
        return max(pace_s, mean_s / self._most_in_flight(variant))

    def _answer_s(self, variant: Variant, spoilt: Flags) -> float:
        """Until all answers are in, from the moment the last of these requests was sent."""
        if self.toll.latency is None:
            return 0.0
        takes, newest = self.toll.latency(variant), spoilt[-self._most_in_flight(variant) :]
        return takes.bad_s if np.count_nonzero(newest) else takes.good_s

    def _most_in_flight(self, variant: Variant) -> int:
        climb, arm = self._climb(variant), variant.arm
        return max(1, guardrail.unresolved_allowed(climb, arm, guardrail.risky(climb, arm)))

    def _after(self, number: int, bad: Mask, apart_s: float) -> Campaign:
        age_s = self.now_s - self.since_s
        return measured(self.campaign, number, bad, age_s, apart_s)

    def _until_closed(self, number: int, bad: Mask) -> int:
        """The fewest samples that change what is claimed: evidence seen once stays seen."""
        block, claims = self._block, _claims(self.campaign, number)
        low, high = 0, math.ceil(len(bad) / block)
        while high - low > 1:
            middle = (low + high) // 2
            now = _claims(self._after(number, bad[: middle * block], 0.0), number)
            low, high = (low, middle) if now != claims else (middle, high)
        return min(high * block, len(bad))

    def _ended(self, stop: Stop) -> SimulatedRun:
        self._end_exposure()
        brackets = [bracket(climb) for climb in climbs(self.campaign)]
        if any(each.broke is not None for each in brackets):
            self._at_severity_0(self.toll.steady_samples, self.toll.steady_s)
        campaign = self.campaign
        tally = campaign.tallies
        return SimulatedRun(
            held=brackets[0].held,
            broke=brackets[0].broke,
            samples=campaign.spent_samples,
            bad_samples=sum(each.any_bad for each in tally.values()),
            exposures=len(campaign.exposures),
            reason=stop.reason,
            answered=stop.answered,
            duration_s=self.now_s,
            decisions=len(campaign.decisions),
            campaign=campaign,
            stood=self.stood,
        )


def _sum(so_far: Spent, before: Spent, after: Spent) -> Spent:
    """With what was spent from before to after."""
    return Spent(
        so_far.samples + after.samples - before.samples,
        so_far.bad + after.bad - before.bad,
        so_far.duration_s + after.duration_s - before.duration_s,
    )


def _left(campaign: Campaign) -> list[int]:
    """Bad samples that may still happen, per SLO."""
    allowed, reserve = campaign.scenario.budget.allowed, guardrail.reserve(campaign.scenario)
    return [
        max(1, allowed(slo) - reserve - campaign.spent_bad(s))
        for s, slo in enumerate(campaign.slos)
    ]


def _until(flags: Flags, limit: int) -> int:
    """How many samples there are up to the one that is number `limit` among the flagged ones."""
    if np.count_nonzero(flags) < limit:
        return len(flags)
    return int(np.flatnonzero(flags)[limit - 1]) + 1


def _claims(campaign: Campaign, number: int) -> tuple[int | None, int | None]:
    """What is certified of the ladder of a decision."""
    decision = campaign.decisions[number]
    assert isinstance(decision, Expose)
    certificate = campaign.ladders[campaign.number_of(decision.variant.ladder)].certificate
    return certificate.held_arm, certificate.broke_arm
