"""How a simulated service answers: who fails, when, and what a failure looks like.

Everything is a mechanism, never a sequence of outcomes: curves over the dose, bursts, deploys and
distributions of latency. A `World` asks its target once per canary request and knows no more.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from numpy.random import Generator

from chaosbandit.core.model import Outcome, Route, Sample

Response = Callable[[float], float]
"""Bad ratio of the canary at a severity (0.0 is severity 0)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One canary request as it reaches the service."""

    severity: float
    now_s: float
    in_flight: int  # canary requests already waiting for an answer
    age_s: float = 0.0  # since this dose was injected


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service would answer; at the prober's time-out or later it is never heard."""

    latency_s: float
    status: int = 200


Target = Callable[[Asked, Generator], Answer]
Failing = Callable[[Asked, float], bool]
"""Whether this request fails, given a uniform draw of its own."""
Latency = Callable[[Asked, Generator], float]


# --- who fails ------------------------------------------------------------------------------------


def independent(response: Response) -> Failing:
    """Each request fails by itself, with the curve's bad ratio at the dose it meets."""
    return lambda asked, drawn: drawn < response(asked.severity)


def deployed(at_s: float, before: Failing, after: Failing) -> Failing:
    """A deploy in mid-run: another version of the service answers from then on."""
    return lambda asked, drawn: (before if asked.now_s < at_s else after)(asked, drawn)


def setting_in(after_s: float, later: Failing, before: Failing) -> Failing:
    """A dose that is borne for a while: pools empty and queues fill before requests fail."""
    return lambda asked, drawn: (before if asked.age_s < after_s else later)(asked, drawn)


def during(spells: Callable[[Asked], bool], then: Failing, otherwise: Failing) -> Failing:
    """Spells of another kind: stalls of a machine, by the clock or by how long a dose stands."""
    return lambda asked, drawn: (then if spells(asked) else otherwise)(asked, drawn)


def always(asked: Asked, drawn: float) -> bool:
    """Every request fails."""
    return True


@dataclass(slots=True)
class Breaker:
    """Trips after `row` failures in a row and then answers nothing for `open_s`, dose or not.

    `deadly` trips it at once; with infinite `open_s` that is a service that dies for good.
    """

    failing: Failing
    open_s: float
    row: int = 5
    deadly: Callable[[float], bool] = lambda severity: False
    open_until_s: float = -math.inf
    _failed: int = 0

    def __call__(self, asked: Asked, drawn: float) -> bool:
        """Whether this request fails: all do while it is open."""
        if asked.now_s < self.open_until_s:
            return True
        failed = self.failing(asked, drawn)
        self._failed = self._failed + 1 if failed else 0
        if self._failed >= self.row or self.deadly(asked.severity):
            self.open_until_s, self._failed = asked.now_s + self.open_s, 0
            return True
        return failed


@dataclass(slots=True)
class Bursts:
    """Once a request fails, so do the next ones until `length` have failed: a pool that died.

    The bad ratio stays that of the curve: a renewal process with bursts of `length` and geometric
    waits between them, started in its stationary state whenever the severity changes.
    """

    response: Response
    length: int
    _severity: float = math.nan
    _left: int = 0

    def __call__(self, asked: Asked, drawn: float) -> bool:
        """Whether this request fails: it begins a burst or is in one."""
        ratio = self.response(asked.severity)
        if asked.severity != self._severity:
            self._severity = asked.severity
            inside = math.ceil(self.length * drawn / ratio) if drawn < ratio else 0
            self._left = max(inside, 0)
        elif self._left == 0 and drawn < self._onset(ratio):
            self._left = self.length
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def _onset(self, ratio: float) -> float:
        """Chance that a burst begins at a request outside of any."""
        return ratio / (ratio + self.length * (1.0 - ratio)) if ratio > 0.0 else 0.0


# --- how long answers take ------------------------------------------------------------------------


def lognormal(median_s: float, spread: float, passed_on: float = 0.0) -> Latency:
    """A median, a spread (of the logarithm), and the share of the dose that users feel."""
    return lambda asked, rng: (
        median_s * math.exp(spread * rng.standard_normal()) + passed_on * asked.severity
    )


# --- what a failure looks like --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Symptom:
    """One way to be bad: which requests have it, and what it does to their answers."""

    failing: Failing
    latency_s: float | None = None  # the answer takes this much longer; infinity hangs
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A target with any number of symptoms; `together` draws once, so that they coincide."""

    symptoms: tuple[Symptom, ...]
    latency: Latency = field(default_factory=lambda: lognormal(0.020, 0.3))
    together: bool = False

    def __call__(self, asked: Asked, rng: Generator) -> Answer:
        """The healthy answer with every symptom it has."""
        answer = Answer(self.latency(asked, rng))
        shared = rng.random()
        for symptom in self.symptoms:
            if symptom.failing(asked, shared if self.together else rng.random()):
                answer = _with(answer, symptom)
        return answer


def _with(answer: Answer, symptom: Symptom) -> Answer:
    latency_s = answer.latency_s + (symptom.latency_s or 0.0)
    return replace(answer, latency_s=latency_s, status=symptom.status or answer.status)


# --- those who look -------------------------------------------------------------------------------


@dataclass(slots=True)
class Pile:
    """Requests without a response among the newest `window` of the canary's; `high` from `limit`.

    What people and machines react to: an operator's patience, a breaker, a check that is answered
    from a cache. Hears samples as `World.witness`, in order of completion.
    """

    limit: int
    window: int
    _newest: deque[bool] = field(default_factory=deque)

    def __call__(self, sample: Sample) -> bool:
        """Whether this one made it enough."""
        if sample.route is Route.CANARY:
            self._newest.append(sample.outcome is not Outcome.RESPONSE)
            if len(self._newest) > self.window:
                self._newest.popleft()
        return self.high

    @property
    def high(self) -> bool:
        """Whether they have piled up."""
        return sum(self._newest) >= self.limit


def watched(pile: Pile) -> Callable[[Sample], bool]:
    """A witness that remembers what it sees and never interrupts the run."""

    def witness(sample: Sample) -> bool:
        pile(sample)
        return False

    return witness
