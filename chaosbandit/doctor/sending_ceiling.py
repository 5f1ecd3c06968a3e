"""How fast this machine can send: the run's own prober against a server that answers at once.

The ceiling is the highest rate at which requests still leave on time, that is with a scheduling
lag below what the scenario's latency bound allows. It is measured with nothing else going on here:
by `doctor` with rising rates, and before a fast run at twice what that sends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from chaosbandit.child_server import module_as_server
from chaosbandit.core.model import Health, Outcome, Route
from chaosbandit.core.scenario import Scenario, Traffic
from chaosbandit.deadline_thread import awaited_within
from chaosbandit.doctor.findings import Finding, Level, fail, ok, warn
from chaosbandit.doctor.machine_load import eased, is_busy
from chaosbandit.errors import HarnessError
from chaosbandit.ports import Prober, Signal
from chaosbandit.report.numbers_in_words import duration
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.prober_choice import prober_for, processes

RATES_PER_S = (50, 100, 200, 400, 800, 1600, 2400)
FASTER_PER_S = (3600, 4800, 7200)  # tried only for a scenario that may need them
STEP_S = 0.5
LAG_S = 0.020  # allowed where no scenario says: 5 % of 400 ms
MISSED_SHARE = 0.01
TRIES = 2  # one hiccup of the machine is no ceiling
NEEDED_TRIES = 4  # at rates that the scenario depends on
ENOUGH_S = 6.0  # after this no higher rate is tried
_LOOK_S = 2.0  # longest for seeing whether others use the machine
_MODULE = "chaosbandit.doctor.ceiling_server"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The highest rate that was kept (0: none), and what ended the search."""

    kept_per_s: int
    missed_per_s: int | None = None  # the first rate that was not kept
    missed_by: str = ""


async def findings(scenario: Scenario | None) -> list[Finding]:
    """The ceiling, and whether the scenario stays well below it."""
    bound_s = LAG_S if scenario is None else scenario.lag_bound_s
    was_busy = await awaited_within(_LOOK_S, is_busy)
    kept = await measured(bound_s, 0.0 if scenario is None else scenario.traffic.rate_per_s)
    found = judged(kept, bound_s, scenario)
    # What the machine could not do while others used it, it may do when they do not.
    if found.level is Level.FAIL and (was_busy or await awaited_within(_LOOK_S, is_busy)):
        return [eased(found)]
    return [found]


async def refuse_above_half(scenario: Scenario) -> None:
    """Before a run that is fast enough for the prober to need processes of its own.

    Raises:
        HarnessError: it sends more than half of what this machine can.
    """
    if not processes(scenario.traffic.rate_per_s):
        return
    twice, bound_s = math.ceil(2 * scenario.traffic.sent_per_s), scenario.lag_bound_s
    if (await measured(bound_s, scenario.traffic.rate_per_s, (twice,))).missed_per_s is None:
        return
    found = judged(await measured(bound_s, scenario.traffic.rate_per_s), bound_s, scenario)
    if found.level is Level.FAIL:
        raise HarnessError(
            f"this machine is too slow for traffic.rate ({scenario.traffic.rate_per_s:g}/s), so "
            f"nothing was injected: found that {found.found}, wanted {found.wanted}; {found.do}"
        )


async def measured(
    bound_s: float, rate_per_s: float, rates: Sequence[int] | None = None
) -> Ceiling:
    """Rising rates, half a second each, until one is not kept, by the prober of a traffic.rate."""
    wanted = Traffic("", "", rate_per_s, 1.0).sent_per_s
    if rates is None:
        rates = RATES_PER_S + (FASTER_PER_S if 2 * wanted > RATES_PER_S[-1] else ())
    give_up_s = time.monotonic() + ENOUGH_S
    async with module_as_server(_MODULE) as url:
        traffic = Traffic(url, url, rate_per_s, timeout_s=1.0)
        async with prober_for(traffic, SystemClock()) as prober:
            await _sent(prober, 100, 20)  # connections and code paths are warm from here on
            kept = 0
            for rate in rates:
                if time.monotonic() > give_up_s:
                    break
                for _ in range(TRIES if rate > 2 * wanted else NEEDED_TRIES):
                    health, lost = await _sent(prober, rate, int(rate * STEP_S))
                    missed_by = _missed_by(health, lost, bound_s)
                    if not missed_by:
                        break
                else:
                    return Ceiling(kept, rate, missed_by)
                kept = rate
    return Ceiling(kept)


def judged(ceiling: Ceiling, bound_s: float, scenario: Scenario | None) -> Finding:
    """Half of the ceiling is left free for the rest of the machine's work."""
    end = f", not {ceiling.missed_per_s:,}/s ({ceiling.missed_by})" if ceiling.missed_per_s else ""
    least = "" if ceiling.missed_per_s else "at least "
    found = f"{least}{ceiling.kept_per_s:,} requests/s leave within {duration(bound_s)}{end}"
    wanted = 0.0 if scenario is None else scenario.traffic.sent_per_s
    needs = f"a ceiling of {2 * wanted:,.0f}/s, twice the {wanted:,.0f}/s of a run"
    do = "lower traffic.rate, or run on a machine with a faster or idler core"
    refused = (
        wanted if scenario is None or not processes(scenario.traffic.rate_per_s) else 2 * wanted
    )
    if refused > ceiling.kept_per_s or ceiling.kept_per_s == 0:
        needs = needs if wanted else "requests that leave on time"
        return fail("prober ceiling", found, needs, do)
    if 2 * wanted > ceiling.kept_per_s:
        return warn("prober ceiling", found, needs, do)
    return ok("prober ceiling", found + (f"; a run sends {wanted:,.0f}/s" if wanted else ""))


def _missed_by(health: Health, lost: int, bound_s: float) -> str:
    """Why a rate was not kept, or nothing."""
    if health.overloads or lost:
        return f"{max(health.overloads, lost):,} could not be sent or answered"
    if health.missed_share > MISSED_SHARE:
        return f"{health.missed_share:.0%} could not be handed over in time"
    if health.lag_p99_s > bound_s:
        return f"1 % leave {duration(health.lag_p99_s)} late or more"
    return ""


async def _sent(prober: Prober, rate_per_s: int, samples: int) -> tuple[Health, int]:
    """How the prober did at one rate, and how many requests had no answer."""
    slots: Iterator[int] = iter(range(samples))

    def feed(seq: int) -> Route | Signal:
        return Signal.END if next(slots, None) is None else Route.CANARY

    lost = 0
    async with aclosing(prober.stream(feed, rate_per_s, {})) as stream:
        async for sample in stream:
            lost += sample.outcome is not Outcome.RESPONSE
    return prober.health(), lost
