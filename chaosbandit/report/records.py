"""The one result model of a run, as records; every report is drawn from these and nothing else.

Fields are stable and versioned by `schema`. Texts for people live in `answer` and `text`; nothing
here knows how the numbers came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from chaosbandit.core.model import Dose, Route, VerdictKind

SCHEMA = 1


class Cleanliness(StrEnum):
    """What is known about leftovers on the target."""

    VERIFIED = "verified"
    REMOVED = "removed"  # read back from the server, while the data path did not vouch for it
    NOT_CONFIRMED = "not confirmed"
    UNKNOWN = "unknown"  # the journal ends before the run said anything about it


class GateOutcome(StrEnum):
    """Whether a `require` gate holds; only PASSED lets a run succeed."""

    PASSED = "passed"
    FAILED = "failed"
    UNPROVEN = "unproven"


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


@dataclass(frozen=True, slots=True)
class LadderResult:
    """All that was found out about one ladder."""

    ladder: str
    proxy: str
    answer: str  # one sentence
    samples: int  # canary requests measured on it, in void exposures too
    bracket: BracketResult
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
