"""The situations of `real_life.py`: hostile worlds, what is asked there, and what is true in them.

Everything that goes wrong follows from a mechanism of `chaosbandit.sim`. Where it can be arranged,
the bad ratio is exactly what the SLO allows, so that a claim of either side can only be chance.

Two bettors share the worlds with `certify`: they stake everything on one arm from the first sample,
which no careful policy would, and so show a lie that a careful one seldom has the occasion to tell.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from chaosbandit.core.climb import Climb
from chaosbandit.core.forbidden_decisions import refused
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Decision, Expose, Purpose, Route, Sample, Stop
from chaosbandit.core.policies import ended, register
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Timing, Traffic
from chaosbandit.core.slo import SLI, SLO, ErrorBudget
from chaosbandit.core.topology import topology
from chaosbandit.faults.fault import Fault
from chaosbandit.ports import Injected
from chaosbandit.sim import World
from chaosbandit.sim.targets import (
    Asked,
    Bursts,
    Failing,
    Pile,
    Response,
    Service,
    Symptom,
    deployed,
    independent,
    lognormal,
    watched,
)

TIMEOUT_S = 2.0
OK = ((200, 399),)
HANGS = math.inf
USUAL = lognormal(0.020, 0.3, passed_on=0.1)  # the dose is felt, if little


@dataclass(frozen=True, slots=True)
class Setup:
    """One campaign to be: what is asked, where, and the truth per SLO."""

    asked: Scenario
    world: World
    truth: tuple[Response, ...]


Build = Callable[[Generator, str], Setup]


@dataclass(frozen=True, slots=True)
class Situation:
    """A row of the table, per policy."""

    name: str
    build: Build
    policies: tuple[str, ...] = ("certify",)
    trap: bool = False  # shows what the product cannot know; not held against the 5 %
    bump: tuple[float, float] | None = None  # (width, distance of the real cliff above it)


# --- two bettors ----------------------------------------------------------------------------------


class Stubborn:
    """Certifies one side of the ladder's middle pair, then bets on the other side for ever.

    Where the escalation rule keeps it from the pair, it looks at the mildest arm, which is well.
    """

    name = "stubborn"
    first, then = Purpose.BROKE, Purpose.HELD

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """Bets that never change; the first side is meant to be easily shown."""
        stop = ended(climb)
        if stop is not None:
            return stop
        low = middle(climb.ladder)
        arms = {Purpose.HELD: low, Purpose.BROKE: low + 1}
        certificate = climb.certificate
        missing = {
            Purpose.HELD: certificate.missing_held(low),
            Purpose.BROKE: certificate.missing_broke(low + 1),
        }
        if not any(missing.values()):
            return Stop("both sides are shown")
        purpose = self.first if missing[self.first] else self.then
        taus = [slo.bad_ratio for slo in climb.slos]
        bets = tuple(0.2 * tau if purpose is Purpose.HELD else fervent(tau) for tau in taus)
        limit = climb.search.max_samples
        assert limit is not None, "it would never end"
        block = certificate.block
        size = -(-20 // block) * block
        size = min(size, limit - climb.spent_samples)
        wanted = Expose(climb.ladder.variant(arms[purpose]), size, purpose, bets)
        if refused(climb, wanted) is None:
            return wanted
        return Expose(climb.ladder.variant(0), size, Purpose.SEARCH)


@register
class StubbornHeld(Stubborn):
    """Shows that the upper arm breaks, then that the lower one holds."""

    name = "bets-held"


@register
class StubbornBroke(Stubborn):
    """The other way round."""

    name = "bets-broke"
    first, then = Purpose.HELD, Purpose.BROKE


def fervent(tau: float) -> float:
    """A bet on broke that a few bad samples in a row win."""
    return min(5.0 * tau, (1.0 + tau) / 2)


def middle(ladder: Ladder) -> int:
    """The lower arm of the pair that the bettors look at."""
    return len(ladder.severities) // 2 - 1


# --- scenarios ------------------------------------------------------------------------------------

SMALL = Ladder("slow", "inventory", "latency", 0.1, 0.25, 0.5)
WIDE = Ladder("slow", "inventory", "latency", 0.01, 1.0, 0.1)
COARSE = Ladder("slow", "inventory", "latency", 0.01, 1.0, 0.5)


def status_slo(objective: float = 0.95) -> SLO:
    """Answers that are not errors."""
    return SLO("availability", SLI("status in 2xx-3xx", OK), objective)


def latency_slo(bound_s: float, objective: float = 0.95) -> SLO:
    """Answers that are fast, whatever they say."""
    return SLO(f"latency-{bound_s:g}", SLI(f"latency <= {bound_s:g}s", (), bound_s), objective)


def scenario_of(
    policy: str,
    *slos: SLO,
    rate_per_s: float = 200.0,
    max_samples: int = 500,
    block: int | None = None,
    ladder: Ladder | None = None,
    guardrails: Guardrails | None = None,
    spend: float = 0.5,
    steady_samples: int = 40,
    max_duration_s: float = 900.0,
    evidence_ttl_s: float = 3600.0,
) -> Scenario:
    """A scenario with short fixed times; the bettors' ladder is small, that of others wide."""
    url = "http://127.0.0.1:1/"
    over = ladder or (WIDE if policy == "certify" else SMALL)
    return Scenario(
        name="real-life",
        toxiproxy=url,
        topology=topology("canary"),
        proxies=(Proxy("inventory", "127.0.0.1:1", "127.0.0.1:2", url),),
        traffic=Traffic(url, url, rate_per_s, TIMEOUT_S),
        slos=slos or (status_slo(),),
        budget=ErrorBudget(30 * 86400.0, 2_000_000, spend),
        ladders=(over,),
        search=Search(
            policy=policy,
            resolution=over.resolution,
            block=block,
            max_samples=max_samples,
            max_duration_s=max_duration_s,
            evidence_ttl_s=evidence_ttl_s,
            hold_s=0.0,
            escalation=1.5 if policy == "certify" else math.inf,
        ),
        guardrails=guardrails or Guardrails(),
        timing=Timing(0.04, 2, 5.0, steady_samples),
    )


