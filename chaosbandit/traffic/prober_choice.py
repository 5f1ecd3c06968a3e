"""Which prober a scenario needs: in this process, or in so many of its own, by what a run sends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chaosbandit.core.scenario import Scenario, Traffic
from chaosbandit.traffic.multiprocess_prober import MultiprocessProber
from chaosbandit.traffic.prober import OpenLoopProber

if TYPE_CHECKING:
    from chaosbandit.ports import Clock

WITHIN_PER_S = 200.0  # traffic.rate up to which engine and prober share a process
OF_ONE_PER_S = 1000.0  # traffic.rate that one process sends beside its control requests


def processes(rate_per_s: float) -> int:
    """How many processes of its own the prober has at this `traffic.rate`."""
    return 0 if rate_per_s <= WITHIN_PER_S else math.ceil(rate_per_s / OF_ONE_PER_S)


def prober_of(scenario: Scenario, clock: Clock) -> OpenLoopProber | MultiprocessProber:
    """The prober of a run."""
    return prober_for(scenario.traffic, clock, _checks(scenario), _check_timeout_s(scenario))


def prober_for(
    traffic: Traffic,
    clock: Clock,
    checks: Mapping[str, str] | None = None,
    check_timeout_s: float | None = None,
) -> OpenLoopProber | MultiprocessProber:
    """The prober for this traffic."""
    wanted, checks = processes(traffic.rate_per_s), checks or {}
    if wanted == 0:
        return OpenLoopProber(traffic, checks, clock, check_timeout_s)
    return MultiprocessProber(traffic, checks, clock, check_timeout_s, wanted)


def _check_timeout_s(scenario: Scenario) -> float:
    """Long enough for the harshest dose to be seen arriving."""
    return scenario.traffic.timeout_s + max(
        ladder.dose.longest_s(ladder.severities[-1]) for ladder in scenario.ladders
    )


def _checks(scenario: Scenario) -> dict[str, str]:
    """Where the dependency behind each proxy with a `check` answers."""
    proxies = (scenario.proxy(ladder.proxy) for ladder in scenario.ladders)
    return {proxy.name: proxy.check for proxy in proxies if proxy.check is not None}
