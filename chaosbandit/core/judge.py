"""What may be believed: steady state, the validity of an exposure, and the claims of a campaign.

A broken instrument never blames the target: whatever went wrong with us makes an exposure void
(gains lost, losses kept) and a verdict unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from chaosbandit.core.campaign import (
    Campaign,
    Exposure,
    SteadyStateMeasured,
    median_latency_s,
)
from chaosbandit.core.evidence import claimed_bracket, log_e_above
from chaosbandit.core.model import (
    Bracket,
    Dose,
    Expose,
    Health,
    Outcome,
    Purpose,
    Route,
    Sample,
    Validity,
    Verdict,
    VerdictKind,
)
from chaosbandit.core.monotone import next_look, not_monotone
from chaosbandit.core.slo import SLO, bad_flags

BROKEN_LOG_E = math.log(20.0)  # an anytime-valid 5 % test
STEADY_FACTOR = 5  # steady state is extended up to this many times before it is called not met
DELIVERED_SHARE = 0.8  # of the asked dose must arrive at the dependency
NOISE_S = 0.002  # what a median may be off by for no reason
FELT_SHARE = 0.05  # of the asked dose must be felt somewhere for the path to count as exercised
LATE_SHARE = 0.2  # of an exposure's samples sent late: then the prober did not keep up
CLUMP, RARE = 5, 0.001  # a run this long, expected less than this often, is no chance
CHECK_WINDOW = 5  # answers of the dependency that vouch for its proxy
WASHOUT_WINDOW = 10  # samples in a row that must look healthy


# --- steady state ---------------------------------------------------------------------------------


def steady_state(
    campaign: Campaign, seen: Mapping[Route, Sequence[Sample]]
) -> tuple[bool, str] | None:
    """(met, why) of samples at severity 0, or None when more of them are needed."""
    wanted = campaign.scenario.timing.steady_samples
    waiting = False
    for route in (Route.CONTROL, Route.CANARY):
        samples = seen.get(route, ())
        refused = [sample for sample in samples if sample.outcome is Outcome.CONNECT_ERROR]
        if len(refused) == len(samples) >= min(10, wanted):
            return False, f"the {route} route cannot be connected to: nothing listens there"
        for slo in campaign.slos:
            bad = sum(not slo.sli.good(sample) for sample in samples)
            n, found = len(samples), _ratio_text(bad, len(samples))
            met = n >= wanted and bad / n <= slo.bad_ratio
            if log_e_above(n, bad, slo.bad_ratio) >= BROKEN_LOG_E or (
                not met and n >= STEADY_FACTOR * wanted
            ):
                return False, (
                    f"{slo.name} is not met on the {route} route without any fault: {found} bad, "
                    f"wanted at most {slo.bad_ratio:.3g}{_example(slo, samples)}"
                )
            waiting = waiting or not met
    return None if waiting else (True, "every SLO holds on control and canary")


def longest_burst(campaign: Campaign) -> int:
    """Longest run of bad canary or control samples in steady state, in order of sending."""
    longest = 0
    for route in (Route.CANARY, Route.CONTROL):
        run = 0
        for sample in sorted(campaign.steady_samples.get(route, ()), key=lambda s: s.seq):
            run = run + 1 if any(bad_flags(campaign.slos, sample)) else 0
            longest = max(longest, run)
    return longest


def block_length(campaign: Campaign) -> int:
    """Block length m: declared, or 4 times the longest burst of two or more."""
    declared, burst = campaign.scenario.search.block, longest_burst(campaign)
    observed = 4 * burst if burst >= 2 else 1
    return max(declared or 1, observed)


def control_bad_ratios(campaign: Campaign) -> tuple[float, ...]:
    """Bad ratio of the control route per SLO in steady state (plain share)."""
    samples = campaign.steady_samples.get(Route.CONTROL, ())
    return tuple(
        sum(not slo.sli.good(sample) for sample in samples) / max(1, len(samples))
        for slo in campaign.slos
    )


def quantile_s(samples: Sequence[Sample], q: float) -> float:
    """The q-quantile of the latencies, nearest rank, seconds; 0 without samples."""
    ordered = sorted(sample.latency_s for sample in samples)
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)] if ordered else 0.0


def steady_measured(campaign: Campaign, met: bool, why: str, now_s: float) -> SteadyStateMeasured:
    """The record later exposures are compared with."""
    seen = campaign.steady_samples
    return SteadyStateMeasured(
        met=met,
        why=why,
        control_bad_ratios=control_bad_ratios(campaign),
        block=block_length(campaign),
        canary_p95_s=quantile_s(seen.get(Route.CANARY, ()), 0.95),
        check_medians_s={
            proxy: middle_s
            for proxy, checks in campaign.steady_checks.items()
            if (middle_s := _arrived_s(checks)) is not None and middle_s > 0.0
        },
        now_s=now_s,
    )


# --- one exposure ---------------------------------------------------------------------------------


def dose(campaign: Campaign, exposure: Exposure) -> Dose:
    """What was asked, what arrived at the dependency (median check), what was felt (medians)."""
    canary, control = median_latency_s(exposure.canary), median_latency_s(exposure.control)
    if campaign.ladder.kind != "latency":
        broken = [s.outcome is not Outcome.RESPONSE for s in exposure.canary]
        share = sum(broken) / len(broken) if broken else None
        return Dose(exposure.severity, delivered=share, felt=share)
    check, base = _arrived_s(exposure.check), _usual_check_s(campaign)
    return Dose(
        asked=exposure.severity,
        delivered=None if check is None or base is None else check - base,
        felt=None if canary is None or control is None else canary - control,
    )


def patient(campaign: Campaign, exposure: Exposure) -> bool:
    """Whether clients waited for what the dose held back, none of them giving up on it.

    A service that gives up behind a fallback answers well and fast, so good outcomes alone do not
    tell: the dose must have been felt as well. A warm-up request counts like any other.
    """
    bad = sum(exposure.bad) + exposure.warmup_bad
    given = dose(campaign, exposure)
    if bad or not exposure.samples or given.felt is None or campaign.ladder.kind != "latency":
        return False
    return given.felt >= DELIVERED_SHARE * given.asked - NOISE_S


def validity(campaign: Campaign, exposure: Exposure, health: Health, lost: int) -> Validity:
    """Valid, or void with the reason; every void keeps losses and drops gains."""
    if lost:
        return Validity(False, f"interrupted with {lost} requests in flight")
    ours = _instrument_fault(campaign, exposure, health)
    if ours is not None:
        return Validity(False, ours)
    if not exposure.samples:
        return Validity(False, "nothing was measured before it had to end")
    for s, slo in enumerate(campaign.slos):
        bad = sum(bad_flags(campaign.slos, sample)[s] for sample in exposure.control)
        if log_e_above(len(exposure.control), bad, slo.bad_ratio) >= BROKEN_LOG_E:
            found = _ratio_text(bad, len(exposure.control))
            return Validity(False, f"the control route broke {slo.name} meanwhile: {found} bad")
    given = dose(campaign, exposure)
    if (
        campaign.ladder.kind == "latency"
        and given.delivered is not None
        and given.delivered < DELIVERED_SHARE * given.asked - _check_noise_s(campaign)
    ):
        text, failed = campaign.ladder.text, _unanswered_checks(exposure)
        return Validity(
            False,
            f"not delivered: {text(max(0.0, given.delivered))} of {text(given.asked)} arrived at "
            f"the dependency{failed}",
        )
    return Validity(True)


def _arrived_s(checks: Sequence[Sample]) -> float | None:
    """What the dependency took through its proxy (median); a check that fails took no dose at all.

    A path that is closed answers at once, one that hangs in its time-out: neither is the latency.
    """
    taken = [c.latency_s if c.outcome is Outcome.RESPONSE else 0.0 for c in checks]
    return median(taken) if taken else None


def _unanswered_checks(exposure: Exposure) -> str:
    failed = [check for check in exposure.check if check.outcome is not Outcome.RESPONSE]
    if not failed:
        return ""
    return f" ({len(failed)} of {len(exposure.check)} checks failed: {failed[-1].outcome})"


def _usual_check_s(campaign: Campaign) -> float | None:
    """What the dependency of the ladder faced took in steady state (median), if it was asked."""
    steady = campaign.steady
    return steady.check_medians_s.get(campaign.ladder.proxy) if steady else None


def _check_noise_s(campaign: Campaign) -> float:
    """What the delivered dose may be off by: the dependency's own usual time, at least a little."""
    return max(NOISE_S, _usual_check_s(campaign) or 0.0)


