"""What users of the first version ran into, as simulated worlds: the rows of `field.py`.

Each attack is a mechanism of the target, the machine or the settings, with the truth beside it and
what the first version made of it. One number for every world: objective 99 %, 50 requests/s, a
ladder from 1 ms to 1 s in steps of 10 %, a breaking point somewhere between 20 and 500 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

from numpy.random import Generator

from benchmarks.hostile import TIMEOUT_S, logistic, somewhere, status_slo, steps
from chaosbandit.core.climb import Climb
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Decision, Expose, Purpose
from chaosbandit.core.policies import ended, register
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Timing, Traffic
from chaosbandit.core.slo import ErrorBudget
from chaosbandit.core.topology import topology
from chaosbandit.sim import World
from chaosbandit.sim.targets import (
    Asked,
    Breaker,
    Bursts,
    Failing,
    Response,
    Service,
    Symptom,
    always,
    deployed,
    during,
    independent,
    lognormal,
    setting_in,
)

WHOLE = Ladder("slow", "inventory", "latency", 0.001, 1.0, 0.1)
LOW_RATE = replace(WHOLE, mild=0.01, resolution=0.5)
QUICK = Search(hold_s=0.0)
TAU, CLEAN, BROKEN = 0.01, 0.001, 0.95
NOTHING = "30 of 30 nothing"


@dataclass(frozen=True, slots=True)
class Case:
    """One campaign to be, and the bad ratio of a severity that stands for long."""

    asked: Scenario
    world: World
    truth: Response
    harmed: Callable[[], bool] = lambda: False  # whether the run killed its target


Build = Callable[[Generator], Case]


@dataclass(frozen=True, slots=True)
class Attack:
    """A row of the table."""

    name: str
    setting: str
    build: Build
    before: str  # what the first version made of it
    nothing_true: bool = False  # any claim would be false
    trap: bool = False  # shows what no run can know; not held against the 5 %
    most_requests: float | None = None  # goals
    most_bad: float | None = None
    most_s: float | None = None

    @property
    def key(self) -> str:
        """One row of all."""
        return f"{self.name}, {self.setting}"


# --- what is asked, and of whom -------------------------------------------------------------------


def asked(
    objective: float = 1.0 - TAU,
    rate_per_s: float = 50.0,
    ladder: Ladder = WHOLE,
    bad_allowed: int = 1000,
    search: Search | None = None,
    guardrails: Guardrails | None = None,
    timing: Timing | None = None,
) -> Scenario:
    """A scenario as users write it: what is not said is the product's default."""
    url, slo = "http://127.0.0.1:1/", status_slo(objective)
    requests = 2_000_000
    return Scenario(
        name="field",
        toxiproxy=url,
        topology=topology("canary"),
        proxies=(Proxy("inventory", "127.0.0.1:1", "127.0.0.1:2", url),),
        traffic=Traffic(url, url, rate_per_s, TIMEOUT_S),
        slos=(slo,),
        budget=ErrorBudget(30 * 86400.0, requests, bad_allowed / (requests * slo.bad_ratio)),
        ladders=(ladder,),
        search=search or Search(),
        guardrails=guardrails or Guardrails(),
        timing=timing or Timing(),
    )


def world_of(failing: Failing, rng: Generator, median_s: float = 0.02, felt: float = 1.0) -> World:
    """A service that waits for its dependency, and answers 503 where it fails."""
    service = Service((Symptom(failing, status=503),), lognormal(median_s, 0.3, passed_on=felt))
    return World(lambda severity: 0.0, rng, target=service, timeout_s=TIMEOUT_S)


def curve(name: str, rng: Generator, clean: float = CLEAN) -> Response:
    """A response with a breaking point somewhere."""
    if name == "p = severity":
        return lambda severity: severity
    if name == "width 0.1":
        return logistic(somewhere(rng), 0.1, TAU)
    top = {"cliff": BROKEN, "soft": 0.2}[name]
    return steps((WHOLE.mild * 0.5, clean), (somewhere(rng), top))


def plain(name: str = "cliff", scenario: Scenario | None = None) -> Build:
    """A target that fails by its curve alone."""

    def build(rng: Generator) -> Case:
        truth = curve(name, rng)
        return Case(scenario or asked(), world_of(independent(truth), rng), truth)

    return build


