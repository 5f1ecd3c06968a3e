"""All that is known in a run, as a fold over the journal's events: `apply(campaign, event)`.

Nothing here decides or acts. An exposure's evidence is provisional until `ExposureEnded` says it
was valid; a void one keeps its losses and loses its gains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import Any

from chaosbandit.core.evidence import Certificate, Mask
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
    check_medians_s: Mapping[str, float]  # per proxy that has a `check`
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
    fault: str  # name of the toxic that will stand on the proxy
    now_s: float
    ladder: str = ""  # "": the only one


@dataclass(frozen=True, slots=True)
class Observed:
    """Samples whose outcome is final, in order of intended start per route."""

    phase: Phase
    decision: int | None  # number of the `Decided` these MEASURE samples belong to
    samples: tuple[Sample, ...]
    proxy: str = ""  # whose `check` answered, for CHECK samples of steady state


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
class EvidenceExpired:
    """From here on older evidence only guides the search: the target may have changed since.

    Beliefs, the budget spent and the record stay; certificates and counts start again, each claim
    with the whole delta of its own.
    """

    why: str
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
    connections_cut: int | None = 0  # by us, in undoing; None: they could not be counted
    notes: tuple[str, ...] = ()  # what else there is to know of the proxies


Event = (
    RunStarted
    | SteadyStateMeasured
    | Decided
    | ExposureStarted
    | Observed
    | ExposureEnded
    | WashedOut
    | EvidenceExpired
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
    warmup_bad: int = 0  # in at least one SLO
    late: int = 0  # sent too late by us, so left out (known when it was sent)
    validity: Validity | None = None  # None: still open
    dose: Dose | None = None
    bad: tuple[int, ...] = ()  # per SLO, canary MEASURE samples
    samples: int = 0
    bad_in_a_row: int = 0  # now, and the longest such run
    longest_run: int = 0
    climb: int = 0  # number of its ladder


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything sent on one route in any phase, charged gross."""

    samples: int = 0
    bad: tuple[int, ...] = ()  # per SLO
    any_bad: int = 0
    bad_by_phase: Mapping[Phase, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Climb:
    """What is known of one ladder."""

    ladder: Ladder
    certificate: Certificate  # one set for the crossing, threshold 1/delta: brackets
    beliefs: tuple[Belief, ...]  # per SLO; they guide, they never decide
    arms: tuple[Arm, ...]
    highest_exposed: int | None = None
    samples: int = 0  # canary MEASURE samples since its evidence began


@dataclass(frozen=True)  # no slots: cached_property needs somewhere to write
class Campaign:
    """Arms, evidence, budget and history of a run; policies read this and nothing else.

    A campaign faces one ladder at a time: `ladder`, `certificate`, `arms` and the like are that
    one's. `facing(i)` is the same campaign looking at another.
    """

    scenario: Scenario
    slos: tuple[SLO, ...]
    climbs: tuple[Climb, ...]  # one per ladder, in the scenario's order
    face: int = 0  # the ladder looked at
    injected: tuple[int, int] | None = None  # (ladder, arm) that is injected now
    spent_samples: int = 0  # canary MEASURE samples, all ladders
    unresolved: int = 0  # sent, not yet seen in order, when the policy is asked
    setup_samples: float = 0.0  # samples one more exposure costs in time (set-up and wash-out)
    header: RunStarted | None = None
    steady: SteadyStateMeasured | None = None
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    exposures: tuple[Exposure, ...] = ()
    current: Exposure | None = None
    before: Climb | None = None  # what held before the open exposure, should it turn out void
    pending: tuple[tuple[int, tuple[bool, ...]], ...] = ()  # (decision, flags): block not complete
    tallies: Mapping[Route, Tally] = field(default_factory=dict)
    steady_samples: Mapping[Route, tuple[Sample, ...]] = field(default_factory=dict)
    steady_checks: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)  # per proxy
    lost: int = 0
    control_sick: bool = False  # in the newest wash-out
    check_well: bool = False  # likewise
    voids_in_a_row: int = 0
    washouts_failed: int = 0
    washed_out: int = 0  # number of the last exposure that is known to be washed out
    evidence_since_s: float | None = None  # when the oldest evidence that counts was started
    stopped: Stopped | None = None

    def facing(self, climb: int) -> Campaign:
        """The same campaign looking at ladder number `climb`."""
        return self if climb == self.face else replace(self, face=climb)

    def each(self) -> tuple[Campaign, ...]:
        """This campaign once per ladder, facing it."""
        return tuple(self.facing(climb) for climb in range(len(self.climbs)))

    @property
    def climb(self) -> Climb:
        """What is known of the ladder faced."""
        return self.climbs[self.face]

    @property
    def ladder(self) -> Ladder:
        """The ladder faced."""
        return self.climb.ladder

    @property
    def certificate(self) -> Certificate:
        """Its confidence set at the threshold for brackets, 1/delta."""
        return self.climb.certificate

    @cached_property
    def one_sided(self) -> Certificate:
        """The same evidence at 2/delta: what a verdict of one side alone needs."""
        certificate = self.climb.certificate
        return certificate.at_threshold(certificate.log_threshold + math.log(2.0))

    @property
    def beliefs(self) -> tuple[Belief, ...]:
        """What the model believes of it, per SLO."""
        return self.climb.beliefs

    @property
    def arms(self) -> tuple[Arm, ...]:
        """What was measured at its arms."""
        return self.climb.arms

    @property
    def highest_exposed(self) -> int | None:
        """Its highest arm that was ever exposed."""
        return self.climb.highest_exposed

    @property
    def standing(self) -> int | None:
        """Its arm that is injected now."""
        return self.injected[1] if self.injected and self.injected[0] == self.face else None

    def with_climb(self, **changes: Any) -> Campaign:
        """The same with changes to what is known of the ladder faced."""
        changed = replace(self.climbs[self.face], **changes)
        climbs = (*self.climbs[: self.face], changed, *self.climbs[self.face + 1 :])
        return replace(self, climbs=climbs)

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