def control_drifted(campaign: Campaign) -> str | None:
    """Which SLO the control route missed over all valid exposures together, or None."""
    control = [sample for exposure in _valid(campaign) for sample in exposure.control]
    for slo in campaign.slos:
        bad = sum(not slo.sli.good(sample) for sample in control)
        if log_e_above(len(control), bad, slo.bad_ratio) >= BROKEN_LOG_E:
            return f"{slo.name}: {_ratio_text(bad, len(control))} bad"
    return None


def clumped(campaign: Campaign) -> int:
    """Longest run of bad samples that neither chance explains nor the block length carries, or 0.

    Chance: the number of such runs to expect of independent failures at that exposure's own bad
    ratio. An arm that simply fails all the time is no clump.
    """
    tau = max(slo.bad_ratio for slo in campaign.slos)
    longest = 0
    for exposure in _valid(campaign):
        run, ratio = exposure.longest_run, max(exposure.bad) / max(1, exposure.samples)
        if run >= CLUMP and exposure.samples * max(tau, ratio) ** run < RARE:
            longest = max(longest, run)
    return longest if 4 * longest > campaign.certificate.block else 0


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


def washed_out(
    campaign: Campaign, canary: Sequence[Sample], control: Sequence[Sample]
) -> tuple[bool, str]:
    """Whether the newest severity-0 samples are back in the control band, and what was found."""
    newest = canary[-WASHOUT_WINDOW:]
    steady_s = campaign.steady.canary_p95_s if campaign.steady else math.inf
    upper_s = 1.25 * max(steady_s, quantile_s(control, 0.95)) + 0.010
    middle_s = median_latency_s(tuple(newest)) or 0.0
    bad = _any_bad(campaign, newest)
    found = (
        f"{bad} of the last {len(newest)} bad{_all_alike(newest)}, median {middle_s * 1000:.0f} ms"
    )
    back = len(newest) == WASHOUT_WINDOW and bad == 0 and middle_s <= upper_s
    return back, f"{found}, band up to {upper_s * 1000:.0f} ms"


