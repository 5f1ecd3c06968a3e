"""The sequential test of one arm, and how to move on from it, for policies without a model.

A test may stop after any sample and closes on either side: plug-in bets on the certificate that
all policies claim by, so the total error is the same. It reads counts and certificates, never
beliefs.
"""

from __future__ import annotations

import math

from chaosbandit.core.climb import Climb
from chaosbandit.core.evidence import within
from chaosbandit.core.model import Cause, Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import highest_arm, top_arm, whole_blocks, within_reach
from chaosbandit.core.ratio_tests import entropy_rate, log_e_above, log_e_below

FACTOR = 2.0  # from one arm that held to the next, unless search.escalation is less
_CLEAN = 0.25  # of tau: the bad ratio of an arm nothing is known of
_BATCHES = 8  # an arm without failures is called after about this many
_LOOK = 10  # samples without a bet, which an arm that breaks clearly fails: cheap, nothing to repay
_LEAN, _LEAN_LONG = math.log(4.0), math.log(10.0)  # evidence of a side over the other worth a bet
_RARE = 0.5  # a batch that should see fewer bad samples than this at tau ends at the first one
_PATIENCE = 30  # tests of a clean arm that one may take; then arms around it are tried as well
_HOPELESS = 64  # times that patience: the run gives up


def doubled(climb: Climb, held: int) -> int:
    """The arm to climb to from one that held."""
    severities = climb.ladder.severities
    factor = min(FACTOR, climb.search.escalation)
    return min(within_reach(severities, held, factor), top_arm(climb))


def middle(severities: tuple[float, ...], held: int, broke: int) -> int:
    """The arm nearest below the geometric middle, strictly between the two."""
    near = highest_arm(severities, math.sqrt(severities[held] * severities[broke]))
    return min(max(near, held + 1), broke - 1)


# --- the test of an arm ---------------------------------------------------------------------------


def call(climb: Climb, arm: int) -> Decision:
    """The next batch of an arm's test, or of one around it when it is too close to be called."""
    patience = _PATIENCE * _clean_samples(climb)
    if climb.arms[arm].samples >= patience:
        near = _around(climb, arm)
        untried = [each for each in near if climb.arms[each].samples < patience]
        arm = untried[0] if untried else min(near, key=lambda each: _expected(climb, each))
    if climb.arms[arm].samples >= _HOPELESS * patience:
        text = climb.ladder.text(climb.ladder.severities[arm])
        return Stop(f"{text} is too close to the objective to be called")
    return _batch(climb, arm)


def _around(climb: Climb, arm: int) -> list[int]:
    """The arm, those half a resolution off, and those that would close the bracket; uncalled."""
    severities, search = climb.ladder.severities, climb.search
    held, broke, _ = climb.claimed
    least = 0 if held is None else held + 1
    most = arm if held is None else highest_arm(severities, severities[held] * search.escalation)
    most = min(max(most, arm), top_arm(climb) if broke is None else broke - 1)
    span = 1.0 + search.resolution
    low = max(highest_arm(severities, severities[arm] / math.sqrt(span)), 0)
    near = [arm, low, highest_arm(severities, severities[low] * span)]
    if held is not None:
        near.append(highest_arm(severities, severities[held] * span))
    if broke is not None:
        closing = range(least, broke)
        near += [j for j in closing if within(severities, j, broke, search.resolution)][:1]
    return sorted({each for each in near if least <= each <= most})


def _expected(climb: Climb, arm: int) -> float:
    """Samples that calling an arm would still take, were its bad ratios what was counted."""
    seen, taus = climb.arms[arm], [slo.bad_ratio for slo in climb.slos]
    ratios = [bad / seen.samples for bad in seen.bad]
    rates = [entropy_rate(ratio, tau) for ratio, tau in zip(ratios, taus, strict=True)]
    above = [r for r, p, tau in zip(rates, ratios, taus, strict=True) if p > tau]
    if above:
        return climb.certificate.missing_broke(arm) / max(above)
    return climb.certificate.missing_held(arm) / min(rates)


