"""The one result model of a run, as records; every report is drawn from these and nothing else.

Fields are stable and versioned by `schema`. Texts for people live in `answer` and `text`; nothing
here knows how the numbers came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from chaosbandit.core.model import Cause, Dose, GateOutcome, Route, VerdictKind

SCHEMA = 2


class Cleanliness(StrEnum):
    """What is known about leftovers on the target."""

    VERIFIED = "verified"
    REMOVED = "removed"  # read back from the server, while the data path did not vouch for it
    NOT_CONFIRMED = "not confirmed"
    UNKNOWN = "unknown"  # the journal ends before the run said anything about it


@dataclass(frozen=True, slots=True)
class BracketResult:
    """Highest severity certified held and lowest certified broke, as numbers and as said."""

    held: float | None
    broke: float | None
    closed: bool
    confidence: float
    unit: str  # of `held` and `broke`: "s" or "share"
    held_text: str | None
    broke_text: str | None


@dataclass(frozen=True, slots=True)
class ArmResult:
    """The verdict of one exposed arm with its numbers."""

    verdict: VerdictKind
    severity: float
    severity_text: str
    samples: int
    bad: Mapping[str, int]  # per SLO
    measured: bool  # False: implied by monotonicity
    sentence: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """The `require` line of a ladder and what became of it."""

    above: float
    above_text: str
    outcome: GateOutcome
    why: str  # the outcome in words


@dataclass(frozen=True, slots=True)
class EstimateResult:
    """Where the model believes the breaking point to be: never certified.

    Inside of what is certified. `None` is beyond an end of the ladder; `text` says which.
    """

    median: float | None
    low: float | None  # of the band
    high: float | None
    band: float  # the share of its belief that lies between them
    text: str


@dataclass(frozen=True, slots=True)
class HoldResult:
    """How long the held severity was borne in one exposure; nothing is known of longer."""

    stood_s: float
    asked_s: float  # search.hold
    text: str


@dataclass(frozen=True, slots=True)
class BasisResult:
    """The samples at one end of a bracket; all milder or harsher ones follow by monotonicity.

    For what broke, those of milder severities that broke too: above what held.
    """

    samples: int
    bad: int  # in at least one SLO
    exposures: int
    text: str


@dataclass(frozen=True, slots=True)
class AgeResult:
    """What was measured in one span of time since the injection."""

    from_s: float
    to_s: float | None  # None: without end
    samples: int
    bad: int  # in at least one SLO
    bad_ratio: float


@dataclass(frozen=True, slots=True)
class AgesResult:
    """When failures come at one severity, counted from its injection."""

    severity: float
    severity_text: str
    spans: tuple[AgeResult, ...]
    late_s: float | None  # age of the first one, where all come late; None: they do not
    text: str  # where they lie at the beginning only, or late only; else empty


@dataclass(frozen=True, slots=True)
class ControlResult:
    """A control route that fails too: no fault of ours touches it."""

    samples: int
    bad: int
    most_seen: str  # the status, or what became of the request, of most bad ones; may be empty
    text: str


@dataclass(frozen=True, slots=True)
class LadderResult:
    """All that was found out about one ladder."""

    ladder: str
    proxy: str
    answer: str  # one sentence
    samples: int  # canary requests measured on it, in void exposures too
    bracket: BracketResult
    estimate: EstimateResult | None  # None: nothing was measured that it could rest on
    hold: HoldResult | None  # of the bracket's held end
    rests_held: BasisResult | None
    rests_broke: BasisResult | None
    block: int  # samples that count as one, where failures come in clumps
    ages_held: AgesResult | None  # also of what held at first and did not stand
    ages_broke: AgesResult | None
    gate: GateResult | None  # None: nothing is required of it
    dose_held: Dose | None  # measured at the bracket's held end
    dose_broke: Dose | None
    arms: tuple[ArmResult, ...]


@dataclass(frozen=True, slots=True)
class RouteResult:
    """Everything sent on one route in any phase."""

    route: Route
    sent: int
    bad: Mapping[str, int]  # per SLO
    any_bad: int
    bad_by_phase: Mapping[str, int] = field(default_factory=dict)  # only phases with any


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """The ledger of one SLO's error budget, charged gross."""

    slo: str
    objective: float
    allowed: int  # bad requests this run may cause
    spent: int  # bad canary requests of every phase, lost ones included
    left: int
    window_s: float
    window_share: float  # `spent` as a share of the whole window's budget
    excess_over_control: float  # bad requests more than the control route's ratio explains
    burn_rate: float  # times faster than the objective allows


@dataclass(frozen=True, slots=True)
class ExposureResult:
    """One bounded injection, what it measured and whether it may be believed."""

    n: int
    ladder: str
    severity: float
    severity_text: str
    after_s: float  # since the run started
    samples: int
    warmup: int
    bad: Mapping[str, int]  # per SLO, of `samples`
    valid: bool
    why: str  # why it is void
    dose: Dose


@dataclass(frozen=True, slots=True)
class SteadyResult:
    """The SLOs before the first injection; `met` is None when that was never decided."""

    met: bool | None
    why: str
    block: int


@dataclass(frozen=True, slots=True)
class Result:
    """All that is told of one run."""

    schema: int
    scenario: str
    run: str
    seed: int | None
    answer: str  # a sentence a ladder, each on a line of its own
    next_step: str  # what to do about an answer that is missing or incomplete; else empty
    answered: bool  # of all ladders
    exit_code: int
    stop_reason: str
    cause: Cause | None  # None: the journal ends before the run did
    control: ControlResult | None  # None: the control route is well
    clean: Cleanliness
    clean_why: str
    ladders: tuple[LadderResult, ...]  # in the scenario's order
    requests: tuple[RouteResult, ...]
    lost: int  # sent but never awaited; charged as bad
    budgets: tuple[BudgetResult, ...]  # shared by all ladders
    exposures: tuple[ExposureResult, ...]
    steady: SteadyResult
    warnings: tuple[str, ...]
    journal: str | None
    started_epoch_s: float | None
    duration_s: float
    versions: Mapping[str, str]
    connections_cut: int | None = 0  # by us; None: they could not be counted
    clean_notes: tuple[str, ...] = ()  # what else there is to know of the proxies
