"""What may be believed of one exposure: the dose it gave, and whether its evidence counts.

A broken instrument never blames the target: whatever went wrong with us makes an exposure void.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from chaosbandit.core.campaign import Campaign, Exposure, median_latency_s
from chaosbandit.core.doses import Misdelivered, Seen
from chaosbandit.core.model import Dose, Health, Outcome, Route, Sample, Validity
from chaosbandit.core.ratio_tests import log_e_above
from chaosbandit.core.steady_state import (
    BROKEN_LOG_E,
    arrived_s,
    is_clump,
    quantile_s,
    ratio_text,
    usual_check_s,
)

FELT_SHARE = 0.05  # of a dose: less felt of it would say that the path is not used
FELT_FROM = 5  # samples of an exposure from which what users felt can be told
NOISE_S = 0.002  # what a median may be off by for no reason
LATE_SHARE = 0.2  # of an exposure's samples sent late: then the prober did not keep up
CLUMP = 5  # bad samples in a row that are looked at as a clump in mid-run
CALM = 50  # good ones in a row: what failed before has nothing to do with what fails then


def dose(campaign: Campaign, exposure: Exposure) -> Dose:
    """What was asked, what arrived at the dependency, and what users felt."""
    ladder, steady = campaign.ladders[exposure.climb].ladder, campaign.steady
    broken = [sample.outcome is not Outcome.RESPONSE for sample in exposure.canary]
    enough = len(exposure.canary) >= FELT_FROM
    seen = Seen(
        canary_s=median_latency_s(exposure.canary) if enough else None,
        control_s=median_latency_s(exposure.control),
        check_s=arrived_s(exposure.check),
        usual_check_s=usual_check_s(campaign, ladder.proxy),
        steady_difference_s=steady.canary_less_control_s if steady else 0.0,
        broken_share=sum(broken) / len(broken) if enough else None,
    )
    return Dose(exposure.severity, *ladder.dose.measured(exposure.severity, seen))


def tells(campaign: Campaign, exposure: Exposure) -> bool:
    """Whether what users felt of the dose, or did not, stands out of the noise of its medians.

    The standard error of a median is 1.25 deviations over the root of the sample's size, if
    latencies are about normal (Laplace 1818); the deviation is that of steady state's upper tail.
    """
    given = exposure.dose
    if given is None or given.felt is None:
        return True
    noise_s = 3.0 * math.hypot(
        _median_error_s(campaign.steady_samples.get(Route.CANARY, ()), len(exposure.canary)),
        _median_error_s(campaign.steady_samples.get(Route.CONTROL, ()), len(exposure.control)),
    )
    return noise_s <= max(given.felt, FELT_SHARE * given.asked)


def _median_error_s(usual: Sequence[Sample], samples: int) -> float:
    middle_s = median_latency_s(usual)
    if middle_s is None or not samples:
        return 0.0
    deviation_s = (quantile_s(usual, 0.95) - middle_s) / 1.645
    return 1.25 * deviation_s / math.sqrt(samples)


def patient(campaign: Campaign, exposure: Exposure) -> bool:
    """Whether clients waited for what the dose held back, none of them giving up on it.

    A service that gives up behind a fallback answers well and fast, so good outcomes alone do not
    tell: the dose must have been felt as well. A warm-up request counts like any other.
    """
    if sum(exposure.bad) + exposure.warmup_bad or not exposure.samples:
        return False
    kind = campaign.ladders[exposure.climb].ladder.dose
    return kind.patient(exposure.severity, dose(campaign, exposure).felt)


def validity(campaign: Campaign, exposure: Exposure, health: Health, lost: int) -> Validity:
    """Valid, or void with the reason.

    A control route that broke meanwhile takes gains and losses, since nobody looked at the canary
    for it; every other void keeps losses and drops gains.
    """
    if lost:
        return Validity(False, f"interrupted with {lost} requests in flight")
    ours = _instrument_fault(campaign, exposure, health)
    if ours is not None:
        return Validity(False, ours)
    control = _control_broke(campaign, exposure)
    if control is not None:
        return Validity(False, control, blind=True)
    if not exposure.samples:
        return Validity(False, "nothing was measured before it had to end")
    return _delivered(campaign, exposure)


def _control_broke(campaign: Campaign, exposure: Exposure) -> str | None:
    for s, slo in enumerate(campaign.slos):
        bad, n = sum(sample.bad[s] for sample in exposure.control), len(exposure.control)
        if log_e_above(n, bad, slo.bad_ratio) >= BROKEN_LOG_E:
            return f"the control route broke {slo.name} meanwhile: {ratio_text(bad, n)} bad"
    return None


def _delivered(campaign: Campaign, exposure: Exposure) -> Validity:
    ladder, given = campaign.ladders[exposure.climb].ladder, dose(campaign, exposure)
    noise_s = max(NOISE_S, usual_check_s(campaign, ladder.proxy) or 0.0)
    checks = exposure.check
    failed = sum(check.outcome is not Outcome.RESPONSE for check in checks)
    found = ladder.dose.delivery(exposure.severity, given.delivered, noise_s, failed, len(checks))
    if found is None:
        return Validity(True)
    if found.how is Misdelivered.CLOSED:
        last = next(c.told for c in reversed(checks) if c.outcome is not Outcome.RESPONSE)
        why = f"{failed} of {len(checks)} checks failed ({last}): the path is closed, not slow"
        return Validity(False, why)
    text, arrived = ladder.text, max(0.0, found.delivered or 0.0)
    more = "more than was asked" if found.how is Misdelivered.MORE else "not delivered"
    why = f"{more}: {text(arrived)} of {text(found.asked)} arrived at the dependency"
    return Validity(False, why)


def _instrument_fault(campaign: Campaign, exposure: Exposure, health: Health) -> str | None:
    if health.overloads:
        return f"the prober could not send {health.overloads} requests"
    sent = exposure.late + exposure.samples
    if exposure.late > LATE_SHARE * sent:
        return (
            f"the prober sent {exposure.late} of {sent} requests more than "
            f"{campaign.scenario.lag_bound_s * 1000:.0f} ms late: this machine is too busy for "
            "the rate"
        )
    return None


def control_drifted(campaign: Campaign) -> str | None:
    """Which SLO the control route missed over all valid exposures together, or None."""
    exposures = valid(campaign.exposures)
    n = sum(len(exposure.control) for exposure in exposures)
    for s, slo in enumerate(campaign.slos):
        bad = sum(sample.bad[s] for exposure in exposures for sample in exposure.control)
        if log_e_above(n, bad, slo.bad_ratio) >= BROKEN_LOG_E:
            return f"{slo.name}: {ratio_text(bad, n)} bad"
    return None


def clumped(campaign: Campaign) -> int:
    """Longest run of bad samples that neither chance explains nor the block length carries, or 0.

    Chance: independent failures at the ratio that the exposure had from about that run on, so that
    what sets in late and stays is no clump.
    """
    tau = max(slo.bad_ratio for slo in campaign.slos)
    longest = 0
    for exposure in valid(campaign.exposures):
        run = exposure.longest_run
        if run < CLUMP:
            continue
        ratio = max(tau, _ratio_around(exposure))
        if is_clump(run, exposure.samples, ratio):
            longest = max(longest, run)
    return longest if 4 * longest > campaign.ladders[0].certificate.block else 0


def _ratio_around(exposure: Exposure) -> float:
    """Bad share from the first failure on that no calm parts from the longest run of failures."""
    flags = "".join("x" if any(sample.bad) else "." for sample in exposure.canary)
    run = flags.find("x" * exposure.longest_run + ".")
    calm = flags.rfind("." * CALM, 0, max(run, 0))
    since = flags[max(flags.find("x", calm + 1), 0) :]
    return since.count("x") / max(1, len(since))


def expired(campaign: Campaign, now_s: float) -> str | None:
    """Why the evidence so far may be about another target than today's, or None.

    Asked between exposures, by the clock alone: a look that depended on outcomes would choose.
    """
    since_s, ttl_s = campaign.evidence_since_s, campaign.scenario.search.evidence_ttl_s
    if since_s is None or now_s - since_s <= ttl_s:
        return None
    return f"evidence is older than search.evidence_ttl ({ttl_s:g} s): certificates start again"


def valid(exposures: Sequence[Exposure]) -> list[Exposure]:
    """The exposures whose gains were kept."""
    return [e for e in exposures if e.validity is not None and e.validity.valid]