def plainly_sick(campaign: Campaign, samples: Sequence[Sample]) -> bool:
    """Whether a whole window of the newest samples, in order of completion, is bad."""
    return _any_bad(campaign, samples[-WASHOUT_WINDOW:]) == WASHOUT_WINDOW


def _all_alike(samples: Sequence[Sample]) -> str:
    """` (all connect-error)`: a target that is gone is told from one that is slow to recover."""
    outcomes = {sample.outcome for sample in samples}
    alike = len(outcomes) == 1 and Outcome.RESPONSE not in outcomes
    return f" (all {outcomes.pop()})" if alike else ""


def control_sick(campaign: Campaign, control: Sequence[Sample]) -> bool:
    """Whether half or more of these control samples are bad: then control vouches for nothing."""
    return 2 * _any_bad(campaign, control) >= len(control)


def check_well(campaign: Campaign, checks: Sequence[Sample]) -> bool:
    """Whether the dependency's newest answers through its proxy are as fast as in steady state."""
    steady_s = _usual_check_s(campaign)
    newest = tuple(sorted(checks, key=lambda sample: sample.seq)[-CHECK_WINDOW:])
    middle_s = median_latency_s(newest)
    if steady_s is None or middle_s is None or len(newest) < CHECK_WINDOW:
        return False
    answered = all(sample.outcome is Outcome.RESPONSE for sample in newest)
    return answered and middle_s <= 2.0 * steady_s + 0.010


def expired(campaign: Campaign, now_s: float) -> str | None:
    """Why the evidence so far may be about another target than today's, or None.

    Asked between exposures, by the clock alone: a look that depended on outcomes would choose.
    """
    since_s, ttl_s = campaign.evidence_since_s, campaign.scenario.search.evidence_ttl_s
    if since_s is None or now_s - since_s <= ttl_s:
        return None
    return f"evidence is older than search.evidence_ttl ({ttl_s:g} s): certificates start again"


# --- claims ---------------------------------------------------------------------------------------


def bracket(campaign: Campaign) -> Bracket:
    """What is certified of the breaking point: two sides of one set, or one side at 2/delta."""
    severities = campaign.ladder.severities
    confidence = campaign.scenario.search.confidence
    if not exercised(campaign) or clumped(campaign) or bumps(campaign):
        return Bracket(confidence=confidence)
    if campaign.certificate.empty or campaign.one_sided.empty:
        return Bracket(confidence=confidence)
    low, high, closed = _claimed(campaign)
    return Bracket(
        held=None if low is None else severities[low],
        broke=None if high is None else severities[high],
        closed=closed,
        confidence=confidence,
    )


def look_below(campaign: Campaign) -> Expose | None:
    """The next look for a milder severity that is worse than the certified one, where asked for."""
    held, _, _ = _claimed(campaign)
    if not campaign.scenario.search.monotone_check or held is None or bumps(campaign):
        return None
    taus = [slo.bad_ratio for slo in campaign.slos]
    severities, block = campaign.ladder.severities, campaign.certificate.block
    look = next_look(severities, campaign.arms, taus, held, block)
    if look is None:
        return None
    arm, samples = look
    why = f"is anything milder worse? a look at {campaign.ladder.text(severities[arm])}"
    ends = 3 + int(2 * samples * max(taus))
    return Expose(campaign.ladder.variant(arm), samples, Purpose.SEARCH, (), ends, why)