def begin(scenario: Scenario, setup_samples: float = 0.0) -> Campaign:
    """A campaign before anything happened."""
    campaign = Campaign(
        scenario=scenario,
        slos=scenario.slos,
        climbs=tuple(_climb(scenario, ladder) for ladder in scenario.ladders),
        setup_samples=setup_samples,
    )
    return _afresh(campaign, scenario.search.block or 1, (0.0,) * len(scenario.slos))


def _climb(scenario: Scenario, ladder: Ladder) -> Climb:
    none_bad = (0,) * len(scenario.slos)
    return Climb(
        ladder=ladder,
        certificate=_certificate(scenario, ladder, block=1),
        beliefs=(),
        arms=(Arm(bad=none_bad),) * len(ladder.severities),
    )


def _certificate(scenario: Scenario, ladder: Ladder, block: int) -> Certificate:
    log_threshold = -math.log1p(-scenario.search.confidence)
    bad_ratios = [slo.bad_ratio for slo in scenario.slos]
    return Certificate.start(len(ladder.severities), bad_ratios, log_threshold, block)


def _afresh(campaign: Campaign, block: int, control: tuple[float, ...]) -> Campaign:
    """No evidence and prior beliefs, given the block length and the control's bad ratios."""

    def fresh(climb: Climb) -> Climb:
        beliefs = tuple(
            Belief.start(climb.ladder.severities, slo.bad_ratio, ratio)
            for slo, ratio in zip(campaign.slos, control, strict=True)
        )
        certificate = _certificate(campaign.scenario, climb.ladder, block)
        return replace(climb, certificate=certificate, beliefs=beliefs)

    return replace(campaign, climbs=tuple(fresh(climb) for climb in campaign.climbs))


# --- the fold -------------------------------------------------------------------------------------


