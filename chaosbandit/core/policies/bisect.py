"""The textbook experiment: doubles, then bisects, with a test of fixed size at every arm.

Its path is that of `bisect_sequential`, its tests are not: each takes all its samples whatever they
show, and only then moves. What it ends at is certified as everybody's answers are, in batches of
fixed size, since nothing else may be claimed.
"""

from __future__ import annotations

import math
from functools import lru_cache

from numpy.random import Generator
from scipy.special import bdtr

from chaosbandit.core.climb import Climb
from chaosbandit.core.evidence import within
from chaosbandit.core.guardrail import BELIEVED
from chaosbandit.core.model import Decision, Purpose, Stop
from chaosbandit.core.policies import ended, register, top_arm
from chaosbandit.core.policies._one_arm_test import (
    FACTOR,
    broke_bets,
    doubled,
    expose,
    held_bets,
    middle,
)

_MARGIN = 2.0  # a bad ratio of tau / this must pass, one of tau x this must not
_BATCHES = 10  # a test's samples make so many batches that certify
_PATIENCE = 20  # tests' worth of samples at an arm, then it is given up


@register
class Bisect:
    """Doubles, then bisects, by fixed-sample tests that may err no more often in total."""

    name = "bisect"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """The rest of the test in question, a batch that certifies what was found, or the end."""
        stop = ended(climb)
        if stop is not None:
            return stop
        samples = _plan(climb)[0] * climb.certificate.block
        arm, purpose = _next(climb, samples)
        seen = climb.arms[arm].samples
        if seen >= _PATIENCE * samples:
            text = climb.ladder.text(climb.ladder.severities[arm])
            return Stop(f"the certificate does not follow the tests at {text}")
        batch = -(-samples // _BATCHES)
        if purpose is Purpose.HELD:
            return expose(climb, arm, purpose, held_bets(climb, arm), batch)
        if purpose is Purpose.BROKE:
            bets = broke_bets(climb, arm, math.inf)
            return expose(climb, arm, purpose, bets, batch)
        return expose(climb, arm, purpose, (), samples - seen if seen < samples else samples)


def _next(climb: Climb, samples: int) -> tuple[int, Purpose]:
    """What to do next: the tests' path from the mildest arm on, then what it ends at."""
    severities, top = climb.ladder.severities, top_arm(climb)
    arm, held, broke = 0, -1, -1
    while broke < 0:
        if climb.arms[arm].samples < samples:
            return arm, Purpose.SEARCH
        if not _passed(climb, arm):
            broke = arm
        elif arm == top:
            return arm, Purpose.HELD
        elif climb.believed_broken(arm) >= BELIEVED:  # must not carry a climb: test it again
            return arm, Purpose.SEARCH
        else:
            held, arm = arm, doubled(climb, arm)
    if broke == 0:
        return broke, Purpose.BROKE
    while not within(severities, held, broke, climb.search.resolution):
        arm = middle(severities, held, broke)
        if climb.arms[arm].samples < samples:
            return arm, Purpose.SEARCH
        held, broke = (arm, broke) if _passed(climb, arm) else (held, arm)
    missing = climb.certificate.missing_held(held) > 0
    if missing and not (climb.standing == broke and climb.certificate.missing_broke(broke) > 0):
        return held, Purpose.HELD
    return broke, Purpose.BROKE


def _passed(climb: Climb, arm: int) -> bool:
    """The tests' outcome at an arm; the SLO that fares worst decides.

    What certifying adds to the counts enters in proportion.
    """
    samples, limits = _plan(climb)
    share = climb.arms[arm].samples / samples
    return all(bad <= limit * share for bad, limit in zip(climb.arms[arm].bad, limits, strict=True))


def _plan(climb: Climb) -> tuple[int, tuple[int, ...]]:
    """Samples of a test, as if blocks were samples, and per SLO how many bad ones may pass.

    The error the tests may make in total is delta, evenly split (Bonferroni) over the longest path.
    """
    severities, search = climb.ladder.severities, climb.search
    factor = min(FACTOR, search.escalation)
    climbs = len(severities)
    if factor > 1.0:
        whole = math.log(severities[top_arm(climb)] / severities[0])
        climbs = min(climbs, 1 + math.ceil(whole / math.log(factor)))
    halvings = math.ceil(math.log2(max(len(severities), 2)))
    if factor > 1.0:
        ratio = math.log(factor) / math.log1p(search.resolution)
        halvings = math.ceil(math.log2(max(ratio, 1.0)))
    alpha = (1.0 - search.confidence) / (climbs + halvings) / len(climb.slos)
    return _fixed_test(tuple(slo.bad_ratio for slo in climb.slos), alpha)


@lru_cache(maxsize=64)
def _fixed_test(taus: tuple[float, ...], alpha: float) -> tuple[int, tuple[int, ...]]:
    """The smallest n, and c per tau, of the exact binomial test "passes with c bad ones or fewer".

    Two-sided by its two alternatives: P(pass) <= alpha at a bad ratio of `_MARGIN` tau, and
    P(fail) <= alpha at tau / `_MARGIN`. In between it may go either way, which the certificate
    at the end finds out.
    """
    n = max(_smallest(tau, alpha) for tau in taus)
    return n, tuple(_most_passing(n, tau, alpha) for tau in taus)


def _smallest(tau: float, alpha: float) -> int:
    most = 0
    while True:
        n = _samples_failing(most, tau, alpha)
        if bdtr(most, n, tau / _MARGIN) >= 1.0 - alpha:
            return n
        most += 1


def _samples_failing(most: int, tau: float, alpha: float) -> int:
    """The smallest n at which `most` bad ones or fewer are too few for `_MARGIN` tau."""
    low, high = most, most + 1
    while bdtr(most, high, _too_bad(tau)) > alpha:
        low, high = high, 2 * high
    while high - low > 1:
        half = (low + high) // 2
        low, high = (half, high) if bdtr(most, half, _too_bad(tau)) > alpha else (low, half)
    return high


def _most_passing(n: int, tau: float, alpha: float) -> int:
    most = 0
    while bdtr(most + 1, n, _too_bad(tau)) <= alpha:
        most += 1
    return most


def _too_bad(tau: float) -> float:
    return min(_MARGIN * tau, (1.0 + tau) / 2.0)
