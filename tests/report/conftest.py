"""Hand-made runs for the reports: real events through the real fold, without an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import pytest

from chaosbandit.core.campaign import Campaign, apply, begin
from chaosbandit.core.ending import ending
from chaosbandit.core.events import (
    BlockRaised,
    Decided,
    Event,
    ExposureEnded,
    ExposureStarted,
    Observed,
    RunStarted,
    SteadyStateMeasured,
    Stopped,
    WashedOut,
)
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import (
    Cause,
    Dose,
    Expose,
    Health,
    Outcome,
    Phase,
    Purpose,
    Route,
    Sample,
    Stop,
    Validity,
)
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Traffic
from chaosbandit.core.slo import SLI, SLO, ErrorBudget, scored
from chaosbandit.core.topology import topology

LADDER = Ladder("slow-inventory", "inventory", "latency", 0.010, 1.0, 0.10)
PRICES = Ladder("slow-prices", "prices", "latency", 0.020, 0.5, 0.10)
SEARCH = Ladder("slow-search", "search", "latency", 0.010, 1.0, 0.10)
MANY = tuple(replace(SEARCH, name=f"{'very-' * n}slow") for n in range(20))
SLOS = (
    SLO("availability", SLI("status in 2xx-3xx", ((200, 399),)), 0.90),
    SLO("latency", SLI("latency <= 400ms", (), 0.4), 0.90),
)
VALID = Validity(valid=True)


class Story:
    """A run told step by step; `moments` holds every event with the campaign after it."""

    def __init__(
        self,
        requests: int = 20_000,
        cap: float | None = None,
        gate: float = 0.15,
        ladders: tuple[Ladder, ...] = (LADDER,),
        hold_s: float = 1.5,
        max_samples: int | None = None,
        block: int | None = None,
    ):
        scenario = Scenario(
            name="storefront-slow-inventory",
            toxiproxy="http://127.0.0.1:8474",
            topology=topology("canary"),
            proxies=tuple(
                Proxy(ladder.proxy, f"127.0.0.1:900{n}", f"127.0.0.1:910{n}")
                for n, ladder in enumerate(ladders, start=1)
            ),
            traffic=Traffic("http://127.0.0.1:9200/{n}", "http://127.0.0.1:9100/{n}", 50.0, 2.0),
            slos=SLOS,
            budget=ErrorBudget(30 * 86400.0, requests, 0.05),
            ladders=ladders,
            search=Search(hold_s=hold_s, max_samples=max_samples, block=block),
            guardrails=Guardrails(max_severity=cap),
            require={"slow-inventory": gate},
        )
        self.campaign = begin(scenario)
        self.moments: list[tuple[Event, Campaign]] = []
        self.now_s = 100.0
        self._seq = 0
        self._decision = 0

    def tell(self, event: Event) -> Story:
        self.campaign = apply(self.campaign, event)
        self.moments.append((event, self.campaign))
        return self

    def start(self) -> Story:
        return self.tell(
            RunStarted(
                run="3fa9c1",
                name="storefront-slow-inventory",
                seed=7,
                version="0.1.0",
                epoch_s=1.8e9,
                now_s=self.now_s,
                source="version: 1\n",
                server="http://127.0.0.1:8474",
                server_version="2.12.0",
            )
        )

    def send(
        self,
        phase: Phase,
        route: Route,
        good: int,
        bad: int = 0,
        dose_s: float = 0,
        *,
        error: bool = False,
    ) -> Story:
        """Good ones first; bad ones are slow, or errors that come back at once."""
        decision = self._decision if phase is Phase.MEASURE else None
        bad_s, status = (0.05, 503) if error else (0.9, 200)
        for index in range(good + bad):
            self.now_s += 0.02
            self._seq += 1
            latency_s, code = (0.005 + dose_s, 200) if index < good else (bad_s, status)
            sample = Sample(
                self._seq, route, self.now_s, self.now_s, latency_s, Outcome.RESPONSE, code
            )
            self.tell(Observed(phase, decision, (scored(SLOS, sample),)))
        return self

    def steady(self, met: bool = True) -> Story:
        self.send(Phase.STEADY, Route.CONTROL, 40).send(Phase.STEADY, Route.CANARY, 40)
        block = self.campaign.scenario.search.block or 1
        why = "every SLO holds" if met else "latency is not met on the canary route: 30 of 100 bad"
        return self.tell(
            SteadyStateMeasured(
                met, why, (0.01, 0.01), block, 0.006, 0.0, {"inventory": 0.002}, self.now_s
            )
        )

    def inject(
        self, severity: float, purpose: Purpose, samples: int, ladder: Ladder = LADDER
    ) -> Story:
        arm = min(range(len(ladder.severities)), key=lambda a: abs(ladder.severities[a] - severity))
        bets = (0.02, 0.02) if purpose is Purpose.HELD else (0.5, 0.5)
        self._decision += 1
        expose = Expose(ladder.variant(arm), samples, purpose, bets, why="halves the gap")
        self.tell(Decided(self._decision, expose, 0, self.now_s))
        n = len(self.campaign.exposures) + 1
        name = f"cb.3fa9c1.1800000090.{n}.{ladder.proxy}"
        severity = ladder.severities[arm]
        return self.tell(ExposureStarted(n, arm, severity, name, self.now_s, ladder.name))

    def hold(self, severity: float, samples: int) -> Story:
        arm = min(range(len(LADDER.severities)), key=lambda a: abs(LADDER.severities[a] - severity))
        self._decision += 1
        expose = Expose(LADDER.variant(arm), samples, Purpose.HOLD, why="does it stand?")
        return self.tell(Decided(self._decision, expose, 0, self.now_s))

    def expose(
        self,
        severity: float,
        purpose: Purpose,
        good: int,
        bad: int = 0,
        *,
        ladder: Ladder = LADDER,
        felt: float = 1.0,
        void: str = "",
        lost: int = 0,
        error: bool = False,
    ) -> Story:
        self.inject(severity, purpose, good + bad, ladder)
        current = self.campaign.current
        assert current is not None
        dose_s = current.severity * felt
        self.send(Phase.WARMUP, Route.CANARY, 5, dose_s=dose_s)
        self.send(Phase.MEASURE, Route.CONTROL, 10)
        self.send(Phase.MEASURE, Route.CHECK, 3, dose_s=current.severity)
        self.send(Phase.MEASURE, Route.CANARY, good, bad, dose_s, error=error)
        self.send(Phase.WASHOUT, Route.CANARY, 10)
        self.tell(WashedOut(current.n, True, "0 of the last 10 bad", False, True, self.now_s))
        return self.end(dose_s, Validity(not void, void), lost)

    def end(self, felt: float | None, validity: Validity = VALID, lost: int = 0) -> Story:
        current = self.campaign.current
        assert current is not None
        return self.tell(
            ExposureEnded(
                n=current.n,
                arm=current.arm,
                validity=validity,
                dose=Dose(current.severity, current.severity + 0.001, felt),
                health=Health(0.002, 0.1, 0),
                lost=lost,
                halted=None,
                now_s=self.now_s,
            )
        )

    def stop(self, reason: str, cause: Cause, *, dirty: str = "") -> Story:
        end = ending(self.campaign, cause)
        self.tell(Decided(self._decision + 1, Stop(reason, end.answered, cause), 0, self.now_s))
        why = dirty or "the data path is back in the control band"
        code = end.exit_code
        return self.tell(
            Stopped(reason, end.answered, code, not dirty, why, self.now_s, cause=cause)
        )


class Told(NamedTuple):
    campaign: Campaign
    moments: list[tuple[Event, Campaign]]


class Tell(Protocol):
    def __call__(self, name: str) -> Told: ...


def _answered(story: Story) -> Story:
    story.start().steady()
    story.expose(0.1, Purpose.SEARCH, 20).expose(0.19, Purpose.HELD, 80)
    return story.expose(0.205, Purpose.BROKE, 0, 12).stop("the bracket is closed", Cause.BRACKETED)


def _open(story: Story) -> Story:
    story.start().steady().expose(0.1, Purpose.HELD, 80)
    return story.expose(0.4, Purpose.BROKE, 0, 12).stop("search.max_duration is over", Cause.TIME)


def _held_at_cap(story: Story) -> Story:
    held = LADDER.severities[-1]
    story.start().steady().expose(held, Purpose.HELD, 80, felt=0.2)
    return story.stop("the harshest severity allowed holds", Cause.HELD_AT_CAP)


def _broke_at_once(story: Story) -> Story:
    story.start().steady().expose(LADDER.severities[0], Purpose.BROKE, 0, 12)
    return story.stop("the mildest severity breaks", Cause.BROKE_AT_MILDEST)


def _out_of_budget(story: Story) -> Story:
    story.start().steady().expose(0.19, Purpose.HELD, 30, 1).expose(0.25, Purpose.SEARCH, 10, 3)
    return story.stop("the error budget of this run has 1 bad request left", Cause.BUDGET)


def _interrupted(story: Story) -> Story:
    story.start().steady().expose(0.1, Purpose.HELD, 80)
    story.expose(0.3, Purpose.SEARCH, 5, 2, void="interrupted with 4 requests in flight", lost=4)
    return story.stop("interrupted by the operator", Cause.INTERRUPTED)


def _guardrail(story: Story) -> Story:
    story.start().steady().expose(0.1, Purpose.HELD, 80)
    return story.stop("120 ms is above guardrails.max_severity 100 ms", Cause.CAPPED)


def _not_exercised(story: Story) -> Story:
    story.start().steady()
    story.expose(0.1, Purpose.HELD, 80, felt=0.0).expose(1.0, Purpose.HELD, 80, felt=0.0)
    return story.stop("path not exercised", Cause.NOT_EXERCISED)


def _not_steady(story: Story) -> Story:
    return (
        story.start()
        .steady(met=False)
        .stop("latency is not met on the canary route", Cause.STEADY_STATE)
    )


def _not_clean(story: Story) -> Story:
    dirty = "could not remove cb.3fa9c1.1800000090.1.inventory\n  curl -X DELETE http://..."
    return (
        story.start()
        .steady()
        .expose(0.1, Purpose.HELD, 80)
        .stop(dirty, Cause.NOT_CLEAN, dirty=dirty)
    )


def _void(story: Story) -> Story:
    story.start().steady()
    for _ in range(3):
        story.expose(0.1, Purpose.HELD, 20, void="not delivered: 3 ms of 100 ms arrived")
    return story.stop("3 void exposures in a row", Cause.HARNESS)


def _not_stood(story: Story) -> Story:
    story.start().steady().inject(0.19, Purpose.HELD, 150)
    story.send(Phase.MEASURE, Route.CANARY, 150, dose_s=0.19)
    story.hold(0.19, 50).send(Phase.MEASURE, Route.CANARY, 0, 20).end(0.19)
    story.expose(0.205, Purpose.BROKE, 0, 12).expose(0.205, Purpose.SEARCH, 0, 3)
    return story.stop("did not stand", Cause.NOT_STOOD)


def _not_repeated(story: Story) -> Story:
    story.start().steady().expose(0.1, Purpose.HELD, 80)
    story.expose(0.205, Purpose.BROKE, 0, 6).expose(0.205, Purpose.SEARCH, 60)
    return story.stop("did not repeat", Cause.NOT_REPEATED)


def _late(story: Story) -> Story:
    """Fails late at a severity that was never certified; the budget is spent over it."""
    story.start().steady().expose(0.1, Purpose.SEARCH, 150, 12)
    return story.stop("the error budget of this run is spent", Cause.BUDGET)


def _early(story: Story) -> Story:
    """Fails in the first moments only."""
    story.start().steady().inject(0.1, Purpose.HELD, 200)
    story.send(Phase.MEASURE, Route.CANARY, 0, 4).send(Phase.MEASURE, Route.CANARY, 200)
    return story.end(0.1).stop("gave up", Cause.INCONCLUSIVE)


def _clumps(story: Story) -> Story:
    story.start().steady().expose(0.19, Purpose.HELD, 80).tell(BlockRaised(24, 6, story.now_s))
    return story.stop("search.max_samples (80) are spent", Cause.SAMPLES)


def _dead(story: Story) -> Story:
    story.start().steady().inject(0.1, Purpose.HELD, 80)
    story.send(Phase.MEASURE, Route.CONTROL, 2, 8, error=True)
    blind = Validity(False, "the control route broke availability meanwhile: 8 of 10", blind=True)
    story.tell(WashedOut(1, False, "10 of the last 10 bad", True, False, story.now_s))
    return story.end(0.1, blind).stop("the target did not come back", Cause.TARGET)


def _slow_recovery(story: Story) -> Story:
    story.start().steady().expose(0.1, Purpose.HELD, 80)
    story.tell(WashedOut(1, False, "10 of the last 10 bad", False, False, story.now_s))
    return story.stop("the target did not come back to normal", Cause.TARGET)


def _too_soon(story: Story) -> Story:
    story.start().steady().expose(0.19, Purpose.HELD, 80)
    return story.expose(0.205, Purpose.BROKE, 0, 12, error=True).stop("closed", Cause.BRACKETED)


def _once_too_soon(story: Story) -> Story:
    """A few early failures among those that the dose explains."""
    story.start().steady().expose(0.19, Purpose.HELD, 80).inject(0.205, Purpose.BROKE, 12)
    story.send(Phase.MEASURE, Route.CANARY, 0, 6, 0.205, error=True)
    story.send(Phase.MEASURE, Route.CANARY, 0, 6, 0.205)
    return story.end(0.205).stop("closed", Cause.BRACKETED)


def _held(story: Story) -> Story:
    """A hold in progress: the arm has stood for a part of what is asked."""
    story.start().steady().expose(0.1, Purpose.HELD, 80).inject(0.19, Purpose.HELD, 80)
    story.send(Phase.MEASURE, Route.CANARY, 80, dose_s=0.19)
    for _ in range(2):
        story.hold(0.19, 50).send(Phase.MEASURE, Route.CANARY, 50, dose_s=0.19)
    return story


def _gate_inside(story: Story) -> Story:
    story.start().steady().expose(0.145, Purpose.HELD, 80)
    return story.expose(0.155, Purpose.BROKE, 0, 12).stop("closed", Cause.BRACKETED)


def _cut_off(story: Story) -> Story:
    return story.start().steady().inject(0.1, Purpose.HELD, 80)


def _two(story: Story) -> Story:
    """Both bracketed; the second ladder's ends are severities that the first has as well."""
    story.start().steady()
    story.expose(0.19, Purpose.HELD, 80).expose(0.02, Purpose.HELD, 80, ladder=PRICES)
    story.expose(0.205, Purpose.BROKE, 0, 12).expose(0.022, Purpose.BROKE, 0, 12, ladder=PRICES)
    return story.stop("slow-inventory: closed; slow-prices: closed", Cause.BRACKETED)