# --- 1 failures that set in late ------------------------------------------------------------------


def held_for(hold_s: float) -> Scenario:
    """Exposures long enough to stand so long."""
    return asked(search=Search(hold_s=hold_s), guardrails=Guardrails(max_exposure_s=60.0))


def late(after_s: float, ratio: float) -> Build:
    """A third of the breaking point is borne for some seconds only."""

    def build(rng: Generator) -> Case:
        at = somewhere(rng)
        before = steps((WHOLE.mild * 0.5, CLEAN), (at, BROKEN))
        after = steps((WHOLE.mild * 0.5, CLEAN), (at / 3, ratio), (at, BROKEN))
        failing = setting_in(after_s, independent(after), independent(before))
        return Case(held_for(30.0), world_of(failing, rng), after)

    return build


def stalls(every_s: float, for_s: float) -> Build:
    """From a third of the breaking point on, all requests of every n-th second fail."""

    def build(rng: Generator) -> Case:
        at, phase_s = somewhere(rng), rng.uniform(0.0, every_s)
        calm = independent(steps((WHOLE.mild * 0.5, CLEAN), (at, BROKEN)))

        def stalled(asked: Asked) -> bool:
            return asked.severity >= at / 3 and (asked.now_s + phase_s) % every_s < for_s

        truth = steps((WHOLE.mild * 0.5, CLEAN), (at / 3, for_s / every_s), (at, BROKEN))
        world = world_of(during(stalled, always, calm), rng)
        return Case(held_for(30.0), world, truth)

    return build


# --- 3 hiccups, 4 clumps --------------------------------------------------------------------------


def hiccup(early_s: float, late_s: float, control_too: bool, for_s: float = 2.0) -> Build:
    """The machine stands still for a moment between two times, whatever the dose."""

    def build(rng: Generator) -> Case:
        truth, at_s = curve("cliff", rng), rng.uniform(early_s, late_s)
        failing = during(
            lambda asked: at_s <= asked.now_s < at_s + for_s, always, independent(truth)
        )
        world = world_of(failing, rng)
        if control_too:
            world.control_bad_ratio = lambda now_s: float(at_s <= now_s < at_s + for_s)
        return Case(asked(search=QUICK), world, truth)

    return build


def noisy(bad_in_a_row: int) -> Build:
    """Half of the SLO's ratio fails anyway, and some in a row do so in steady state."""

    def build(rng: Generator) -> Case:
        truth, asked_so_far = curve("cliff", rng, clean=0.5 * TAU), count(1)
        failing = during(
            lambda _: 30 <= next(asked_so_far) < 30 + bad_in_a_row,
            always,
            independent(lambda severity: truth(severity) if severity else 0.5 * TAU),
        )
        return Case(asked(search=QUICK), world_of(failing, rng), truth)

    return build


def bursts_later(length: int, at_tau: bool) -> Build:
    """From some second on failures come in bursts, in the same number as before; 95 %."""

    def build(rng: Generator) -> Case:
        limited = replace(QUICK, max_samples=20_000)
        scenario, tau = asked(objective=0.95, search=limited), 0.05
        low, high = (0.0, somewhere(rng)) if not at_tau else (0.01, 0.3)
        truth = steps(
            (WHOLE.mild * 0.5, 0.5 * tau), (low, tau if at_tau else 0.5 * tau), (high, BROKEN)
        )
        failing = deployed(rng.uniform(2.0, 6.0), independent(truth), Bursts(truth, length))
        return Case(scenario, world_of(failing, rng), truth)

    return build


# --- 5 slow recovery, 10 death --------------------------------------------------------------------


def breaker(open_s: float, washout_s: float) -> Build:
    """Five failures in a row open a breaker, which the dose's end does not close."""

    def build(rng: Generator) -> Case:
        truth = curve("cliff", rng)
        world = world_of(Breaker(independent(truth), open_s), rng)
        return Case(asked(search=QUICK, timing=Timing(washout_s=washout_s)), world, truth)

    return build


def mortal(times: float, escalation: float) -> Build:
    """A service that dies for good somewhat above its breaking point."""

    def build(rng: Generator) -> Case:
        at = somewhere(rng)
        truth = steps((WHOLE.mild * 0.5, CLEAN), (at, BROKEN))
        service = Breaker(independent(truth), math.inf, 10**9, lambda s: s >= times * at)
        search = replace(QUICK, escalation=escalation)
        return Case(
            asked(search=search), world_of(service, rng), truth, lambda: service.open_until_s > 0.0
        )

    return build


