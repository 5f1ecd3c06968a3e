"""The plain policy to compare with: double the severity until it breaks, then bisect.

Every arm it visits is sampled until a certificate calls it, or until `_PATIENCE` times the samples
a clean arm needs have not settled it. Its claims rest on the same certificates as everybody's; it
looks at counts, never at beliefs.
"""

from __future__ import annotations

import math

from numpy.random import Generator

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.evidence import Certificate, claimed_bracket
from chaosbandit.core.model import Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import ended, highest_arm, register, top_arm

_FACTOR = 2.0
_BATCHES = 8  # an arm without failures is called after about this many
_PATIENCE = 10.0
_CLEAN = 0.25  # of tau: the bad ratio of an arm called clean


@register
class Ramp:
    """A geometric ramp, then bisection between the last arm that held and the first that broke."""

    name = "ramp"

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        """The next batch at the arm in question, or the end."""
        stop = ended(campaign)
        if stop is not None:
            return stop
        arm, certificate = _next_arm(campaign)
        clean = _clean_samples(campaign, certificate)
        text = campaign.ladder.text(campaign.ladder.severities[arm])
        if campaign.arms[arm].samples >= _PATIENCE * clean:
            return Stop(f"inconclusive: {text} is too close to the objective to be called")
        purpose, bets = _bets(campaign, arm)
        samples, at_tau = _batch(campaign, clean), min(slo.bad_ratio for slo in campaign.slos)
        ends = 2 + int(3 * samples * at_tau) if certificate.block == 1 else None
        why = _WHY[purpose].format(text)
        return Expose(campaign.ladder.variant(arm), samples, purpose, bets, ends, why)


_WHY = {
    Purpose.SEARCH: "ramp: a first look at {}",
    Purpose.HELD: "ramp: certify that {} holds",
    Purpose.BROKE: "ramp: certify that {} breaks",
}


def _next_arm(campaign: Campaign) -> tuple[int, Certificate]:
    """The arm to call next and the certificate that calls it."""
    severities, top = campaign.ladder.severities, top_arm(campaign)
    resolution = campaign.scenario.search.resolution
    held, broke, _ = claimed_bracket(campaign.certificate, severities, resolution)
    if broke is None or broke > top:
        if held is None:
            return 0, campaign.certificate
        reach = highest_arm(severities, severities[held] * _FACTOR)
        arm = min(max(reach, held + 1), top)
        return arm, campaign.one_sided if arm == top else campaign.certificate
    if broke == 0:
        return 0, campaign.one_sided
    if held is None:  # the mildest arm that is not yet called
        return 0, campaign.certificate
    return _middle(severities, held, broke), campaign.certificate


def _middle(severities: tuple[float, ...], held: int, broke: int) -> int:
    """The arm nearest below the geometric middle, strictly between the two."""
    middle = highest_arm(severities, math.sqrt(severities[held] * severities[broke]))
    return min(max(middle, held + 1), broke - 1)


def _bets(campaign: Campaign, arm: int) -> tuple[Purpose, tuple[float, ...]]:
    """What to prove and the bets: the arm's own ratios so far, shrunk towards clean.

    Such a plug-in is fixed before the batch it is used on (Waudby-Smith & Ramdas 2024). The first
    look is not bet on: what a held bet loses on an arm that breaks, every milder arm must repay.
    """
    seen, taus = campaign.arms[arm], [slo.bad_ratio for slo in campaign.slos]
    if seen.samples == 0:
        return Purpose.SEARCH, ()
    ratios = [
        (bad + 1.0) / (seen.samples + 1.0 / (_CLEAN * tau))
        for bad, tau in zip(seen.bad, taus, strict=True)
    ]
    if any(ratio > tau for ratio, tau in zip(ratios, taus, strict=True)):
        return Purpose.BROKE, tuple(
            min(max(ratio, 1.05 * tau), (1.0 + tau) / 2)
            for ratio, tau in zip(ratios, taus, strict=True)
        )
    return Purpose.HELD, tuple(
        min(ratio, 0.95 * tau) for ratio, tau in zip(ratios, taus, strict=True)
    )


def _clean_samples(campaign: Campaign, certificate: Certificate) -> float:
    """Samples without a failure that certify an arm at a bet of `_CLEAN` tau."""
    tau = min(slo.bad_ratio for slo in campaign.slos)
    gain = math.log((1.0 - _CLEAN * tau) / (1.0 - tau))
    return certificate.log_threshold * certificate.block / gain


def _batch(campaign: Campaign, clean: float) -> int:
    """An equal share of that in whole blocks, not beyond search.max_samples."""
    block, limit = campaign.certificate.block, campaign.scenario.search.max_samples
    samples = math.ceil(clean / _BATCHES / block) * block
    return samples if limit is None else min(samples, limit - campaign.spent_samples)