def _one_of_three(story: Story) -> Story:
    story.start().steady()
    story.expose(0.19, Purpose.HELD, 80).expose(0.205, Purpose.BROKE, 0, 12)
    story.expose(0.1, Purpose.HELD, 60, ladder=PRICES).expose(
        0.2, Purpose.SEARCH, 10, ladder=PRICES
    )
    return story.stop("the error budget of this run has 1 bad request left", Cause.BUDGET)


def _alike(story: Story) -> Story:
    """Two ladders of the same severities; what is felt of them differs."""
    story.start().steady().expose(0.19, Purpose.HELD, 80)
    story.expose(0.19, Purpose.HELD, 90, ladder=SEARCH, felt=0.5)
    return story.stop("search.max_duration is over", Cause.TIME)


def _one_not_exercised(story: Story) -> Story:
    story.start().steady()
    story.expose(0.19, Purpose.HELD, 80).expose(0.205, Purpose.BROKE, 0, 12)
    story.expose(0.1, Purpose.HELD, 80, ladder=PRICES, felt=0.0)
    story.expose(0.5, Purpose.HELD, 80, ladder=PRICES, felt=0.0)
    return story.stop("path not exercised for slow-prices", Cause.NOT_EXERCISED)


STORIES: dict[str, tuple[Callable[[Story], Story], Callable[[], Story]]] = {
    "answered": (_answered, Story),
    "open": (_open, Story),
    "held at the cap": (_held_at_cap, Story),
    "broke at once": (_broke_at_once, Story),
    "out of budget": (_out_of_budget, lambda: Story(requests=1000)),
    "interrupted": (_interrupted, Story),
    "guardrail": (_guardrail, lambda: Story(cap=0.11)),
    "not exercised": (_not_exercised, Story),
    "not steady": (_not_steady, Story),
    "not clean": (_not_clean, Story),
    "void": (_void, Story),
    "not stood": (_not_stood, Story),
    "not repeated": (_not_repeated, Story),
    "late": (_late, Story),
    "early": (_early, Story),
    "clumps": (_clumps, lambda: Story(max_samples=80)),
    "dead": (_dead, Story),
    "slow recovery": (_slow_recovery, Story),
    "too soon": (_too_soon, Story),
    "half of it too soon": (_once_too_soon, Story),
    "holding": (_held, lambda: Story(hold_s=15.0)),
    "stood too short": (_answered, lambda: Story(hold_s=15.0)),
    "gate inside": (_gate_inside, Story),
    "cut off": (_cut_off, Story),
    "two ladders": (_two, lambda: Story(ladders=(LADDER, PRICES))),
    "one of three": (
        _one_of_three,
        lambda: Story(requests=2600, ladders=(LADDER, PRICES, SEARCH)),
    ),
    "many": (lambda story: story.start().steady(), lambda: Story(ladders=MANY)),
    "alike": (_alike, lambda: Story(ladders=(LADDER, SEARCH))),
    "one not exercised": (_one_not_exercised, lambda: Story(ladders=(LADDER, PRICES))),
}


@pytest.fixture(scope="session")
def tell() -> Tell:
    told: dict[str, Told] = {}

    def tell_it(name: str) -> Told:
        if name not in told:
            plot, made = STORIES[name]
            story = plot(made())
            told[name] = Told(story.campaign, story.moments)
        return told[name]

    return tell_it
