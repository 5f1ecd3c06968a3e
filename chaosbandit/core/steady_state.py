"""Severity 0: whether the SLOs hold there before a run, and whether the path is back after a fault.

Windows are counted in samples, and limits in seconds grow with the time that the rate needs to fill
them. Too few samples to tell is not the same as sick.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaosbandit.core.campaign import Campaign, median_latency_s
from chaosbandit.core.events import SteadyStateMeasured
from chaosbandit.core.model import Outcome, Route, Sample
from chaosbandit.core.ratio_tests import interval, log_e_above
from chaosbandit.core.scenario import Scenario

BROKEN_LOG_E = math.log(20.0)  # an anytime-valid 5 % test
STEADY_FACTOR = 5  # steady state is extended up to this many times before it is called not met
FEWEST_CONTROL = 10  # control requests that steady state asks for at least
NOT_FOUND = 404
LEAST_OBJECTIVE = 0.5  # nobody asks for less
RARE = 0.001  # a run of bad samples expected less than this often is no chance
CHECK_WINDOW = 5  # answers of the dependency that vouch for its proxy
WASHOUT_WINDOW, SMALLEST_WINDOW = 10, 4  # samples in a row that must look healthy


# --- before the first fault -----------------------------------------------------------------------


def steady_state(
    campaign: Campaign, seen: Mapping[Route, Sequence[Sample]]
) -> tuple[bool, str] | None:
    """(met, why) of samples at severity 0, or None when more of them are needed."""
    waiting = False
    for route in (Route.CONTROL, Route.CANARY):
        samples, wanted = seen.get(route, ()), steady_wanted(campaign.scenario, route)
        refused = [sample for sample in samples if sample.outcome is Outcome.CONNECT_ERROR]
        if len(refused) == len(samples) >= min(10, wanted):
            return False, f"the {route} route cannot be connected to: nothing listens there"
        for s, slo in enumerate(campaign.slos):
            bad, n = sum(sample.bad[s] for sample in samples), len(samples)
            met = n >= wanted and bad / n <= slo.bad_ratio
            over = n >= STEADY_FACTOR * wanted
            sick = log_e_above(n, bad, slo.bad_ratio) >= BROKEN_LOG_E
            if sick or (not met and over and route is Route.CANARY):
                return False, (
                    f"{slo.name} is not met on the {route} route without any fault: "
                    f"{ratio_text(bad, n)} bad, wanted at most {slo.bad_ratio:.3g}"
                    f"{_example(s, samples)}"
                )
            waiting = waiting or not (met or over)
    return None if waiting else (True, "every SLO holds on control and canary")


def advice(campaign: Campaign) -> str:
    """What to do where an SLO does not hold without any fault; the worse route counts.

    An objective is proposed only as far as it was measured: below the 95 % bound of its good share.
    """
    routes = [campaign.steady_samples.get(route, ()) for route in (Route.CANARY, Route.CONTROL)]
    held: dict[str, float] = {}
    for s, slo in enumerate(campaign.slos):
        seen = [(len(samples), sum(sample.bad[s] for sample in samples)) for samples in routes]
        if worst := [interval(n, bad, 0.05)[1] for n, bad in seen if bad > slo.bad_ratio * n]:
            held[slo.name] = math.floor(1000 * (1 - max(worst))) / 1000
    if any(2 * sum(each.status == NOT_FOUND for each in seen) > len(seen) for seen in routes):
        return f"see whether the paths of traffic.url and control_url are right: {NOT_FOUND}s came"
    if not held or min(held.values()) < LEAST_OBJECTIVE:
        return "see what is wrong with the target: it fails by itself"
    asked = ", ".join(f"objective: {share:.1%} for {name}" for name, share in held.items())
    return f"see why it fails by itself, or ask for what holds here ({asked})"


def steady_wanted(scenario: Scenario, route: Route) -> int:
    """Requests that steady state asks of a route; the control gets no more than its share."""
    wanted = scenario.timing.steady_samples
    if route is Route.CANARY:
        return wanted
    return min(wanted, max(FEWEST_CONTROL, round(wanted * scenario.traffic.control_share)))


def is_clump(run: int, samples: int, ratio: float) -> bool:
    """Whether chance hardly explains a run of bad samples: independent failures at their own ratio.

    An arm that simply fails all the time is no clump.
    """
    return run >= 2 and samples * ratio**run < RARE


def block_length(campaign: Campaign) -> int:
    """Block length m: declared, or 4 times the longest burst of steady state that is no chance."""
    tau, longest = max(slo.bad_ratio for slo in campaign.slos), 0
    for route in (Route.CANARY, Route.CONTROL):
        samples = sorted(campaign.steady_samples.get(route, ()), key=lambda s: s.seq)
        bad, burst = sum(any(sample.bad) for sample in samples), _longest_burst(samples)
        if is_clump(burst, len(samples), max(tau, bad / max(1, len(samples)))):
            longest = max(longest, burst)
    return max(campaign.scenario.search.block or 1, 4 * longest)


def _longest_burst(samples: Sequence[Sample]) -> int:
    longest = run = 0
    for sample in samples:
        run = run + 1 if any(sample.bad) else 0
        longest = max(longest, run)
    return longest


def steady_measured(campaign: Campaign, met: bool, why: str, now_s: float) -> SteadyStateMeasured:
    """The record later exposures are compared with."""
    seen = campaign.steady_samples
    canary, control = seen.get(Route.CANARY, ()), seen.get(Route.CONTROL, ())
    return SteadyStateMeasured(
        met=met,
        why=why,
        control_bad_ratios=tuple(
            sum(sample.bad[s] for sample in control) / max(1, len(control))
            for s in range(len(campaign.slos))
        ),
        block=block_length(campaign),
        canary_p95_s=quantile_s(canary, 0.95),
        canary_less_control_s=(median_latency_s(canary) or 0.0) - (median_latency_s(control) or 0.0)
        if canary and control
        else 0.0,
        check_medians_s={
            proxy: middle_s
            for proxy, checks in campaign.steady_checks.items()
            if (middle_s := arrived_s(checks)) is not None and middle_s > 0.0
        },
        now_s=now_s,
    )


def arrived_s(checks: Sequence[Sample]) -> float | None:
    """What the dependency took through its proxy (median); a check that fails took no dose at all.

    A path that is closed answers at once, one that hangs in its time-out: neither is the latency.
    """
    answered = [each for each in checks if each.outcome is Outcome.RESPONSE]
    return 0.0 if checks and not answered else median_latency_s(answered)


def usual_check_s(campaign: Campaign, proxy: str) -> float | None:
    """What a dependency took in steady state (median), if it was asked."""
    return campaign.steady.check_medians_s.get(proxy) if campaign.steady else None


# --- after a fault --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """What requests at severity 0 showed after a fault was taken off."""

    back: bool
    enough: bool  # False: too few to tell
    why: str


def window(scenario: Scenario) -> int:
    """Samples in a row that must look healthy: fewer where the rate gives few."""
    fitting = round(scenario.traffic.rate_per_s * scenario.timing.washout_s / 3)
    return min(WASHOUT_WINDOW, max(SMALLEST_WINDOW, fitting))


def limit_s(scenario: Scenario, wanted_s: float) -> float:
    """The longest look at the path: as asked, or twice as long as a window takes at this rate."""
    timeout_s = scenario.traffic.timeout_s
    return max(wanted_s, 2 * window(scenario) / scenario.traffic.rate_per_s + timeout_s)


def washed_out(campaign: Campaign, canary: Sequence[Sample], control: Sequence[Sample]) -> Look:
    """Whether the newest severity-0 samples are back in the control band, and what was found."""
    wanted = window(campaign.scenario)
    newest = canary[-wanted:]
    steady_s = campaign.steady.canary_p95_s if campaign.steady else math.inf
    upper_s = 1.25 * max(steady_s, quantile_s(control, 0.95)) + 0.010
    middle_s, bad = median_latency_s(newest) or 0.0, _any_bad(newest)
    well = bad == 0 and middle_s <= upper_s
    found = f"{bad} of the last {len(newest)} bad{_all_alike(newest)}"
    why = f"{found}, median {middle_s * 1000:.0f} ms, band up to {upper_s * 1000:.0f} ms"
    enough = len(newest) == wanted
    return Look(well and enough, enough or not well, why)


def plainly_sick(campaign: Campaign, samples: Sequence[Sample]) -> bool:
    """Whether a whole window of the newest samples, in order of completion, is bad."""
    wanted = window(campaign.scenario)
    return _any_bad(samples[-wanted:]) == wanted


def control_sick(control: Sequence[Sample]) -> bool:
    """Whether half or more of these control samples are bad: then control vouches for nothing."""
    return 2 * _any_bad(control) >= len(control)


def check_well(campaign: Campaign, checks: Sequence[Sample]) -> bool:
    """Whether the dependency's newest answers through its proxy are as fast as in steady state."""
    steady_s = usual_check_s(campaign, campaign.newest.proxy)
    newest = sorted(checks, key=lambda sample: sample.seq)[-CHECK_WINDOW:]
    middle_s = median_latency_s(newest)
    if steady_s is None or middle_s is None or len(newest) < CHECK_WINDOW:
        return False
    answered = all(sample.outcome is Outcome.RESPONSE for sample in newest)
    return answered and middle_s <= 2.0 * steady_s + 0.010


def quantile_s(samples: Sequence[Sample], q: float) -> float:
    """The q-quantile of the latencies, nearest rank, seconds; 0 without samples."""
    ordered = sorted(sample.latency_s for sample in samples)
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)] if ordered else 0.0


def ratio_text(bad: int, n: int) -> str:
    """`3 of 100 (3.00%)`."""
    return f"{bad} of {n}" + (f" ({bad / n:.2%})" if n else "")


def _any_bad(samples: Sequence[Sample]) -> int:
    """How many of the samples are bad in at least one SLO."""
    return sum(any(sample.bad) for sample in samples)


def _all_alike(samples: Sequence[Sample]) -> str:
    """` (all connect-error)`: a target that is gone is told from one that is slow to recover."""
    seen = {sample.told for sample in samples}
    alike = len(seen) == 1 and all(sample.outcome is not Outcome.RESPONSE for sample in samples)
    return f" (all {seen.pop()})" if alike else ""


def _example(slo: int, samples: Sequence[Sample]) -> str:
    """One bad sample in words, so that the operator sees what kind of bad it was."""
    for sample in samples:
        if sample.bad[slo]:
            return f"; for example {sample.told} after {sample.latency_s * 1000:.0f} ms"
    return ""