# --- curves ---------------------------------------------------------------------------------------


def at_the_slo(asked: Scenario, tau: float, rng: Generator) -> Response:
    """Healthy when mild, exactly the SLO's ratio from there on, and clearly broken at the top.

    For the bettors the pair in the middle lies at one of the two edges: what is claimed first is
    true, and what is claimed then is as often wrong as it can be. What is milder is well.
    """
    ladder = asked.ladder
    low, high = (ladder.severities[middle(ladder) + i] for i in (0, 1))
    between = math.sqrt(low * high)
    if asked.search.policy == "bets-held":
        mild, harsh = low * 0.99, between
    elif asked.search.policy == "bets-broke":
        mild, harsh = between, math.inf
    else:
        span = math.log(ladder.harsh / ladder.mild)
        mild = ladder.mild * math.exp(span * rng.uniform(0.0, 0.5))
        harsh = mild * math.exp(span * rng.uniform(0.2, 0.6))
    return steps((mild, tau), (harsh, 0.95))


def steps(*levels: tuple[float, float]) -> Response:
    """0 at severity 0 and below the first level; from each severity on, its bad ratio."""

    def ratio(severity: float) -> float:
        reached = [level for start, level in levels if severity >= start]
        return reached[-1] if reached else 0.0

    return ratio


def logistic(crossing: float, width: float, tau: float) -> Response:
    """A logistic in log severity that is tau at the crossing."""
    offset = math.log(tau / (1 - tau))

    def ratio(severity: float) -> float:
        if severity <= 0.0:
            return 0.0
        u = math.log(severity / crossing) / width + offset
        return 1.0 / (1.0 + math.exp(-max(min(u, 60.0), -60.0)))

    return ratio


# --- worlds ---------------------------------------------------------------------------------------


