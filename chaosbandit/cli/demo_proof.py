"""`demo` and `demo --prove`: the search on its own services, and its answer measured anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from chaosbandit.cli.demo_services import Stage, standing
from chaosbandit.cli.interrupts import interruptible
from chaosbandit.cli.wiring import Finished, RunOptions, new_run, run_scenario
from chaosbandit.core.model import Bracket, Route, Sample, Variant
from chaosbandit.core.ratio_tests import interval
from chaosbandit.core.scenario import Scenario
from chaosbandit.errors import ChaosbanditError, Exit
from chaosbandit.ports import Signal
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.scenario import Loaded
from chaosbandit.toxiproxy.injector import ToxiproxyInjector
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.prober import OpenLoopProber


def perform(options: RunOptions, server: str | None, prove_samples: int) -> int:
    """Run the demo scenario on a fresh stage; with `prove_samples`, measure its answer."""
    with standing(server, options.seed) as stage:
        loaded = stage.loaded()
        finished = run_scenario(loaded, replace(options, own_server=server is None))
        code = finished.exit_code
        if prove_samples and code in (Exit.ANSWERED, Exit.GATE_FAILED):
            code = max(code, _proved(stage, loaded, finished, prove_samples))
        return code


def _proved(stage: Stage, loaded: Loaded, finished: Finished, samples: int) -> int:
    """The result is out by now, so what goes wrong here is told on stderr alone."""
    try:
        return _measured(stage, loaded.scenario, finished.brackets, samples)
    except ChaosbanditError as error:
        sys.stderr.write(f"chaosbandit: the bracket could not be measured anew: {error}\n")
        return error.exit_code


def _measured(stage: Stage, scenario: Scenario, brackets: Sequence[Bracket], samples: int) -> int:
    """Inject each end of each ladder's bracket for long and print the bad ratios on stderr."""
    return interruptible(lambda _: _prove(stage, scenario, brackets, samples))


async def _prove(
    stage: Stage, scenario: Scenario, brackets: Sequence[Bracket], samples: int
) -> int:
    ends = [
        (ladder, end)
        for ladder, bracket in zip(scenario.ladders, brackets, strict=True)
        for end in (bracket.held, bracket.broke)
        if end is not None
    ]
    _say(f"measuring {len(ends)} fixed latencies with {samples} requests each:")
    for ladder, severity in ends:
        variant = ladder.variant(ladder.severities.index(severity))
        bad = await bad_counts(stage.server, scenario, variant, samples)
        for slo, count in zip(scenario.slos, bad, strict=True):
            low, high = interval(samples, count, 0.05)
            _say(
                f"  {ladder.text(severity):>8}  {slo.name}: {count} of {samples} bad = "
                f"{count / samples:.2%} (95 % between {low:.2%} and {high:.2%}, "
                f"allowed {slo.bad_ratio:.2%})"
            )
    return Exit.ANSWERED


async def bad_counts(
    server: str, scenario: Scenario, variant: Variant, samples: int
) -> tuple[int, ...]:
    """Bad requests per SLO of `samples` at one variant, after a warm-up of a second."""
    run, clock = new_run(), SystemClock()
    lasts_s = samples / scenario.traffic.rate_per_s + 10
    patient = replace(scenario.guardrails, max_exposure_s=lasts_s)
    async with AsyncExitStack() as stack:
        guard = await stack.enter_async_context(RunGuard(run, FaultLedger()))
        injector = ToxiproxyInjector(replace(scenario, guardrails=patient), run, server, guard)
        await injector.preflight()
        await stack.enter_async_context(injector.paths())
        prober = await stack.enter_async_context(OpenLoopProber(scenario.traffic, {}, clock))
        await stack.enter_async_context(injector.inject(injector.plan(variant)))
        warmup = round(scenario.traffic.rate_per_s)
        seen = await _send(prober, scenario, warmup + samples)
    measured = sorted(seen, key=lambda sample: sample.seq)[warmup:]
    return tuple(sum(not slo.sli.good(s) for s in measured) for slo in scenario.slos)


async def _send(prober: OpenLoopProber, scenario: Scenario, n: int) -> list[Sample]:
    left = n

    def feed(seq: int) -> Route | Signal:
        nonlocal left
        left -= 1
        return Route.CANARY if left >= 0 else Signal.END

    return [s async for s in prober.stream(feed, scenario.traffic.rate_per_s, {})]


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
