"""All that is known in a run, as a fold over the journal's events: `apply(campaign, event)`.

Nothing here decides or acts. An exposure's evidence is provisional until `ExposureEnded` says it
was valid; a void one keeps its losses and loses its gains (statistics.md 3, rule 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median

from chaosbandit.core.evidence import Certificate
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import (
    Decision,
    Dose,
    Expose,
    Health,
    Phase,
    Purpose,
    Route,
    Sample,
    Validity,
)
from chaosbandit.core.response import Belief
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.slo import SLO, bad_flags

# --- events: past tense, typed, enough to replay every decision and claim -------------------------


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The header of a journal; `source` is the scenario file's text, secrets unexpanded."""

    run: str
    name: str
    seed: int
    version: str
    epoch_s: float
    now_s: float  # the monotonic clock at that moment
    source: str
    server: str
    server_version: str


@dataclass(frozen=True, slots=True)
class SteadyStateMeasured:
    """The SLOs before the first injection, and what later exposures are compared with."""

    met: bool
    why: str
    control_bad_ratios: tuple[float, ...]  # per SLO, shrunk estimate
    block: int  # length of clumps of failures the certificates allow for
    canary_p95_s: float
    check_median_s: float | None
    now_s: float


@dataclass(frozen=True, slots=True)
class Decided:
    """What the policy chose, number `n`, while `unresolved` samples were still in flight."""

    n: int
    decision: Decision
    unresolved: int
    now_s: float


@dataclass(frozen=True, slots=True)
class ExposureStarted:
    """Written, and on disk, before anything is injected."""

    n: int
    arm: int
    severity: float
    fault: str  # name of the proxy that will exist
    now_s: float


@dataclass(frozen=True, slots=True)
class Observed:
    """Samples whose outcome is final, in order of intended start per route."""

    phase: Phase
    decision: int | None  # number of the `Decided` these MEASURE samples belong to
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class ExposureEnded:
    """The variant is gone; says whether its gains in evidence may be kept."""

    n: int
    arm: int
    validity: Validity
    dose: Dose
    health: Health
    lost: int  # sent but never awaited (interrupted): charged as bad
    halted: str | None  # the guardrail's reason when it stopped the sending
    now_s: float