def hanging(failing: Failing) -> Service:
    """A service whose failing requests hang."""
    return Service((Symptom(failing, latency_s=HANGS),), USUAL)


def hanging_then_broken(curve: Response, tau: float) -> Service:
    """Requests hang as often as the SLO allows; where more are bad, those are quick errors."""
    hangs = Symptom(independent(lambda s: curve(s) if curve(s) <= tau else 0.0), HANGS)
    errors = Symptom(independent(lambda s: curve(s) if curve(s) > tau else 0.0), status=503)
    return Service((hangs, errors), USUAL)


def world_of(service: Service, rng: Generator) -> World:
    """A world with the traffic's time-out around a service."""
    return World(lambda severity: 0.0, rng, target=service, timeout_s=TIMEOUT_S)


def hang(
    rate_per_s: float = 200.0,
    objective: float = 0.95,
    change: Callable[[World], None] = lambda world: None,
    **asked: Any,
) -> Build:
    """Bad requests hang until the time-out; the ratio is exactly the SLO's."""

    def build(rng: Generator, policy: str) -> Setup:
        slo = status_slo(objective)
        scenario = scenario_of(policy, slo, rate_per_s=rate_per_s, **asked)
        curve = at_the_slo(scenario, slo.bad_ratio, rng)
        world = world_of(hanging_then_broken(curve, slo.bad_ratio), rng)
        change(world)
        return Setup(scenario, world, (curve,))

    return build


def small_pool(world: World) -> None:
    """A pool that fills up when a few requests hang."""
    world.max_in_flight = 10


def late_when_loaded(world: World) -> None:
    """A prober that is late while many requests are open."""
    world.lag_s = lambda in_flight: 0.15 if in_flight >= 8 else 0.0


def cached_check(world: World) -> None:
    """Checks are answered from a cache, without the dose, while requests hang."""
    pile = Pile(limit=3, window=60)
    world.witness = watched(pile)
    world.delivered = lambda severity: 0.0 if pile.high else severity


def impatient(world: World) -> None:
    """An operator who presses Ctrl-C when requests hang one after the other."""
    world.witness = Pile(limit=4, window=30)


def easily_pleased(world: World) -> None:
    """An operator who presses Ctrl-C once nothing bad was seen for long."""
    seen: list[bool] = []

    def pleased(sample: Sample) -> bool:
        if sample.route is Route.CANARY:
            seen.append(sample.status == 200)
        return len(seen) > 200 and all(seen[-50:])

    world.witness = pleased


def sick_control(world: World) -> None:
    """Control fails for a while, blind to the canary."""
    world.control_bad_ratio = lambda now_s: 0.4 if 6.0 < now_s % 20.0 < 8.0 else 0.0


def bursts(length: int, objective: float, block: int | None, **asked: Any) -> Build:
    """Failures come in bursts, at every dose in the same way; their ratio is the SLO's."""

    def build(rng: Generator, policy: str) -> Setup:
        slo = status_slo(objective)
        scenario = scenario_of(policy, slo, block=block, **asked)
        curve = at_the_slo(scenario, slo.bad_ratio, rng)
        symptom = Symptom(Bursts(curve, length), status=503)
        return Setup(scenario, world_of(Service((symptom,), USUAL), rng), (curve,))

    return build


def steady_bursts(length: int, objective: float) -> Build:
    """Bursts are there at severity 0 too, at half the ratio, so that steady state can see them."""

    def build(rng: Generator, policy: str) -> Setup:
        slo = status_slo(objective)
        scenario = scenario_of(
            policy,
            slo,
            max_samples=2000,
            steady_samples=200,
            guardrails=Guardrails(abort_if_bad_in_a_row=1000),
        )
        tau = slo.bad_ratio
        curve = at_the_slo(scenario, tau, rng)
        symptom = Symptom(Bursts(lambda s: max(curve(s), 0.5 * tau), length), status=503)
        return Setup(scenario, world_of(Service((symptom,), USUAL), rng), (curve,))

    return build