def apply(campaign: Campaign, event: Event) -> Campaign:
    """The campaign after one more event; pure, total over `Event`."""
    match event:
        case RunStarted():
            return replace(campaign, header=event)
        case SteadyStateMeasured():
            return replace(_afresh(campaign, event.block, event.control_bad_ratios), steady=event)
        case Decided():
            return _decided(campaign, event)
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
        case EvidenceExpired():
            return _expired(campaign)
        case Stopped():
            return replace(campaign, stopped=event)


def _decided(campaign: Campaign, event: Decided) -> Campaign:
    decision = event.decision
    face = campaign.face
    if isinstance(decision, Expose):
        names = [climb.ladder.name for climb in campaign.climbs]
        face = names.index(decision.variant.ladder)
    decided = replace(campaign, face=face, decisions={**campaign.decisions, event.n: decision})
    return decided.with_climb(beliefs=tuple(belief.settled() for belief in decided.beliefs))


def _expired(campaign: Campaign) -> Campaign:
    """A deploy between two parts of a run would mix two targets."""
    none_bad = (0,) * len(campaign.slos)

    def expired(climb: Climb) -> Climb:
        fresh = _certificate(campaign.scenario, climb.ladder, climb.certificate.block)
        arms = (Arm(bad=none_bad),) * len(climb.arms)
        return replace(climb, certificate=fresh, arms=arms, samples=0)

    climbs = tuple(expired(climb) for climb in campaign.climbs)
    return replace(campaign, climbs=climbs, evidence_since_s=None)


def _exposure_started(campaign: Campaign, event: ExposureStarted) -> Campaign:
    """The campaign faces the ladder of its newest decision, so the exposure is one of that."""
    climb, none_bad = campaign.climb, (0,) * len(campaign.slos)
    since_s = campaign.evidence_since_s
    exposure = Exposure(
        event.n, event.arm, event.severity, event.now_s, bad=none_bad, climb=campaign.face
    )
    highest = max(event.arm, -1 if climb.highest_exposed is None else climb.highest_exposed)
    return replace(
        campaign.with_climb(highest_exposed=highest),
        injected=(campaign.face, event.arm),
        current=exposure,
        before=climb,
        evidence_since_s=event.now_s if since_s is None else since_s,
    )


def _observed(campaign: Campaign, event: Observed) -> Campaign:
    for sample in event.samples:
        flags = bad_flags(campaign.slos, sample)
        campaign = _charge(campaign, sample, flags, event.phase)
        if event.phase is Phase.STEADY:
            campaign = _in_steady_state(campaign, sample, event.proxy)
        elif campaign.current is not None and event.phase is not Phase.WASHOUT:
            campaign = _in_exposure(campaign, event, sample, flags)
    return campaign


def _in_steady_state(campaign: Campaign, sample: Sample, proxy: str) -> Campaign:
    if sample.route is Route.CHECK:
        checks = campaign.steady_checks
        seen = (*checks.get(proxy, ()), sample)
        return replace(campaign, steady_checks={**checks, proxy: seen})
    steady = campaign.steady_samples
    seen = (*steady.get(sample.route, ()), sample)
    return replace(campaign, steady_samples={**steady, sample.route: seen})


def _charge(campaign: Campaign, sample: Sample, flags: tuple[bool, ...], phase: Phase) -> Campaign:
    return _tallied(campaign, sample.route, phase, 1, flags, int(any(flags)))


def _tallied(
    campaign: Campaign,
    route: Route,
    phase: Phase,
    samples: int,
    bad: tuple[int, ...],
    any_bad: int,
) -> Campaign:
    tally = campaign.tallies.get(route, Tally(bad=(0,) * len(bad)))
    phases = tally.bad_by_phase
    if any_bad:
        phases = {**phases, phase: phases.get(phase, 0) + any_bad}
    tally = Tally(tally.samples + samples, _add(tally.bad, bad), tally.any_bad + any_bad, phases)
    return replace(campaign, tallies={**campaign.tallies, route: tally})


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
        bad = current.warmup_bad + any(flags)
        warmed = replace(current, warmup=current.warmup + 1, warmup_bad=bad)
        return replace(campaign, current=warmed)
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
    decision = campaign.decisions[event.decision]
    bet = flags
    if isinstance(decision, Expose) and decision.purpose is Purpose.BROKE:
        # Our own lag must not count for "broke": what the target took is measured from the send.
        took = replace(sample, latency_s=sample.latency_s - max(0.0, sample.lag_s))
        bet = bad_flags(campaign.slos, took)
    return _bet(_learn(replace(campaign, current=current), current.arm, flags), event.decision, bet)