@dataclass(frozen=True, slots=True)
class WashedOut:
    """Whether the path at severity 0 came back to the control band after exposure `n`."""

    n: int
    back: bool
    why: str
    control_sick: bool  # the control route failed meanwhile, so the path cannot be judged by it
    check_well: bool  # the dependency answered through its proxy as in steady state
    now_s: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why the run ended; `clean` says what is known about leftovers."""

    reason: str
    answered: bool
    exit_code: int
    clean: bool
    clean_why: str
    now_s: float


Event = (
    RunStarted
    | SteadyStateMeasured
    | Decided
    | ExposureStarted
    | Observed
    | ExposureEnded
    | WashedOut
    | Stopped
)

# --- state ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arm:
    """What valid exposures measured at one arm (MEASURE samples of any purpose; warm-up apart)."""

    samples: int = 0
    bad: tuple[int, ...] = ()  # per SLO
    any_bad: int = 0  # bad in at least one SLO


@dataclass(frozen=True, slots=True)
class Exposure:
    """One bounded injection and all it saw, in order of intended start per route."""

    n: int
    arm: int
    severity: float
    started_s: float
    canary: tuple[Sample, ...] = ()  # MEASURE only
    control: tuple[Sample, ...] = ()
    check: tuple[Sample, ...] = ()
    warmup: int = 0
    late: int = 0  # sent too late by us, so left out (known at sending, statistics.md 3.2)
    validity: Validity | None = None  # None: still open
    dose: Dose | None = None
    bad: tuple[int, ...] = ()  # per SLO, canary MEASURE samples
    samples: int = 0
    bad_in_a_row: int = 0  # now, and the longest such run
    longest_run: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything sent on one route in any phase, charged gross."""

    samples: int = 0
    bad: tuple[int, ...] = ()  # per SLO
    any_bad: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What held before the open exposure, to fall back on when it turns out void."""

    certificate: Certificate
    one_sided: Certificate
    beliefs: tuple[Belief, ...]
    arms: tuple[Arm, ...]


@dataclass(frozen=True, slots=True)
class Campaign:
    """Arms, evidence, budget and history of a run; policies read this and nothing else."""

    scenario: Scenario
    ladder: Ladder
    slos: tuple[SLO, ...]
    certificate: Certificate  # one set for the crossing, threshold 1/delta: brackets
    one_sided: Certificate  # threshold 2/delta: a verdict of one side alone
    beliefs: tuple[Belief, ...]  # per SLO; they guide, they never decide
    arms: tuple[Arm, ...]
    standing: int | None = None  # arm that is injected now
    highest_exposed: int | None = None
    spent_samples: int = 0  # canary MEASURE samples
    unresolved: int = 0  # sent, not yet seen in order, when the policy is asked
    setup_samples: float = 0.0  # samples one more exposure costs in time (set-up and wash-out)
    header: RunStarted | None = None
    steady: SteadyStateMeasured | None = None
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    exposures: tuple[Exposure, ...] = ()
    current: Exposure | None = None
    before: Standing | None = None
    pending: tuple[tuple[int, tuple[bool, ...]], ...] = ()  # (decision, flags): block not complete
    tallies: Mapping[Route, Tally] = field(default_factory=dict)
    steady_samples: Mapping[Route, tuple[Sample, ...]] = field(default_factory=dict)
    lost: int = 0
    control_sick: bool = False  # in the newest wash-out
    check_well: bool = False  # likewise
    voids_in_a_row: int = 0
    washouts_failed: int = 0
    washed_out: int = 0  # number of the last exposure that is known to be washed out
    stopped: Stopped | None = None

    def spent_bad(self, slo_index: int) -> int:
        """Bad canary samples charged to one SLO so far: all phases, and lost ones."""
        tally = self.tallies.get(Route.CANARY)
        return (tally.bad[slo_index] if tally else 0) + self.lost

    def budget_left(self) -> int:
        """Bad samples that may still happen: the smallest over the SLOs."""
        allowed = self.scenario.budget.allowed
        return min(allowed(slo) - self.spent_bad(s) for s, slo in enumerate(self.slos))

    def believed_broken(self, arm: int) -> float:
        """P(arm breaks at least one SLO), as far as the model believes (comonotone over SLOs)."""
        return max(belief.p_broke(arm) for belief in self.beliefs)


def begin(scenario: Scenario, ladder: Ladder, setup_samples: float = 0.0) -> Campaign:
    """A campaign before anything happened."""
    block = scenario.search.block or 1
    return _fresh_evidence(
        Campaign(
            scenario=scenario,
            ladder=ladder,
            slos=scenario.slos,
            certificate=_certificate(scenario, ladder, block, sides=1),
            one_sided=_certificate(scenario, ladder, block, sides=2),
            beliefs=(),
            arms=(),
            setup_samples=setup_samples,
        ),
        block,
        (0.0,) * len(scenario.slos),
    )


def _certificate(scenario: Scenario, ladder: Ladder, block: int, sides: int) -> Certificate:
    log_threshold = math.log(sides / (1.0 - scenario.search.confidence))
    bad_ratios = [slo.bad_ratio for slo in scenario.slos]
    return Certificate.start(len(ladder.severities), bad_ratios, log_threshold, block)


def _fresh_evidence(campaign: Campaign, block: int, control: tuple[float, ...]) -> Campaign:
    scenario, ladder = campaign.scenario, campaign.ladder
    none_bad = (0,) * len(campaign.slos)
    return replace(
        campaign,
        certificate=_certificate(scenario, ladder, block, sides=1),
        one_sided=_certificate(scenario, ladder, block, sides=2),
        beliefs=tuple(
            Belief.start(ladder.severities, slo.bad_ratio, ratio)
            for slo, ratio in zip(campaign.slos, control, strict=True)
        ),
        arms=(Arm(bad=none_bad),) * len(ladder.severities),
    )


# --- the fold -------------------------------------------------------------------------------------


def apply(campaign: Campaign, event: Event) -> Campaign:
    """The campaign after one more event; pure, total over `Event`."""
    match event:
        case RunStarted():
            return replace(campaign, header=event)
        case SteadyStateMeasured():
            fresh = _fresh_evidence(campaign, event.block, event.control_bad_ratios)
            return replace(fresh, steady=event)
        case Decided():
            return replace(campaign, decisions={**campaign.decisions, event.n: event.decision})
        case ExposureStarted():
            return _exposure_started(campaign, event)
        case Observed():
            return _observed(campaign, event)
        case ExposureEnded():
            return _exposure_ended(campaign, event)
        case WashedOut():
            failed = 0 if event.back else campaign.washouts_failed + 1
            washed = event.n if event.back else campaign.washed_out
            return replace(
                campaign,
                washouts_failed=failed,
                washed_out=washed,
                control_sick=event.control_sick,
                check_well=event.check_well,
            )
        case Stopped():
            return replace(campaign, stopped=event)


def _exposure_started(campaign: Campaign, event: ExposureStarted) -> Campaign:
    exposure = Exposure(
        event.n, event.arm, event.severity, event.now_s, bad=(0,) * len(campaign.slos)
    )
    before = Standing(campaign.certificate, campaign.one_sided, campaign.beliefs, campaign.arms)
    highest = max(event.arm, -1 if campaign.highest_exposed is None else campaign.highest_exposed)
    return replace(
        campaign, standing=event.arm, highest_exposed=highest, current=exposure, before=before
    )


def _observed(campaign: Campaign, event: Observed) -> Campaign:
    for sample in event.samples:
        flags = bad_flags(campaign.slos, sample)
        campaign = _charge(campaign, sample, flags)
        if event.phase is Phase.STEADY:
            seen = campaign.steady_samples.get(sample.route, ())
            steady = {**campaign.steady_samples, sample.route: (*seen, sample)}
            campaign = replace(campaign, steady_samples=steady)
        elif campaign.current is not None and event.phase is not Phase.WASHOUT:
            campaign = _in_exposure(campaign, event, sample, flags)
    return campaign


def _charge(campaign: Campaign, sample: Sample, flags: tuple[bool, ...]) -> Campaign:
    tally = campaign.tallies.get(sample.route, Tally(bad=(0,) * len(flags)))
    tally = Tally(tally.samples + 1, _add(tally.bad, flags), tally.any_bad + any(flags))
    return replace(campaign, tallies={**campaign.tallies, sample.route: tally})


def _in_exposure(
    campaign: Campaign, event: Observed, sample: Sample, flags: tuple[bool, ...]
) -> Campaign:
    current = campaign.current
    assert current is not None
    if sample.route is Route.CONTROL:
        return replace(campaign, current=replace(current, control=(*current.control, sample)))
    if sample.route is Route.CHECK:
        return replace(campaign, current=replace(current, check=(*current.check, sample)))
    if event.phase is Phase.WARMUP or event.decision is None:
        return replace(campaign, current=replace(current, warmup=current.warmup + 1))
    if sample.lag_s > campaign.scenario.lag_bound_s:
        return replace(campaign, current=replace(current, late=current.late + 1))
    in_a_row = current.bad_in_a_row + 1 if any(flags) else 0
    current = replace(
        current,
        bad_in_a_row=in_a_row,
        longest_run=max(in_a_row, current.longest_run),
        canary=(*current.canary, sample),
        samples=current.samples + 1,
        bad=_add(current.bad, flags),
    )
    campaign = replace(campaign, current=current, spent_samples=campaign.spent_samples + 1)
    campaign, decision = _learn(campaign, current.arm, flags), campaign.decisions[event.decision]
    if isinstance(decision, Expose) and decision.purpose is Purpose.BROKE:
        # Our own lag must not count for "broke": what the target took is measured from the send.
        took = replace(sample, latency_s=sample.latency_s - max(0.0, sample.lag_s))
        flags = bad_flags(campaign.slos, took)
    return _bet(campaign, event.decision, flags)


def _learn(campaign: Campaign, number: int, flags: tuple[bool, ...]) -> Campaign:
    """The model and the arm's counts see every measured sample, whatever it was sent for."""
    arm = campaign.arms[number]
    arm = Arm(arm.samples + 1, _add(arm.bad, flags), arm.any_bad + any(flags))
    return replace(
        campaign,
        arms=(*campaign.arms[:number], arm, *campaign.arms[number + 1 :]),
        beliefs=tuple(
            belief.observe(number, int(not bad), int(bad))
            for belief, bad in zip(campaign.beliefs, flags, strict=True)
        ),
    )