def several(count: int, together: bool, first: bool) -> Build:
    """Status and latency bad on curves of their own; all at their SLO, or one breaks first."""

    def build(rng: Generator, policy: str) -> Setup:
        slos = (status_slo(), latency_slo(0.3), latency_slo(0.9, 0.98))[:count]
        scenario = scenario_of(policy, *slos)
        curve = at_the_slo(scenario, slos[0].bad_ratio, rng)
        healthy = steps((scenario.ladder.mild * 0.9, 0.2 * slos[0].bad_ratio))
        shown = [curve, healthy if first else curve, healthy if first else curve]
        added_s = (None, 0.4, 1.0)
        # Slower than 900 ms is slower than 300 ms too: draw the rarer symptom of what is left.
        scale = (1.0, 1.0, 0.4)
        symptoms, truth = [], []
        for s in range(count):
            ratio = _scaled(shown[s], scale[s])
            symptoms.append(Symptom(independent(ratio), added_s[s], status=503 if s == 0 else None))
            truth.append(ratio)
        if count == 3:
            truth[1] = _either(truth[1], truth[2], together)
            if not first and not together:  # bring the joint ratio back to the SLO's
                symptoms[1] = Symptom(independent(_without(shown[1], truth[2])), added_s[1])
                truth[1] = shown[1]
        world = world_of(Service(tuple(symptoms), USUAL, together), rng)
        return Setup(scenario, world, tuple(truth))

    return build


def _scaled(curve: Response, factor: float) -> Response:
    return lambda severity: factor * curve(severity)


def _either(one: Response, other: Response, together: bool) -> Response:
    if together:
        return lambda severity: max(one(severity), other(severity))
    return lambda severity: 1.0 - (1.0 - one(severity)) * (1.0 - other(severity))


def _without(joint: Response, part: Response) -> Response:
    return lambda severity: 1.0 - (1.0 - joint(severity)) / (1.0 - part(severity))


def natural_latency(rng: Generator, policy: str) -> Setup:
    """No curve at all: a latency SLO, lognormal answers, and a dose that is added to them."""
    slo = latency_slo(0.3)
    scenario = scenario_of(policy, slo, ladder=WIDE)
    median_s, spread = 0.060, 0.35

    def ratio(severity: float) -> float:
        room_s = 0.3 - severity
        if room_s <= 0.0:
            return 1.0
        return 0.5 * math.erfc(math.log(room_s / median_s) / spread / math.sqrt(2))

    service = Service((), lognormal(median_s, spread, passed_on=1.0))
    return Setup(scenario, world_of(service, rng), (ratio,))


def slow_drain(rng: Generator, policy: str) -> Setup:
    """All answers take long when exposures stop: half a second in the median, some a time-out."""
    slo = status_slo()
    limits = Guardrails(max_exposure_s=1.0)
    scenario = scenario_of(policy, slo, guardrails=limits)
    curve = at_the_slo(scenario, slo.bad_ratio, rng)
    symptom = Symptom(independent(curve), latency_s=HANGS)

    def latency(asked: Asked, drawn: Generator) -> float:
        median_s = 0.5 if asked.severity > 0.0 else 0.02
        return min(median_s * math.exp(0.4 * drawn.standard_normal()), 1.9)

    world = world_of(Service((symptom,), latency), rng)
    return Setup(scenario, world, (curve,))


def plain(make: Callable[[Scenario, Generator], Response], *slos: SLO, **asked: Any) -> Build:
    """Bad requests hang; the curve is made from the scenario and chance."""

    def build(rng: Generator, policy: str) -> Setup:
        scenario = scenario_of(policy, *(slos or (status_slo(),)), **asked)
        curve = make(scenario, rng)
        return Setup(scenario, world_of(hanging(independent(curve)), rng), (curve,))

    return build


def somewhere(rng: Generator) -> float:
    """A breaking point well inside the ladders."""
    return float(0.02 * 25 ** rng.random())