# --- 7 doses, 8 low rates, 11 a policy ------------------------------------------------------------


def not_asked(rng: Generator) -> Case:
    """The canary is 25 ms slower than control by itself, and never asks the dependency."""
    world = world_of(independent(lambda severity: CLEAN), rng, 0.045, felt=0.0)
    return Case(asked(), world, lambda severity: 0.0)


def more_arrives(rng: Generator) -> Case:
    """The dependency becomes 400 ms slower whenever a fault stands, and so does the canary."""
    truth = steps((WHOLE.mild * 0.5, CLEAN), (somewhere(rng), BROKEN))
    world = world_of(independent(lambda s: truth(s + 0.4) if s else CLEAN), rng)
    world.delivered = lambda severity: severity + 0.4 if severity else 0.0
    return Case(asked(), world, truth)


def closed_path(rng: Generator) -> Case:
    """The path is closed, not slow, whenever a fault stands: checks are refused."""
    truth = curve("cliff", rng)
    world = world_of(independent(lambda severity: BROKEN if severity else CLEAN), rng)
    world.refused = lambda severity: severity > 0.0
    return Case(asked(), world, truth)


def low_rate(per_minute: float, interrupted: bool = False) -> Build:
    """Few requests a minute, half an hour, and perhaps somebody who loses patience."""

    def build(rng: Generator) -> Case:
        truth = curve("cliff", rng, clean=0.0)
        world = world_of(independent(truth), rng)
        if interrupted:
            until_s = rng.uniform(30.0, 900.0)
            world.witness = lambda sample: sample.intended_s >= until_s
        rate_per_s, timing = per_minute / 60.0, Timing(steady_samples=20)
        return Case(asked(rate_per_s=rate_per_s, ladder=LOW_RATE, timing=timing), world, truth)

    return build


@register
class Quitter:
    """Bets for ever that the mildest dose holds, in blocks, and stops each at the first failure."""

    name = "quits-held"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """The same block again: what fails is never sent to its end."""
        stop = ended(climb)
        if stop is not None:
            return stop
        limit, block = climb.search.max_samples, climb.certificate.block
        assert limit is not None, "it would never end"
        size = min(block, limit - climb.spent_samples - climb.unresolved)
        bets = tuple(0.2 * slo.bad_ratio for slo in climb.slos)
        return Expose(climb.ladder.variant(0), size, Purpose.HELD, bets, stop_after_bad=1)


def quits(block: int) -> Build:
    """Exactly the SLO's ratio everywhere, 95 %."""

    def build(rng: Generator) -> Case:
        truth = steps((WHOLE.mild * 0.5, 0.05))
        search = replace(QUICK, policy="quits-held", block=block, max_samples=2000)
        return Case(asked(objective=0.95, search=search), world_of(independent(truth), rng), truth)

    return build


def flat(ratio: float, search: Search = QUICK) -> Build:
    """The dose changes nothing: the same ratio at every severity."""

    def build(rng: Generator) -> Case:
        truth = steps((WHOLE.mild * 0.5, ratio))
        return Case(asked(search=search), world_of(independent(truth), rng), truth)

    return build


# --- the rows -------------------------------------------------------------------------------------


def attacks() -> Iterator[Attack]:
    """All rows, in the order of the table."""
    yield from _holds()
    yield from _limits()
    yield from _disturbed()
    yield from _warm_ups()
    yield from _doses()
    yield from _rates()
    yield from _thresholds()


def _holds() -> Iterator[Attack]:
    first = {4.0: "40 of 40 false", 10.0: "57 of 57 false", 20.0: "12 of 12 false"}
    for after_s, before in first.items():
        for ratio in (1.0, 0.6, 0.15):
            setting = f"{ratio:.0%} fail from {after_s:g} s on"
            yield Attack("1 hold", setting, late(after_s, ratio), before if ratio == 1.0 else "")
    yield Attack("1 hold", "a 3 s stall every 30 s", stalls(30.0, 3.0), "43 of 54 false")
    for hold_s in (0.0, 15.0, 30.0):
        setting = f"healthy cliff, hold {hold_s:g} s"
        yield Attack("1 hold", setting, plain("cliff", held_for(hold_s)), "no hold")


