"""Requests at severity 0 and the streams all others use: steady state, wash-out, the mix of routes.

The other half of the engine's hands: `sending` serves an exposure, this what comes before and after
one. It records what it sees and says what it found; the engine decides what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing

from chaosbandit.core import guardrail, judge
from chaosbandit.core.campaign import Campaign, Event, Observed, WashedOut
from chaosbandit.core.dispatch import Mix
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Phase, Route, Sample
from chaosbandit.core.scenario import Scenario
from chaosbandit.errors import HarnessError, SteadyStateError, TargetError
from chaosbandit.ports import Clock, Feed, Prober, Signal

SICK_PAUSE_S = 0.25  # between wash-out requests to a canary that only fails
CHECKS_PER_S = 2.0  # requests that measure the delivered dose


class Probing:
    """Sends through the paths of one run; `clean_via` is where severity 0 connects to in `edge`."""

    def __init__(
        self,
        scenario: Scenario,
        clock: Clock,
        prober: Prober,
        campaign: Callable[[], Campaign],
        record: Callable[[Event], None],
    ) -> None:
        self.scenario, self.clock, self.prober = scenario, clock, prober
        self.campaign, self.record = campaign, record
        self.clean_via: Mapping[Route, str] = {}

    async def steady_state(self) -> None:
        """All SLOs on control and canary first; if they are not met nothing is injected."""
        met, why = await self._both_routes(Phase.STEADY)
        if met:
            await self._other_checks()
        self.record(judge.steady_measured(self.campaign(), met, why, self.clock.now_s()))
        if not met:
            raise SteadyStateError(f"steady state not met, nothing was injected: {why}")

    async def _other_checks(self) -> None:
        """How fast the dependencies answer that the first look at steady state did not ask."""
        first = self.scenario.ladders[0].proxy
        for proxy in dict.fromkeys(ladder.proxy for ladder in self.scenario.ladders):
            if proxy == first or self.scenario.proxy(proxy).check is None:
                continue
            asked = 0

            def feed(seq: int) -> Route | Signal:
                nonlocal asked
                asked += 1
                return Route.CHECK if asked <= judge.CHECK_WINDOW else Signal.END

            def receive(sample: Sample, proxy: str = proxy) -> None:
                self.record(Observed(Phase.STEADY, None, (sample,), proxy))

            await self.stream(feed, receive, {}, proxy)

    async def still_steady(self) -> None:
        """The same once more before a breaking point is named: did the target change by itself?

        Raises:
            TargetError: an SLO is missed at severity 0, so what broke may not be the dose's doing.
        """
        met, why = await self._both_routes(Phase.WASHOUT)
        if not met:
            raise TargetError(
                "the target changed during the run, so what broke may not be the dose's doing: "
                f"at severity 0, after the last fault, {why}"
            )

    async def _both_routes(self, phase: Phase) -> tuple[bool, str]:
        """Ask canary and control alike until it is clear whether the SLOs hold at severity 0."""
        wanted = self.scenario.timing.steady_samples
        mix = self.mix(control=1.0)
        sent = dict.fromkeys(Route, 0)
        seen: dict[Route, list[Sample]] = {route: [] for route in Route}
        asked, verdict = wanted, judge.steady_state(self.campaign(), seen)

        def feed(seq: int) -> Route | Signal:
            nonlocal asked, verdict
            out = sum(sent[r] - len(seen[r]) for r in (Route.CANARY, Route.CONTROL))
            verdict = judge.steady_state(self.campaign(), seen)
            if verdict is not None:  # bad requests finish last: met only once all have
                return Signal.SKIP if verdict[0] and out else Signal.END
            if min(sent[Route.CANARY], sent[Route.CONTROL]) >= asked:
                asked += 0 if out else wanted
                return Signal.SKIP
            route = mix.next()
            waiting = sent[Route.CANARY] - len(seen[Route.CANARY])
            left = self.campaign().budget_left()
            if route is Route.CANARY and waiting >= left:
                verdict = verdict if left > 0 else (False, "the run's error budget is spent")
                return Signal.SKIP if left > 0 else Signal.END
            sent[route] += 1
            return route

        def receive(sample: Sample) -> None:
            seen[sample.route].append(sample)
            checked = self._faced().proxy if sample.route is Route.CHECK else ""
            self.record(Observed(phase, None, (sample,), checked))

        await self.stream(feed, receive, {})
        overloads = self.prober.health().overloads
        if overloads:
            raise HarnessError(
                f"the prober could not send {overloads} requests at severity 0; lower "
                "traffic.rate or raise this machine's limit of open files"
            )
        return verdict or (False, "steady state could not be measured")

    async def wash_out(self, n: int, limit_s: float) -> tuple[bool, str]:
        """Severity-0 samples until the control band is reached again, or `limit_s` is over."""
        mix, began_s = self.mix(), self.clock.now_s()
        seen: dict[Route, list[Sample]] = {route: [] for route in Route}
        out, last_s = dict.fromkeys(Route, 0), dict.fromkeys(Route, began_s)
        budget = self.campaign().budget_left()

        def found() -> tuple[bool, str]:
            canary = sorted(seen[Route.CANARY], key=lambda sample: sample.seq)
            return judge.washed_out(self.campaign(), canary, seen[Route.CONTROL])

        def feed(seq: int) -> Route | Signal:
            gone = (self.clock.now_s() - began_s) / limit_s
            waiting = out[Route.CANARY] - len(seen[Route.CANARY])
            if gone >= 1.0:
                return Signal.END
            if found()[0]:  # bad requests finish last: back only once all have
                return Signal.SKIP if waiting else Signal.END
            route = mix.next()
            if out[route] - len(seen[route]) >= self.scenario.guardrails.max_unresolved:
                return Signal.SKIP
            if route is Route.CANARY and not affordable(waiting, gone):
                return Signal.SKIP
            out[route] += 1
            last_s[route] = self.clock.now_s()
            return route

        def affordable(waiting: int, gone: float) -> bool:
            left = self.campaign().budget_left()
            sick = judge.plainly_sick(self.campaign(), seen[Route.CANARY])
            pause_s = SICK_PAUSE_S if sick else 0.0
            rested = self.clock.now_s() - last_s[Route.CANARY] >= pause_s
            return rested and guardrail.affords_probe(budget, left, waiting, gone)

        def receive(sample: Sample) -> None:
            seen[sample.route].append(sample)
            self.record(Observed(Phase.WASHOUT, None, (sample,)))

        await self.stream(feed, receive, {})
        back, why = found()
        sick = judge.control_sick(self.campaign(), seen[Route.CONTROL])
        well = judge.check_well(self.campaign(), seen[Route.CHECK])
        self.record(WashedOut(n, back, why, sick, well, self.clock.now_s()))
        return back, why

    async def stream(
        self,
        feed: Feed,
        receive: Callable[[Sample], None],
        via: Mapping[Route, str],
        check: str | None = None,
    ) -> None:
        """Send what `feed` says at the scenario's rate; `via` goes before `clean_via`.

        The route CHECK asks the dependency behind the proxy `check`, else that of the ladder faced.
        """
        self.prober.look_at(check or self._faced().proxy)
        rate_per_s = self.scenario.traffic.rate_per_s * sum(self._weights().values())
        async with aclosing(
            self.prober.stream(feed, rate_per_s, {**self.clean_via, **via})
        ) as samples:
            async for sample in samples:
                receive(sample)

    def _faced(self) -> Ladder:
        return self.campaign().ladder

    def _weights(self) -> dict[Route, float]:
        """Requests per canary request on each route."""
        traffic = self.scenario.traffic
        checked = self.scenario.proxy(self._faced().proxy).check is not None
        return {
            Route.CANARY: 1.0,
            Route.CONTROL: traffic.control_share,
            Route.CHECK: min(0.2, CHECKS_PER_S / traffic.rate_per_s) if checked else 0.0,
        }

    def mix(self, control: float | None = None) -> Mix:
        """Routes in the run's proportions, or with another share of control requests."""
        weights = self._weights()
        return Mix(weights if control is None else weights | {Route.CONTROL: control})