def never(asked: Scenario, rng: Generator) -> Response:
    """A tenth of what the SLO allows, everywhere."""
    return lambda severity: 0.1 * asked.slos[0].bad_ratio


def lowest(asked: Scenario, rng: Generator) -> Response:
    """Broken from the mildest severity on."""
    return steps((asked.ladder.mild * 0.99, 0.95))


def everywhere(asked: Scenario, rng: Generator) -> Response:
    """Exactly the SLO's ratio at every dose."""
    return steps((asked.ladder.mild * 0.99, asked.slos[0].bad_ratio))


def same_at_zero(asked: Scenario, rng: Generator) -> Response:
    """A/A: the dose does nothing, and the SLO is met with room."""
    return lambda severity: 0.5 * asked.slos[0].bad_ratio


def cliff(asked: Scenario, rng: Generator) -> Response:
    """From a tenth of the SLO's ratio to 95 %."""
    tau = asked.slos[0].bad_ratio
    return steps((asked.ladder.mild * 0.5, 0.1 * tau), (somewhere(rng), 0.95))


def wide(asked: Scenario, rng: Generator) -> Response:
    """A logistic of width 0.3 in log severity."""
    return logistic(somewhere(rng), 0.3, asked.slos[0].bad_ratio)


def bump(width: float, height: float, objective: float = 0.99) -> Build:
    """Breaks from x to width * x, is fine above that, and breaks for good at 4 * width * x."""

    def build(rng: Generator, policy: str) -> Setup:
        slo = status_slo(objective)
        scenario = scenario_of(policy, slo, max_samples=3000, ladder=WIDE)
        first = 0.02 * (1.0 / (0.02 * 6 * width)) ** rng.random()
        fine = 0.1 * slo.bad_ratio
        curve = steps(
            (0.001, fine), (first, height), (first * width, fine), (first * width * 4, 0.95)
        )
        return Setup(scenario, world_of(hanging(independent(curve)), rng), (curve,))

    return build


def deploy(rng: Generator, policy: str) -> Setup:
    """Fine up to a cliff; a deploy in the middle of the run moves it to a third of its severity."""
    slo = status_slo()
    scenario = scenario_of(policy, slo)
    cut, fine = 0.1 + 0.4 * rng.random(), 0.1 * slo.bad_ratio
    before, after = (steps((0.001, fine), (c, 0.95)) for c in (cut, cut / 3))
    failing = deployed(rng.uniform(3.0, 12.0), independent(before), independent(after))
    return Setup(scenario, world_of(hanging(failing), rng), (after,))


class Overnight(World):
    """A run that stands still for eight hours after its fourth exposure."""

    __slots__ = ()

    @asynccontextmanager
    async def _inject(self, fault: Fault) -> AsyncIterator[Injected]:
        async with super()._inject(fault) as injected:
            yield injected
        if sum(call.startswith("soften") for call in self.calls) == 4:
            self.time_s += 8 * 3600.0


def night(evidence_ttl_s: float) -> Build:
    """In that night a deploy makes what held exactly as bad as the SLO allows."""

    def build(rng: Generator, policy: str) -> Setup:
        slo, limits = status_slo(), Guardrails(max_exposure_s=0.25)
        scenario = scenario_of(
            policy,
            slo,
            ladder=SMALL,
            guardrails=limits,
            max_duration_s=1e6,
            evidence_ttl_s=evidence_ttl_s,
        )
        low, high = (SMALL.severities[middle(SMALL) + i] for i in (0, 1))
        cut = math.sqrt(low * high)
        before, after = steps((cut, 0.95)), steps((low * 0.99, slo.bad_ratio), (cut, 0.95))
        failing = deployed(3600.0, independent(before), independent(after))
        service = Service((Symptom(failing, status=503),), USUAL)
        world = Overnight(lambda severity: 0.0, rng, target=service, timeout_s=TIMEOUT_S)

        def truth(severity: float) -> float:  # of the version that answers when the run ends
            return (after if world.time_s >= 3600.0 else before)(severity)

        return Setup(scenario, world, (truth,))

    return build


