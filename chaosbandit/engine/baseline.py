"""Requests at severity 0: steady state before all faults, wash-out between, the path afterwards.

It records what it sees and says what it found; the loop decides what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing

from chaosbandit.core import guardrail, steady_state
from chaosbandit.core.events import WashedOut
from chaosbandit.core.model import Phase, Route, Sample
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.slo import scored
from chaosbandit.core.steady_state import Look
from chaosbandit.engine.recorder import Recorder
from chaosbandit.engine.sample_order import Mix
from chaosbandit.errors import HarnessError, SteadyStateError, TargetError
from chaosbandit.ports import Clock, Feed, Prober, Signal

SICK_PAUSE_S = 0.25  # between wash-out requests to a canary that only fails


class Baseline:
    """Sends through the paths of one run; `clean_via` is where severity 0 connects to in `edge`."""

    def __init__(
        self, scenario: Scenario, clock: Clock, prober: Prober, recorder: Recorder
    ) -> None:
        self.scenario, self.clock, self.prober = scenario, clock, prober
        self.recorder = recorder
        self.clean_via: Mapping[Route, str] = {}

    async def steady_state(self) -> None:
        """All SLOs on control and canary first; if they are not met nothing is injected."""
        await self._warm_up()
        met, why = await self._both_routes(Phase.STEADY)
        if met:
            await self._other_checks()
        now_s = self.clock.now_s()
        self.recorder.record(steady_state.steady_measured(self.recorder.campaign, met, why, now_s))
        if not met:
            raise SteadyStateError(
                f"steady state not met, nothing was injected: {why}",
                do=steady_state.advice(self.recorder.campaign),
            )

    async def _warm_up(self) -> None:
        """First requests open connections and fill caches: they say nothing of steady state."""
        budget = self.recorder.campaign.budget_left()
        left = min(guardrail.warmup_samples(self.scenario), budget)
        mix = self.mix()

        def feed(seq: int) -> Route | Signal:
            nonlocal left
            route = mix.next()
            left -= route is Route.CANARY
            return route if left >= 0 else Signal.END

        await self.stream(feed, lambda sample: self.recorder.observe(Phase.WARMUP, sample), {})

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
                return Route.CHECK if asked <= steady_state.CHECK_WINDOW else Signal.END

            def receive(sample: Sample, proxy: str = proxy) -> None:
                self.recorder.observe(Phase.STEADY, sample, proxy=proxy)

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
        """Ask canary and control until it is clear whether the SLOs hold at severity 0."""
        recorder, routes = self.recorder, (Route.CANARY, Route.CONTROL)
        asked = {route: steady_state.steady_wanted(self.scenario, route) for route in routes}
        more = dict(asked)
        sent = dict.fromkeys(Route, 0)
        seen: dict[Route, list[Sample]] = {route: [] for route in Route}
        share = asked[Route.CONTROL] / asked[Route.CANARY]
        mix = Mix(self._weights() | {Route.CONTROL: share})
        verdict = steady_state.steady_state(recorder.campaign, seen)

        def feed(seq: int) -> Route | Signal:
            nonlocal verdict
            out = sum(sent[r] - len(seen[r]) for r in routes)
            verdict = steady_state.steady_state(recorder.campaign, seen)
            if verdict is not None:  # bad requests finish last: met only once all have
                return Signal.SKIP if verdict[0] and out else Signal.END
            if all(sent[route] >= asked[route] for route in routes):
                for route in routes:
                    asked[route] += 0 if out else more[route]
                return Signal.SKIP
            route = mix.next()
            waiting = sent[Route.CANARY] - len(seen[Route.CANARY])
            left = recorder.campaign.budget_left()
            if route is Route.CANARY and waiting >= left:
                verdict = verdict if left > 0 else (False, "the run's error budget is spent")
                return Signal.SKIP if left > 0 else Signal.END
            sent[route] += 1
            return route

        def receive(sample: Sample) -> None:
            seen[sample.route].append(sample)
            checked = recorder.campaign.newest.proxy if sample.route is Route.CHECK else ""
            recorder.observe(phase, sample, proxy=checked)

        await self.stream(feed, receive, {})
        overloads = self.prober.health().overloads
        if overloads:
            raise HarnessError(
                f"the prober could not send {overloads} requests at severity 0",
                do="lower traffic.rate or raise this machine's limit of open files",
            )
        return verdict or (False, "steady state could not be measured")

    async def wash_out(self, n: int, wanted_s: float) -> Look:
        """Severity-0 samples until the control band is reached again, or the time for it is over.

        `wanted_s` grows where the rate needs more time to fill a window.
        """
        recorder, limit_s = self.recorder, steady_state.limit_s(self.scenario, wanted_s)
        mix, began_s = self.mix(), self.clock.now_s()
        seen: dict[Route, list[Sample]] = {route: [] for route in Route}
        out, last_s = dict.fromkeys(Route, 0), dict.fromkeys(Route, began_s)
        budget = recorder.campaign.budget_left()

        def found() -> Look:
            canary = sorted(seen[Route.CANARY], key=lambda sample: sample.seq)
            return steady_state.washed_out(recorder.campaign, canary, seen[Route.CONTROL])

        def feed(seq: int) -> Route | Signal:
            gone = (self.clock.now_s() - began_s) / limit_s
            waiting = out[Route.CANARY] - len(seen[Route.CANARY])
            if gone >= 1.0:
                return Signal.END
            if found().back:  # bad requests finish last: back only once all have
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
            left = recorder.campaign.budget_left()
            sick = steady_state.plainly_sick(recorder.campaign, seen[Route.CANARY])
            pause_s = SICK_PAUSE_S if sick else 0.0
            rested = self.clock.now_s() - last_s[Route.CANARY] >= pause_s
            return rested and guardrail.affords_probe(budget, left, waiting, gone)

        def receive(sample: Sample) -> None:
            seen[sample.route].append(sample)
            recorder.observe(Phase.WASHOUT, sample)

        await self.stream(feed, receive, {})
        look = found()
        sick = steady_state.control_sick(seen[Route.CONTROL])
        well = steady_state.check_well(recorder.campaign, seen[Route.CHECK])
        now_s = self.clock.now_s()
        recorder.record(WashedOut(n, look.back, look.why, sick, well, now_s, look.enough))
        return look

    async def stream(
        self,
        feed: Feed,
        receive: Callable[[Sample], None],
        via: Mapping[Route, str],
        check: str | None = None,
    ) -> None:
        """Send what `feed` says at the scenario's rate; what `receive` gets is scored.

        `via` goes before `clean_via`. The route CHECK asks the dependency behind the proxy
        `check`, else that of the newest ladder.
        """
        self.prober.look_at(check or self.recorder.campaign.newest.proxy)
        rate_per_s = self.scenario.traffic.rate_per_s * sum(self._weights().values())
        slos = self.recorder.campaign.slos
        async with aclosing(
            self.prober.stream(feed, rate_per_s, {**self.clean_via, **via})
        ) as samples:
            async for sample in samples:
                receive(scored(slos, sample))

    def _weights(self, proxy: str | None = None) -> dict[Route, float]:
        """Requests per canary request on each route."""
        traffic, proxy = self.scenario.traffic, proxy or self.recorder.campaign.newest.proxy
        checked = self.scenario.proxy(proxy).check is not None
        return {
            Route.CANARY: 1.0,
            Route.CONTROL: traffic.control_share,
            Route.CHECK: guardrail.check_share(self.scenario) if checked else 0.0,
        }

    def mix(self, proxy: str | None = None) -> Mix:
        """Routes in the run's proportions; checks ask the dependency of a proxy, or the newest."""
        return Mix(self._weights(proxy))