def _batch(climb: Climb, arm: int) -> Decision:
    """A look while the counts favour neither side, then bets on the one that they favour."""
    seen, clean = climb.arms[arm], _clean_samples(climb)
    taus = [slo.bad_ratio for slo in climb.slos]
    lean = max(  # of the SLO most likely broken
        log_e_above(seen.samples, bad, tau) - log_e_below(seen.samples, bad, tau)
        for bad, tau in zip(seen.bad, taus, strict=True)
    )
    young = seen.samples < clean
    if lean > (_LEAN if young else _LEAN_LONG):
        return _bet_broke(climb, arm)
    favoured = seen.any_bad == 0 or lean < (0.0 if young else -_LEAN_LONG)
    if seen.samples >= _LOOK and favoured:
        return _bet_held(climb, arm)
    samples = max(_LOOK, seen.samples // _BATCHES)
    return expose(climb, arm, Purpose.SEARCH, (), samples, _ends(climb, samples))


def _bet_held(climb: Climb, arm: int) -> Decision:
    certificate = climb.certificate
    bets = held_bets(climb, arm)
    gain = min(
        math.log((1 - q) / (1 - slo.bad_ratio)) for q, slo in zip(bets, climb.slos, strict=True)
    )
    needed = math.ceil(certificate.missing_held(arm) * certificate.block / gain)
    if arm == climb.standing:
        needed = max(needed - climb.unresolved, 1)
    samples = min(_share(climb, arm), max(needed, 1))
    return expose(climb, arm, Purpose.HELD, bets, samples, _ends(climb, samples))


def _bet_broke(climb: Climb, arm: int) -> Decision:
    certificate = climb.certificate
    missing = certificate.missing_broke(arm)
    bets = broke_bets(climb, arm, missing)
    pairs = list(zip(bets, (slo.bad_ratio for slo in climb.slos), strict=True))
    quarter = missing * certificate.block / max(entropy_rate(q, tau) for q, tau in pairs) / 4
    ends = math.ceil(missing / max(math.log(q / tau) for q, tau in pairs) - 1e-6)
    samples = min(_share(climb, arm), math.ceil(quarter))
    return expose(climb, arm, Purpose.BROKE, bets, max(samples, 1), max(ends, 1))


def held_bets(climb: Climb, arm: int) -> tuple[float, ...]:
    """The arm's own ratio per SLO, shrunk towards that of the milder arms.

    Such a plug-in is fixed before the batch it is used on (Waudby-Smith & Ramdas 2024).
    """
    own, milder = climb.arms[arm], climb.arms[:arm]
    samples, bets = sum(each.samples for each in milder), []
    for s, slo in enumerate(climb.slos):
        weight = 1.0 / (_CLEAN * slo.bad_ratio)
        prior = (sum(each.bad[s] for each in milder) + 1.0) / (samples + weight)
        ratio = (own.bad[s] + prior * weight) / (own.samples + weight)
        bets.append(min(ratio, 0.95 * slo.bad_ratio))
    return tuple(bets)


def broke_bets(climb: Climb, arm: int, missing: float) -> tuple[float, ...]:
    """The arm's own ratio per SLO, no more than one bad sample needs to close what is missing."""
    own, enough = climb.arms[arm], math.exp(min(missing, 700.0))
    return tuple(
        min(max(min((bad + 0.5) / (own.samples + 1.0), tau * enough), 1.05 * tau), (1 + tau) / 2)
        for bad, tau in zip(own.bad, (slo.bad_ratio for slo in climb.slos), strict=True)
    )


def expose(
    climb: Climb,
    arm: int,
    purpose: Purpose,
    bets: tuple[float, ...],
    samples: int,
    ends: int | None = None,
) -> Decision:
    """A batch in whole blocks, as far as search.max_samples allows; a cut block could only lose."""
    block, limit = climb.certificate.block, climb.search.max_samples
    samples = whole_blocks(climb, samples)
    if samples < 1:
        return Stop(f"search.max_samples ({limit}) are spent or in flight", cause=Cause.SAMPLES)
    why = _WHY[purpose].format(climb.ladder.text(climb.ladder.severities[arm]))
    variant = climb.ladder.variant(arm)
    return Expose(variant, samples, purpose, bets, ends if block == 1 else None, why)


_WHY = {
    Purpose.SEARCH: "a look at {}",
    Purpose.HELD: "test whether {} holds",
    Purpose.BROKE: "test whether {} breaks",
}


def _ends(climb: Climb, samples: int) -> int:
    """Bad samples after which to think again: more than an arm at the objective should show."""
    at_tau = samples * max(slo.bad_ratio for slo in climb.slos)
    return 1 if at_tau < _RARE else 2 + int(2 * at_tau)


def _share(climb: Climb, arm: int) -> int:
    """A batch that may be wasted: a share of a clean arm's test, or of what the arm has seen."""
    return math.ceil(max(_clean_samples(climb), climb.arms[arm].samples) / _BATCHES)


def _clean_samples(climb: Climb) -> float:
    """Samples without a failure that call an arm at a bet of `_CLEAN` tau."""
    certificate, tau = climb.certificate, min(slo.bad_ratio for slo in climb.slos)
    gain = math.log((1.0 - _CLEAN * tau) / (1.0 - tau))
    return certificate.log_threshold * certificate.block / gain
