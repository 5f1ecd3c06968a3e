"""The target: whether its URLs answer, how fast at a gentle rate, and whether the SLOs would hold.

Sends some twenty requests to each URL through the run's own prober. A target that fails is a
finding, never an exception.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from chaosbandit.core.model import Outcome, Route, Sample
from chaosbandit.core.scenario import SAFE_METHODS, Scenario
from chaosbandit.core.slo import SLO
from chaosbandit.core.url_template import example
from chaosbandit.doctor.findings import Finding, fail, note, ok, told_by, warn
from chaosbandit.doctor.what_to_examine import Subject
from chaosbandit.errors import HarnessError
from chaosbandit.ports import Signal
from chaosbandit.report.numbers_in_words import duration
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.prober import OpenLoopProber
from chaosbandit.traffic.reachability import reachable

REQUESTS = 20  # to each URL
RATE_PER_S = 10.0  # each, or the scenario's own if that is lower
LONGEST_S = 3.0  # of sending
CONNECT_S = 2.5
ANSWER_S = 4.0  # longest wait for one answer, where the scenario does not say less
_KINDS = 3  # of failures that are told
UNLIKELY = 0.05  # a result this rare under the objective is no chance
IMPOSSIBLE = 1e-5
SILENT = "it takes connections and answers nothing, so it hangs or is frozen: restart it"
ODD = "mend what it sends: such an answer HTTP clients refuse, and proxies on the way may"
BROKEN = "mend the target, or loosen the SLO in the scenario if it is meant to be like that"
SHORT = "raise `ulimit -n`, or end what holds them"
CHANCE = "look at it in a run"
MAY_BE_THE_PATH = frozenset({SILENT, BROKEN, CHANCE})  # advice that a healthy path is needed for
_OURS = {
    401: ("wants other credentials", "put them into traffic.headers, as a ${VARIABLE}"),
    403: ("forbids these requests", "allow them, or send what allows them in traffic.headers"),
    407: ("is behind a proxy that wants credentials", "name the service's own address"),
    429: ("limits the rate", "lower traffic.rate, or have these requests excepted from the limit"),
}


async def findings(subject: Subject) -> list[Finding]:
    """One finding for each URL of the scenario that requests go to."""
    scenario = subject.scenario
    if scenario is None:
        return []
    goals = goals_of(scenario)
    touched = [goal for goal in goals if subject.may_touch(goal.url)]
    refused = await asyncio.gather(*(_refused(goal) for goal in touched))
    found = {goal: finding for goal, finding in zip(touched, refused, strict=True) if finding}
    asked = [goal for goal in touched if goal not in found]
    if scenario.traffic.method not in SAFE_METHODS:
        method = scenario.traffic.method
        why = f"takes connections; not asked, since {method} may change data"
        found |= {goal: ok(goal.check, f"{goal.url} {why}") for goal in asked}
        asked = []
    for goal, samples in (await _samples(scenario, asked)).items():
        slos = () if goal.route is Route.CHECK else scenario.slos
        found[goal] = judged(goal.check, goal.url, samples, slos)
    return [found[goal] for goal in goals if goal in found]


@dataclass(frozen=True, slots=True)
class Goal:
    """A URL that a run sends requests to, and the proxy in front of it for a dependency's."""

    route: Route
    url: str
    proxy: str = ""

    @property
    def check(self) -> str:
        """What its finding is called."""
        return _NAMES[self.route]


_NAMES = {Route.CANARY: "target", Route.CONTROL: "control", Route.CHECK: "dependency"}


def goals_of(scenario: Scenario) -> list[Goal]:
    """The canary, the control beside it, and the dependency of every ladder that has a check."""
    goals = [Goal(Route.CANARY, scenario.traffic.url)]
    if scenario.traffic.control_url != scenario.traffic.url:
        goals.append(Goal(Route.CONTROL, scenario.traffic.control_url))
    for name in dict.fromkeys(ladder.proxy for ladder in scenario.ladders):
        check = scenario.proxy(name).check
        if check is not None:
            goals.append(Goal(Route.CHECK, check, name))
    return goals