# --- the rows -------------------------------------------------------------------------------------

ALL = ("certify", "bets-held", "bets-broke")
HELD = ("certify", "bets-held")
CROWDED = Guardrails(max_unresolved=1000)


def situations() -> Iterator[Situation]:
    """All rows, in the order of the table."""
    yield Situation("bad requests hang, 200/s", hang(), ALL)
    yield Situation("bad requests hang, 500/s", hang(500.0), ALL)
    crowded = hang(500.0, guardrails=CROWDED)
    yield Situation("the same, any number in flight", crowded, ALL)
    yield Situation("the same at 99 %, 200/s", hang(objective=0.99, max_samples=2000), HELD)
    brief = Guardrails(max_unresolved=1000, max_exposure_s=3.0)
    pool = hang(50.0, change=small_pool, guardrails=brief)
    yield Situation("pool full when requests hang", pool, ALL)
    late = hang(50.0, change=late_when_loaded, guardrails=brief)
    yield Situation("late when requests hang", late, ALL)
    cached = hang(50.0, change=cached_check, guardrails=brief)
    yield Situation("dose check fails when requests hang", cached, ALL)
    yield Situation("Ctrl-C when requests hang", hang(change=impatient), ALL)
    yield Situation("Ctrl-C when all looks well", hang(change=easily_pleased), ALL)
    yield Situation("control fails meanwhile", hang(change=sick_control), HELD)
    # A guardrail that cuts blocks short would keep a broken arm from ever being shown.
    patient = Guardrails(abort_if_bad_in_a_row=1000)
    declared = bursts(20, 0.8, 80, max_samples=3000, guardrails=patient)
    yield Situation("bursts of 20, block 80 declared", declared, ALL)
    yield Situation("bursts of 3, found in steady state", steady_bursts(3, 0.9), HELD)
    yield Situation("bursts of 20, no block (trap)", bursts(20, 0.9, None), HELD, trap=True)
    yield Situation("two SLOs, independent", several(2, False, False), ALL)
    yield Situation("two SLOs, coinciding", several(2, True, False), ALL)
    yield Situation("three SLOs, independent", several(3, False, False), ALL)
    yield Situation("three SLOs, one breaks first", several(3, False, True), ALL)
    yield Situation("latency SLO, dose added to latency", natural_latency)
    curt = Guardrails(abort_if_bad_in_a_row=2)
    yield Situation("stops after 2 bad in a row", hang(guardrails=curt), ALL)
    yield Situation("budget of 40 bad requests", hang(spend=0.0004), ALL)
    short = Guardrails(max_exposure_s=0.3)
    yield Situation("exposures of 0.3 s", hang(guardrails=short), ALL)
    yield Situation("slow drain, exposures of 1 s", slow_drain, ALL)
    yield Situation("never breaks", plain(never))
    yield Situation("breaks at the lowest", plain(lowest))
    yield Situation("exactly at the SLO everywhere", plain(everywhere))
    yield Situation("A/A: the dose does nothing", plain(same_at_zero))
    yield Situation("cliff at 99 %", plain(cliff, status_slo(0.99), max_samples=3000))
    smooth = plain(wide, ladder=COARSE, max_samples=3000)
    yield Situation("width 0.3 at 95 %", smooth)
    yield Situation("a deploy in mid-run (trap)", deploy, trap=True)
    yield Situation("a night with a deploy, ttl 1 h", night(3600.0), HELD)
    yield Situation("the same, ttl a week (trap)", night(7 * 86400.0), HELD, trap=True)
    for width in (2.0, 4.0, 8.0):
        for height in (0.95, 0.2, 0.05):
            name = f"bump {width:g}x wide, {height:.0%} bad"
            yield Situation(name, bump(width, height), trap=True, bump=(width, height))


ROWS = {situation.name: situation for situation in situations()}