def _learn(campaign: Campaign, number: int, flags: tuple[bool, ...]) -> Campaign:
    """The model and the arm's counts see every measured sample, whatever it was sent for."""
    counts = tuple(int(flag) for flag in flags)
    return learnt(campaign, number, 1, counts, int(any(flags)))


def learnt(
    campaign: Campaign, number: int, samples: int, bad: tuple[int, ...], any_bad: int
) -> Campaign:
    """The campaign once the ladder faced has `samples` more at an arm, `bad` of them per SLO."""
    climb, arm = campaign.climb, campaign.arms[number]
    arm = Arm(arm.samples + samples, _add(arm.bad, bad), arm.any_bad + any_bad)
    learnt = campaign.with_climb(
        arms=(*climb.arms[:number], arm, *climb.arms[number + 1 :]),
        beliefs=tuple(
            belief.observe(number, samples - count, count)
            for belief, count in zip(climb.beliefs, bad, strict=True)
        ),
        samples=climb.samples + samples,
    )
    return replace(learnt, spent_samples=campaign.spent_samples + samples)


def measured(campaign: Campaign, number: int, bad: Mask) -> Campaign:
    """The campaign after many samples of decision `number` at once, in order of sending.

    `bad` is [sample, SLO]. As many `Observed` of resolved, punctual samples, without their records:
    what a simulation of thousands of campaigns needs.
    """
    decision = campaign.decisions[number]
    assert isinstance(decision, Expose), "samples belong to a decision to expose"
    counts, any_bad = _counts(bad)
    known = learnt(
        charged(campaign, bad, Phase.MEASURE), decision.variant.arm, len(bad), counts, any_bad
    )
    return proven(known, decision, bad)


def charged(campaign: Campaign, bad: Mask, phase: Phase) -> Campaign:
    """The campaign after many canary samples at once, [sample, SLO], as far as its budget goes."""
    return _tallied(campaign, Route.CANARY, phase, len(bad), *_counts(bad))


def _counts(bad: Mask) -> tuple[tuple[int, ...], int]:
    """Bad samples per SLO, and in any."""
    return tuple(int(count) for count in bad.sum(axis=0)), int(bad.any(axis=1).sum())


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
    rows = [flags for _, flags in campaign.pending]
    return proven(replace(campaign, pending=()), decision, rows)


def proven(campaign: Campaign, decision: Expose, bad: Sequence[Sequence[bool]] | Mask) -> Campaign:
    """The campaign once the samples of a decision, in order of sending, are in its certificate."""
    if decision.purpose is Purpose.SEARCH:
        return campaign
    arm, certificate = decision.variant.arm, campaign.certificate
    certificate = certificate.observe(arm, decision.purpose, decision.bets, bad)
    return campaign.with_climb(certificate=certificate)


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
        certificate = campaign.certificate.keep_losses(before.certificate)
        campaign = campaign.with_climb(
            certificate=certificate, beliefs=before.beliefs, arms=before.arms
        )
    ended = replace(current, validity=event.validity, dose=event.dose)
    return replace(
        campaign,
        exposures=(*campaign.exposures, ended),
        current=None,
        before=None,
        injected=None,
        lost=campaign.lost + event.lost,
        voids_in_a_row=0 if event.validity.valid else campaign.voids_in_a_row + 1,
    )


def _add(counts: tuple[int, ...], flags: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(count + int(flag) for count, flag in zip(counts, flags, strict=True))


def median_latency_s(samples: tuple[Sample, ...]) -> float | None:
    """Median latency in seconds, or None without samples; time-outs count at the time-out."""
    return median(sample.latency_s for sample in samples) if samples else None