def _bet(campaign: Campaign, decision: int, flags: tuple[bool, ...]) -> Campaign:
    """Certificates take whole blocks of one decision; the bets were fixed when it was made."""
    if campaign.pending and campaign.pending[0][0] != decision:
        campaign = _close_block(campaign)
    pending = (*campaign.pending, (decision, flags))
    campaign = replace(campaign, pending=pending)
    return _close_block(campaign) if len(pending) == campaign.certificate.block else campaign


def _close_block(campaign: Campaign) -> Campaign:
    if not campaign.pending:
        return campaign
    decision = campaign.decisions[campaign.pending[0][0]]
    assert isinstance(decision, Expose), "samples belong to a decision to expose"
    campaign, rows = replace(campaign, pending=()), [flags for _, flags in campaign.pending]
    if decision.purpose is Purpose.SEARCH:
        return campaign
    arm, purpose, bets = decision.variant.arm, decision.purpose, decision.bets
    return replace(
        campaign,
        certificate=campaign.certificate.observe(arm, purpose, bets, rows),
        one_sided=campaign.one_sided.observe(arm, purpose, bets, rows),
    )


def _exposure_ended(campaign: Campaign, event: ExposureEnded) -> Campaign:
    if event.halted is not None and campaign.pending:
        # A guardrail cut the block because it went badly: what was not sent counts as bad.
        number, _ = campaign.pending[0]
        unsent = campaign.certificate.block - len(campaign.pending)
        cut = (number, (True,) * len(campaign.slos))
        decision = campaign.decisions[number]
        if isinstance(decision, Expose) and decision.purpose is Purpose.HELD:
            campaign = replace(campaign, pending=(*campaign.pending, *(cut,) * unsent))
    campaign = _close_block(campaign)
    current, before = campaign.current, campaign.before
    assert current is not None, "an exposure ends once, after it started"
    assert before is not None, "an exposure remembers what stood before it"
    if not event.validity.valid:
        campaign = replace(
            campaign,
            certificate=campaign.certificate.keep_losses(before.certificate),
            one_sided=campaign.one_sided.keep_losses(before.one_sided),
            beliefs=before.beliefs,
            arms=before.arms,
        )
    return replace(
        campaign,
        exposures=(
            *campaign.exposures,
            replace(current, validity=event.validity, dose=event.dose),
        ),
        current=None,
        before=None,
        standing=None,
        lost=campaign.lost + event.lost,
        voids_in_a_row=0 if event.validity.valid else campaign.voids_in_a_row + 1,
    )


def _add(counts: tuple[int, ...], flags: tuple[bool, ...]) -> tuple[int, ...]:
    return tuple(count + int(flag) for count, flag in zip(counts, flags, strict=True))


def median_latency_s(samples: tuple[Sample, ...]) -> float | None:
    """Median latency in seconds, or None without samples; time-outs count at the time-out."""
    return median(sample.latency_s for sample in samples) if samples else None