def bumps(campaign: Campaign) -> list[str]:
    """Severities that broke on their own samples though a harsher one holds, where asked for."""
    if not campaign.scenario.search.monotone_check:
        return []
    (held, _, _), block = _claimed(campaign), campaign.certificate.block
    taus = [slo.bad_ratio for slo in campaign.slos]
    text, severities, arms = campaign.ladder.text, campaign.ladder.severities, campaign.arms
    return [
        f"{text(severities[lower])} broke ({arms[lower].any_bad} of {arms[lower].samples} bad) "
        f"though {text(severities[upper])} holds"
        for lower, upper in not_monotone(arms, taus, held, None, block)
    ]


def _claimed(campaign: Campaign) -> tuple[int | None, int | None, bool]:
    """(held arm, broke arm, closed): two sides of one set, or one side alone at 2/delta."""
    severities, resolution = campaign.ladder.severities, campaign.scenario.search.resolution
    low, high, closed = claimed_bracket(campaign.certificate, severities, resolution)
    if low is None or high is None:
        return claimed_bracket(campaign.one_sided, severities, resolution)
    return low, high, closed


def exercised(campaign: Campaign) -> bool:
    """False when doses arrived at the dependency and were felt at no arm: the path is not used."""
    if campaign.ladder.kind != "latency":
        return True
    doses = [e.dose for e in _valid(campaign) if e.dose is not None and e.climb == campaign.face]
    known = [given for given in doses if given.felt is not None and given.delivered is not None]
    tau = max(slo.bad_ratio for slo in campaign.slos)
    if not known or any(
        log_e_above(arm.samples, arm.any_bad, tau) >= BROKEN_LOG_E for arm in campaign.arms
    ):
        return True
    return any(
        given.felt is not None and given.felt >= FELT_SHARE * given.asked + NOISE_S
        for given in known
        if given.asked >= NOISE_S
    ) or all(given.asked < 10 * NOISE_S for given in known)


def gate(campaign: Campaign) -> bool | None:
    """Whether the ladder's `require` gate holds: certified held above it, not, or not known yet."""
    bound = campaign.scenario.require.get(campaign.ladder.name)
    between = bracket(campaign)
    if bound is None:
        return None
    if between.held is not None and between.held >= bound:
        return True
    if between.closed or (between.broke is not None and between.broke <= bound):
        return False
    return None


def claims(campaign: Campaign) -> tuple[Verdict, ...]:
    """A verdict for every arm that was exposed, mildest first."""
    between = bracket(campaign)
    reached = {e.arm for e in campaign.exposures if e.climb == campaign.face}
    if campaign.current is not None and campaign.current.climb == campaign.face:
        reached.add(campaign.current.arm)
    return tuple(_verdict(campaign, between, arm) for arm in sorted(reached))


def _verdict(campaign: Campaign, between: Bracket, number: int) -> Verdict:
    arm, severity = campaign.arms[number], campaign.ladder.severities[number]
    text, sure = campaign.ladder.text(severity), f"{between.confidence:.4g} confidence"
    counts = f"{arm.any_bad} of {arm.samples} requests bad"
    kind, measured = VerdictKind.UNKNOWN, arm.samples > 0
    sentence = f"{text}: unknown, {counts}"
    if between.held is not None and severity <= between.held:
        kind, measured = VerdictKind.HELD, severity == between.held
    elif between.broke is not None and severity >= between.broke:
        kind, measured = VerdictKind.BROKE, severity == between.broke
    if kind is not VerdictKind.UNKNOWN:
        how = f"certified at {sure}" if measured else "implied by monotonicity"
        sentence = f"{text}: {kind}, {counts}, {how}"
    return Verdict(kind, campaign.ladder.name, severity, sentence, arm.samples, arm.bad, measured)


def _valid(campaign: Campaign) -> list[Exposure]:
    """The exposures whose gains were kept."""
    return [e for e in campaign.exposures if e.validity is not None and e.validity.valid]


def _any_bad(campaign: Campaign, samples: Sequence[Sample]) -> int:
    """How many of the samples are bad in at least one SLO."""
    return sum(any(bad_flags(campaign.slos, sample)) for sample in samples)


def _ratio_text(bad: int, n: int) -> str:
    return f"{bad} of {n}" + (f" ({bad / n:.2%})" if n else "")


def _example(slo: SLO, samples: Sequence[Sample]) -> str:
    """One bad sample in words, so that the operator sees what kind of bad it was."""
    for sample in samples:
        if not slo.sli.good(sample):
            status = sample.status if sample.status is not None else sample.outcome.value
            return f"; for example {status} after {sample.latency_s * 1000:.0f} ms"
    return ""