def _limits() -> Iterator[Attack]:
    usual = asked(search=QUICK)
    sloppy = replace(WHOLE, mild=0.005, harsh=0.4)
    near = asked(objective=0.95, ladder=sloppy, search=QUICK)
    for family in ("cliff", "soft", "width 0.1", "p = severity"):
        scenario = near if family == "p = severity" else usual
        for limit, limited in _limited(scenario):
            yield Attack("2 limits", f"{family}, {limit}", plain(family, limited), NOTHING)


def _limited(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    budget, search = scenario.budget, scenario.search
    for bad in (40, 100):
        spend = budget.spend * bad / budget.allowed(scenario.slos[0])
        yield f"{bad} bad", replace(scenario, budget=replace(budget, spend=spend))
    for most in (500, 1000, 3000):
        yield f"{most} requests", replace(scenario, search=replace(search, max_samples=most))
    yield "60 s", replace(scenario, search=replace(search, max_duration_s=60.0))


def _disturbed() -> Iterator[Attack]:
    yield Attack("3 hiccup", "none", plain("cliff", asked(search=QUICK)), "")
    yield Attack("3 hiccup", "machine, early", hiccup(4.0, 8.0, True), "")
    yield Attack("3 hiccup", "machine, late", hiccup(12.0, 22.0, True), "23833 requests")
    yield Attack("3 hiccup", "canary alone, early", hiccup(4.0, 8.0, False), "")
    yield Attack("3 hiccup", "canary alone, late", hiccup(12.0, 22.0, False), "23833 requests")
    yield Attack("4 clumps", "0.5 tau, none in a row", noisy(0), "")
    yield Attack("4 clumps", "0.5 tau, two in a row at first", noisy(2), "7-9 x the requests")
    yield Attack("4 clumps", "bursts of 8 in mid-run", bursts_later(8, False), "ended, block: 32")
    yield Attack(
        "4 clumps", "the same, p = tau (trap)", bursts_later(8, True), "ended, block: 32", trap=True
    )
    yield Attack("5 recovery", "breaker, 20 s open", breaker(20.0, 15.0), "12 of 12 exit 6")


def _warm_ups() -> Iterator[Attack]:
    goals = {50.0: (25.0, 30.0), 200.0: (None, None), 5.0: (None, 180.0)}
    before = {50.0: "84 bad", 200.0: "254 bad", 5.0: ""}
    for rate, (most_bad, most_s) in goals.items():
        build = plain("cliff", asked(search=QUICK, rate_per_s=rate))
        setting = f"cliff at {rate:g}/s"
        yield Attack("6 warm-up", setting, build, before[rate], most_bad=most_bad, most_s=most_s)


def _doses() -> Iterator[Attack]:
    yield Attack("7 dose", "path not used", not_asked, "held in every run", nothing_true=True)
    yield Attack("7 dose", "400 ms more arrive", more_arrives, "")
    yield Attack("7 dose", "checks refused", closed_path, "")


def _rates() -> Iterator[Attack]:
    for per_minute in (60.0, 30.0, 20.0):
        yield Attack("8 rates", f"{per_minute:g}/min, 30 min", low_rate(per_minute), "exit 7")
    yield Attack("8 rates", "30/min, interrupted", low_rate(30.0, True), "exit 7")


def _thresholds() -> Iterator[Attack]:
    limited = replace(QUICK, max_samples=5000)
    yield Attack("9 threshold", "p = tau everywhere", flat(TAU, limited), "")
    yield Attack("9 threshold", "never breaks", flat(CLEAN), "948 requests", most_requests=720.0)
    yield Attack("9 threshold", "never breaks, 0.5 tau", flat(0.5 * TAU), "")
    yield Attack("10 death", "1.3 x, escalation 1.5", mortal(1.3, 1.5), "13 of 20 killed")
    yield Attack("10 death", "1.3 x, escalation 1.25", mortal(1.3, 1.25), "0 of 20 killed")
    yield Attack("11 policy", "quits, block 8", quits(8), "60 of 60 false")


ATTACKS = {attack.key: attack for attack in attacks()}
