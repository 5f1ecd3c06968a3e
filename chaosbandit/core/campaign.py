"""All that is known in a run, as a fold over its events: `apply(campaign, event)`.

Nothing here decides or acts. An exposure's evidence is provisional until `ExposureEnded` says it
was valid; a void one keeps its losses and loses its gains. Samples are counted as they come, so one
costs the same however many came before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

import numpy as np

from chaosbandit.core.events import (
    BlockRaised,
    Decided,
    Event,
    EvidenceExpired,
    ExposureEnded,
    ExposureStarted,
    Observed,
    RunStarted,
    SteadyStateMeasured,
    Stopped,
    WashedOut,
)
from chaosbandit.core.evidence import Certificate, Mask
from chaosbandit.core.growing_sequence import Series
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import (
    Decision,
    Dose,
    Expose,
    Phase,
    Purpose,
    Route,
    Sample,
    Validity,
)
from chaosbandit.core.ratio_tests import in_a_row
from chaosbandit.core.response import Belief
from chaosbandit.core.samples_to_evidence import Weighed, Weighing, weighed_anew
from chaosbandit.core.scenario import Scenario, Search
from chaosbandit.core.slo import SLO

AGES_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # since injection; each begins a span
Counts = tuple[int, ...]  # bad samples per SLO
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Arm:
    """What valid exposures measured at one arm (MEASURE samples of any purpose; warm-up apart)."""

    samples: int = 0
    bad: Counts = ()
    any_bad: int = 0  # bad in at least one SLO


@dataclass(frozen=True)
class Exposure:
    """One bounded injection and what it saw, in order of intended start per route."""

    n: int
    climb: int  # number of its ladder
    arm: int
    severity: float
    started_s: float
    bad: Counts  # canary MEASURE samples
    samples: int = 0
    canary: Series[Sample] = field(default_factory=Series)  # the same
    control: Series[Sample] = field(default_factory=Series)
    check: Series[Sample] = field(default_factory=Series)
    warmup: int = 0
    warmup_bad: int = 0  # in at least one SLO
    late: int = 0  # sent too late by us, so left out (known when it was sent)
    first_s: float | None = None  # when the first canary request was sent: ages count from here
    age_s: float = 0.0  # of the newest one that was measured
    by_age: Mapping[int, Arm] = field(default_factory=dict)  # per span of `AGES_S`
    bad_in_a_row: int = 0  # now
    longest_run: int = 0  # of bad samples, that a good one ended: what fails to the end is no clump
    validity: Validity | None = None  # None: still open
    dose: Dose | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything sent on one route in any phase, charged gross."""

    samples: int = 0
    bad: Counts = ()
    any_bad: int = 0
    bad_by_phase: Mapping[Phase, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Knowledge:
    """What is known of one ladder."""

    ladder: Ladder
    weighing: Weighing  # holds the certificate: one set for the crossing, threshold 1/delta
    beliefs: tuple[Belief, ...]  # per SLO; they guide, they never decide
    arms: tuple[Arm, ...]
    history: Series[Weighed | Validity] = field(default_factory=Series)  # since its evidence began
    highest_exposed: int | None = None
    samples: int = 0  # canary MEASURE samples since its evidence began

    @property
    def certificate(self) -> Certificate:
        """What is certified of it."""
        return self.weighing.certificate


@dataclass(frozen=True)
class Campaign:
    """Evidence, budget and history of a run; `climb.climbs` shows it ladder by ladder."""

    scenario: Scenario
    slos: tuple[SLO, ...]
    ladders: tuple[Knowledge, ...]  # in the scenario's order
    setup_samples: float = 0.0  # samples one more exposure costs in time (set-up and wash-out)
    injected: tuple[int, int] | None = None  # (ladder, arm) that is injected now
    spent_samples: int = 0  # canary MEASURE samples, all ladders
    unresolved: int = 0  # sent, not yet seen in order, when the policy is asked
    asked_s: float = 0.0  # when that is
    header: RunStarted | None = None
    steady: SteadyStateMeasured | None = None
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    exposures: tuple[Exposure, ...] = ()
    current: Exposure | None = None
    before: Knowledge | None = None  # what held before the open exposure, should it turn out void
    tallies: Mapping[Route, Tally] = field(default_factory=dict)
    steady_samples: Mapping[Route, Series[Sample]] = field(default_factory=dict)
    steady_checks: Mapping[str, Series[Sample]] = field(default_factory=dict)  # per proxy
    lost: int = 0
    control_sick: bool = False  # in the newest wash-out
    check_well: bool = False  # likewise
    voids_in_a_row: int = 0
    washouts_failed: int = 0
    washed_out: int = 0  # number of the last exposure that is known to be washed out
    evidence_since_s: float | None = None  # when the oldest evidence that counts was started
    stopped: Stopped | None = None

    def spent_bad(self, slo_index: int) -> int:
        """Bad canary samples charged to one SLO so far: all phases, and lost ones."""
        tally = self.tallies.get(Route.CANARY)
        return (tally.bad[slo_index] if tally else 0) + self.lost

    def budget_left(self) -> int:
        """Bad samples that may still happen: the smallest over the SLOs."""
        allowed = self.scenario.budget.allowed
        return min(allowed(slo) - self.spent_bad(s) for s, slo in enumerate(self.slos))

    def number_of(self, ladder: str) -> int:
        """Where in `ladders` that one is; a journal's only ladder may have no name."""
        names = [known.ladder.name for known in self.ladders]
        return names.index(ladder) if ladder in names else 0

    @property
    def newest(self) -> Ladder:
        """The ladder that is exposed or was last; before all exposures the first."""
        exposure = self.current or (self.exposures[-1] if self.exposures else None)
        return self.ladders[exposure.climb if exposure else 0].ladder


def begin(scenario: Scenario, setup_samples: float = 0.0) -> Campaign:
    """A campaign before anything happened."""
    none_bad = (0,) * len(scenario.slos)
    block = scenario.search.block or 1
    return Campaign(
        scenario=scenario,
        slos=scenario.slos,
        ladders=tuple(_begun(scenario, ladder, block, none_bad) for ladder in scenario.ladders),
        setup_samples=setup_samples,
    )


def _begun(scenario: Scenario, ladder: Ladder, block: int, control: Sequence[float]) -> Knowledge:
    """No evidence and prior beliefs, given the block length and the control's bad ratios."""
    return Knowledge(
        ladder=ladder,
        weighing=Weighing.start(_certificate(scenario, ladder, block)),
        beliefs=tuple(
            Belief.start(ladder.severities, slo.bad_ratio, ratio)
            for slo, ratio in zip(scenario.slos, control, strict=True)
        ),
        arms=_unmeasured(scenario, ladder),
    )


def _unmeasured(scenario: Scenario, ladder: Ladder) -> tuple[Arm, ...]:
    return (Arm(bad=(0,) * len(scenario.slos)),) * len(ladder.severities)


def _certificate(scenario: Scenario, ladder: Ladder, block: int) -> Certificate:
    search = scenario.search
    log_threshold = log_threshold_of(search)
    bad_ratios = [slo.bad_ratio for slo in scenario.slos]
    return Certificate.start(len(ladder.severities), bad_ratios, log_threshold, block)


def log_threshold_of(search: Search) -> float:
    """One for every claim: log 1/delta, split over the restarts that the time allows."""
    shares = 1
    if math.isfinite(search.max_duration_s):
        shares += int(search.max_duration_s / search.evidence_ttl_s)
    return math.log(shares) - math.log1p(-search.confidence)


def least_good(slo: SLO, search: Search) -> int:
    """Good requests without a bad one that show an SLO to hold: more where evidence may expire."""
    return in_a_row(slo.objective, log_threshold_of(search))


# --- the fold -------------------------------------------------------------------------------------


def apply(campaign: Campaign, event: Event) -> Campaign:
    """The campaign after one more event; pure, total over `Event`."""
    match event:
        case Observed():
            return _observed(campaign, event)
        case RunStarted():
            return _with(campaign, header=event)
        case SteadyStateMeasured():
            return _steady(campaign, event)
        case Decided():
            return _decided(campaign, event)
        case ExposureStarted():
            return _exposure_started(campaign, event)
        case ExposureEnded():
            return _exposure_ended(campaign, event)
        case WashedOut():
            return _washed_out(campaign, event)
        case BlockRaised():
            return _weighed_anew(campaign, event.block)
        case EvidenceExpired():
            return _expired(campaign)
        case Stopped():
            return _with(campaign, stopped=event)


def _with(record: _Record, **changes: Any) -> _Record:
    """The same record with changes; `dataclasses.replace` costs several times that per sample."""
    changed = object.__new__(type(record))
    changed.__dict__.update(record.__dict__)
    changed.__dict__.update(changes)
    assert len(changed.__dict__) == len(record.__dict__), "changes are to fields there are"
    return changed


def _with_ladder(campaign: Campaign, number: int, **changes: Any) -> Campaign:
    ladders = list(campaign.ladders)
    ladders[number] = _with(ladders[number], **changes)
    return _with(campaign, ladders=tuple(ladders))


def _steady(campaign: Campaign, event: SteadyStateMeasured) -> Campaign:
    scenario = campaign.scenario
    ladders = tuple(
        _begun(scenario, ladder, event.block, event.control_bad_ratios)
        for ladder in scenario.ladders
    )
    return _with(campaign, steady=event, ladders=ladders)


def _decided(campaign: Campaign, event: Decided) -> Campaign:
    decided = _with(campaign, decisions={**campaign.decisions, event.n: event.decision})
    if not isinstance(event.decision, Expose):
        return decided
    number = campaign.number_of(event.decision.variant.ladder)
    beliefs = tuple(belief.settled() for belief in campaign.ladders[number].beliefs)
    return _with_ladder(decided, number, beliefs=beliefs)


def _washed_out(campaign: Campaign, event: WashedOut) -> Campaign:
    return _with(
        campaign,
        washouts_failed=0 if event.back else campaign.washouts_failed + 1,
        washed_out=event.n if event.back else campaign.washed_out,
        control_sick=event.control_sick,
        check_well=event.check_well,
    )


def _weighed_anew(campaign: Campaign, block: int) -> Campaign:
    """All evidence once more, in longer blocks."""

    def anew(known: Knowledge) -> Knowledge:
        fresh = _certificate(campaign.scenario, known.ladder, block)
        return _with(known, weighing=weighed_anew(fresh, known.history, campaign.decisions))

    return _with(campaign, ladders=tuple(anew(known) for known in campaign.ladders))


def _expired(campaign: Campaign) -> Campaign:
    """A deploy between two parts of a run would mix two targets."""

    def expired(known: Knowledge) -> Knowledge:
        scenario, ladder = campaign.scenario, known.ladder
        fresh = _certificate(scenario, ladder, known.certificate.block)
        return _with(
            known,
            weighing=Weighing.start(fresh),
            arms=_unmeasured(scenario, ladder),
            history=Series(),
            samples=0,
        )

    ladders = tuple(expired(known) for known in campaign.ladders)
    return _with(campaign, ladders=ladders, evidence_since_s=None)


def _exposure_started(campaign: Campaign, event: ExposureStarted) -> Campaign:
    number = campaign.number_of(event.ladder)
    known, since_s = campaign.ladders[number], campaign.evidence_since_s
    highest = max(event.arm, -1 if known.highest_exposed is None else known.highest_exposed)
    return _with(
        _with_ladder(campaign, number, highest_exposed=highest),
        injected=(number, event.arm),
        current=Exposure(
            event.n,
            number,
            event.arm,
            event.severity,
            event.now_s,
            (0,) * len(campaign.slos),
        ),
        before=known,
        evidence_since_s=event.now_s if since_s is None else since_s,
    )


def _observed(campaign: Campaign, event: Observed) -> Campaign:
    for sample in event.samples:
        campaign = _charged(campaign, sample, event.phase)
        if event.phase is Phase.STEADY:
            campaign = _in_steady_state(campaign, sample, event.proxy)
        elif campaign.current is not None and event.phase is not Phase.WASHOUT:
            campaign = _in_exposure(campaign, campaign.current, event, sample)
    return campaign


def _in_steady_state(campaign: Campaign, sample: Sample, proxy: str) -> Campaign:
    if sample.route is Route.CHECK:
        checks = campaign.steady_checks
        seen = checks.get(proxy, Series[Sample]()).plus(sample)
        return _with(campaign, steady_checks={**checks, proxy: seen})
    steady = campaign.steady_samples
    seen = steady.get(sample.route, Series[Sample]()).plus(sample)
    return _with(campaign, steady_samples={**steady, sample.route: seen})


def _charged(campaign: Campaign, sample: Sample, phase: Phase) -> Campaign:
    return _tallied(campaign, sample.route, phase, 1, sample.bad, int(any(sample.bad)))


def _tallied(
    campaign: Campaign, route: Route, phase: Phase, samples: int, bad: Counts, any_bad: int
) -> Campaign:
    tally = campaign.tallies.get(route, Tally(bad=(0,) * len(campaign.slos)))
    phases, counts = tally.bad_by_phase, tally.bad
    if any_bad:
        phases, counts = {**phases, phase: phases.get(phase, 0) + any_bad}, _add(counts, bad)
    tally = Tally(tally.samples + samples, counts, tally.any_bad + any_bad, phases)
    return _with(campaign, tallies={**campaign.tallies, route: tally})


def _in_exposure(
    campaign: Campaign, current: Exposure, event: Observed, sample: Sample
) -> Campaign:
    if sample.route is Route.CONTROL:
        return _with(campaign, current=_with(current, control=current.control.plus(sample)))
    if sample.route is Route.CHECK:
        return _with(campaign, current=_with(current, check=current.check.plus(sample)))
    if current.first_s is None:
        current = _with(current, first_s=sample.intended_s)
    if event.phase is Phase.WARMUP or event.decision is None:
        bad = current.warmup_bad + any(sample.bad)
        current = _with(current, warmup=current.warmup + 1, warmup_bad=bad)
        return _with(campaign, current=current)
    if sample.lag_s > campaign.scenario.lag_bound_s:
        return _with(campaign, current=_with(current, late=current.late + 1))
    decision = campaign.decisions[event.decision]
    assert isinstance(decision, Expose), "samples belong to a decision to expose"
    return _measured(campaign, _counted(current, sample), event.decision, decision, sample)


def _counted(current: Exposure, sample: Sample) -> Exposure:
    """One more canary sample that was measured."""
    spoilt = any(sample.bad)
    longest = current.longest_run
    if not spoilt and current.bad_in_a_row > longest:
        longest = current.bad_in_a_row
    assert current.first_s is not None
    age_s = sample.intended_s - current.first_s
    span = _span(age_s)
    aged = current.by_age.get(span, Arm(bad=(0,) * len(sample.bad)))
    aged = Arm(aged.samples + 1, _add(aged.bad, sample.bad), aged.any_bad + spoilt)
    return _with(
        current,
        bad_in_a_row=current.bad_in_a_row + 1 if spoilt else 0,
        longest_run=longest,
        canary=current.canary.plus(sample),
        samples=current.samples + 1,
        bad=_add(current.bad, sample.bad) if spoilt else current.bad,
        age_s=age_s,
        by_age={**current.by_age, span: aged},
    )


def _span(age_s: float) -> int:
    """Which span of `AGES_S` an age belongs to."""
    return sum(age_s >= begins_s for begins_s in AGES_S[1:])


def _measured(
    campaign: Campaign, current: Exposure, n: int, decision: Expose, sample: Sample
) -> Campaign:
    """What was bet on is evidence and what the model learns, so that it prices what it will get.

    The arm's counts have what users waited for.
    """
    flags = sample.bad
    bet = sample.bad_since_sent if decision.purpose is Purpose.BROKE else flags
    known = campaign.ladders[current.climb]
    weighing = known.weighing.plus(n, decision, bet)
    return _learnt(
        campaign,
        current,
        decision.variant.arm,
        1,
        tuple(map(int, flags)),
        int(any(flags)),
        tuple(map(int, bet)),
        weighing=weighing,
        history=known.history.plus(Weighed(n, bet)),
    )


def _learnt(
    campaign: Campaign,
    current: Exposure,
    at: int,
    samples: int,
    bad: Counts,
    any_bad: int,
    taught: Counts,
    **changes: Any,
) -> Campaign:
    """The campaign once a ladder has `samples` more at an arm, `bad` of them per SLO.

    `taught` of them are bad to the model.
    """
    number = current.climb
    known = campaign.ladders[number]
    arm, arms = known.arms[at], list(known.arms)
    counts = _add(arm.bad, bad) if any_bad else arm.bad
    arms[at] = Arm(arm.samples + samples, counts, arm.any_bad + any_bad)
    beliefs = tuple(
        belief.observe(at, samples - count, count)
        for belief, count in zip(known.beliefs, taught, strict=True)
    )
    ladders = list(campaign.ladders)
    ladders[number] = _with(
        known, arms=tuple(arms), beliefs=beliefs, samples=known.samples + samples, **changes
    )
    spent = campaign.spent_samples + samples
    return _with(campaign, current=current, ladders=tuple(ladders), spent_samples=spent)


def measured(
    campaign: Campaign, n: int, bad: Mask, from_age_s: float = 0.0, apart_s: float = 0.0
) -> Campaign:
    """The campaign after many samples of decision `n` at once, in order of sending.

    `bad` is [sample, SLO]; the first was sent at the age `from_age_s` of the exposure, the others
    `apart_s` seconds apart. As many `Observed` of resolved, punctual samples, without their
    records: what a simulation of thousands of campaigns needs.
    """
    decision, current = campaign.decisions[n], campaign.current
    assert isinstance(decision, Expose), "samples belong to a decision to expose"
    assert current is not None, "they are measured in an exposure"
    counts, any_bad = _counts(bad)
    weighing = campaign.ladders[current.climb].weighing.many(n, decision, bad)
    campaign = charged(campaign, bad, Phase.MEASURE)
    current, arm = _aged(current, bad, from_age_s, apart_s), decision.variant.arm
    return _learnt(campaign, current, arm, len(bad), counts, any_bad, counts, weighing=weighing)


def _aged(current: Exposure, bad: Mask, from_age_s: float, apart_s: float) -> Exposure:
    """An exposure with many samples at once."""
    ages_s = from_age_s + apart_s * np.arange(len(bad))
    spans, by_age = np.searchsorted(AGES_S, ages_s, side="right") - 1, dict(current.by_age)
    for span in np.unique(spans).tolist():
        counts, any_bad = _counts(bad[spans == span])
        aged = by_age.get(span, Arm(bad=(0,) * bad.shape[1]))
        samples = aged.samples + int((spans == span).sum())
        by_age[span] = Arm(samples, _add(aged.bad, counts), aged.any_bad + any_bad)
    return _with(
        current,
        samples=current.samples + len(bad),
        bad=_add(current.bad, _counts(bad)[0]),
        age_s=float(ages_s[-1]) if len(bad) else current.age_s,
        by_age=by_age,
    )


def charged(campaign: Campaign, bad: Mask, phase: Phase) -> Campaign:
    """The campaign after many canary samples at once, [sample, SLO], as far as its budget goes."""
    return _tallied(campaign, Route.CANARY, phase, len(bad), *_counts(bad))


def _counts(bad: Mask) -> tuple[Counts, int]:
    """Bad samples per SLO, and in any."""
    return tuple(int(count) for count in bad.sum(axis=0)), int(bad.any(axis=1).sum())


def _exposure_ended(campaign: Campaign, event: ExposureEnded) -> Campaign:
    current, before = campaign.current, campaign.before
    assert current is not None, "an exposure ends once, after it started"
    assert before is not None, "an exposure remembers what stood before it"
    known = campaign.ladders[current.climb]
    changes: dict[str, Any] = {
        "weighing": known.weighing.ended(event.validity),
        "history": known.history.plus(event.validity),
    }
    if not event.validity.valid:
        changes["arms"] = before.arms
        if not event.validity.beliefs_stay:
            changes["beliefs"] = before.beliefs
    ended = _with(current, validity=event.validity, dose=event.dose)
    return _with(
        _with_ladder(campaign, current.climb, **changes),
        exposures=(*campaign.exposures, ended),
        current=None,
        before=None,
        injected=None,
        lost=campaign.lost + event.lost,
        voids_in_a_row=0 if event.validity.valid else campaign.voids_in_a_row + 1,
    )


def _add(counts: Counts, flags: Sequence[int]) -> Counts:
    return tuple(count + int(flag) for count, flag in zip(counts, flags, strict=True))


def median_latency_s(samples: Sequence[Sample]) -> float | None:
    """Median latency in seconds, or None without samples; time-outs count at the time-out."""
    return median(sample.latency_s for sample in samples) if samples else None