def judged(check: str, url: str, samples: Sequence[Sample], slos: Sequence[SLO]) -> Finding:
    """What twenty requests tell of steady state; the SLOs are the scenario's own."""
    unsent = sum(sample.outcome is Outcome.OVERLOAD for sample in samples)
    if unsent:
        found = f"{url}: {unsent} of {len(samples)} requests could not be sent from this machine"
        return fail(check, found, "file descriptors and local ports left for them", SHORT)
    answered = [sample for sample in samples if sample.outcome is Outcome.RESPONSE]
    lost = Counter(s.told for s in samples if s.outcome is not Outcome.RESPONSE)
    if not answered:
        what = "; ".join(f"{number} {name}" for name, number in lost.most_common(_KINDS))
        return fail(
            check,
            f"{url} answered none of {len(samples)} requests ({what})",
            "answers",
            ODD if any(sample.outcome is Outcome.NO_HTTP for sample in samples) else SILENT,
        )
    statuses = Counter(sample.status or 0 for sample in answered)
    for status, (what, do) in _OURS.items():
        if statuses[status]:
            found = f"{url} {what}: {statuses[status]} of {len(samples)} answers are {status}"
            return fail(check, found, "none: a run would end with exit code 6", do)
    said = f"{url} answers {_statuses(statuses)} in {_times(answered)}"
    worst = min((_against(slo, samples) for slo in slos), default=(1.0, ""))
    if worst[0] >= 1.0:
        return ok(check, said)
    if worst[0] >= UNLIKELY:
        return note(check, f"{said}; {worst[1]}, which may be chance", "", CHANCE)
    say = fail if worst[0] < IMPOSSIBLE else warn
    return say(
        check,
        f"{said}; {worst[1]}: steady state would not be met",
        "the SLOs to hold before anything is injected",
        BROKEN,
    )


def _against(slo: SLO, samples: Sequence[Sample]) -> tuple[float, str]:
    """How likely so many bad samples are if the SLO holds (1 where none is bad), in words too."""
    n = len(samples)
    bad = [sample for sample in samples if not slo.sli.good(sample)]
    if not bad:
        return 1.0, ""
    slow = slo.sli.latency_s is not None and all(
        sample.outcome is Outcome.RESPONSE and sample.latency_s > (slo.sli.latency_s or 0.0)
        for sample in bad
    )
    what = f"slower than {duration(slo.sli.latency_s or 0.0)}" if slow else f"not {slo.sli.text}"
    return at_least(len(bad), n, slo.bad_ratio), f"{len(bad)} of {n} {what} ({slo.name})"


def at_least(bad: int, n: int, ratio: float) -> float:
    """Probability of `bad` or more of `n` where each is bad with probability `ratio`."""
    terms = (math.comb(n, k) * ratio**k * (1 - ratio) ** (n - k) for k in range(bad, n + 1))
    return min(1.0, math.fsum(terms))


async def _refused(goal: Goal) -> Finding | None:
    try:
        await reachable(example(goal.url), CONNECT_S)
    except HarnessError as error:
        return told_by(goal.check, error.trouble)
    return None


async def _samples(scenario: Scenario, asked: Sequence[Goal]) -> dict[Goal, list[Sample]]:
    """A gentle stream to each, side by side: a prober asks one dependency at a time."""
    streams = await asyncio.gather(*(_stream(scenario, goal) for goal in asked))
    return dict(zip(asked, streams, strict=True))


async def _stream(scenario: Scenario, goal: Goal) -> list[Sample]:
    rate_per_s = min(RATE_PER_S, scenario.traffic.rate_per_s)
    wanted = max(3, min(REQUESTS, int(rate_per_s * LONGEST_S)))

    def feed(seq: int) -> Route | Signal:
        return goal.route if seq < wanted else Signal.END

    traffic = replace(scenario.traffic, timeout_s=min(scenario.traffic.timeout_s, ANSWER_S))
    checks = {goal.proxy: goal.url} if goal.route is Route.CHECK else {}
    prober = OpenLoopProber(traffic, checks, SystemClock())
    async with prober, aclosing(prober.stream(feed, rate_per_s, {})) as stream:
        return [sample async for sample in stream]


def _statuses(statuses: Counter[int]) -> str:
    if len(statuses) == 1:
        return str(next(iter(statuses)))
    return ", ".join(f"{number} x {status}" for status, number in statuses.most_common())


def _times(answered: Sequence[Sample]) -> str:
    times_s = [sample.latency_s for sample in answered]
    return f"{duration(statistics.median(times_s))}, at worst {duration(max(times_s))}"
