"""The frozen records that cross the borders: what is injected, sent, seen and claimed.

This module knows nothing of statistics, files or sockets. Severities of latency ladders are in
seconds, of error ladders a share 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from chaosbandit.faults.fault import Toxic


class Route(StrEnum):
    """Where a request goes: the sick path, the healthy one beside it, or the proxied dependency."""

    CANARY = "canary"
    CONTROL = "control"
    CHECK = "check"


class Outcome(StrEnum):
    """What became of one request; everything but RESPONSE is bad in every SLI."""

    RESPONSE = "response"
    TIMEOUT = "timeout"
    CONNECT_ERROR = "connect-error"
    TRANSPORT_ERROR = "transport-error"
    KEPT_CLOSED = "kept-connection-closed"  # by the server, before an answer began
    NO_HTTP = "no-http"  # an answer came, which HTTP clients refuse
    OVERLOAD = "overload"  # ours: the prober could not send it; never scored against the target


class Phase(StrEnum):
    """What a sample was sent for; only MEASURE is ever bet on."""

    STEADY = "steady"
    WARMUP = "warmup"
    MEASURE = "measure"
    WASHOUT = "washout"


class Purpose(StrEnum):
    """What the evidence of a batch is meant to prove, fixed before its samples are sent."""

    SEARCH = "search"
    HELD = "held"
    BROKE = "broke"
    HOLD = "hold"  # no bets: the held arm stands until it was borne for `search.hold`


class Cause(StrEnum):
    """Why a run is over; `core.ending` says what follows from it."""

    BRACKETED = "bracketed"  # held and broke, as close as was asked
    HELD_AT_CAP = "held at the cap"
    BROKE_AT_MILDEST = "broke at the mildest"
    GATE_DECIDED = "gate decided"

    INCONCLUSIVE = "inconclusive"  # the policy gave up
    ASSUMPTIONS = "assumptions failed"
    NOT_EXERCISED = "path not exercised"
    NOT_MONOTONE = "not monotone"
    NOT_STOOD = "did not stand"  # what had held failed later in the same exposure
    NOT_REPEATED = "did not repeat"  # what had broken did not break again

    CAPPED = "capped"  # guardrails.max_severity
    BUDGET = "budget"
    SAMPLES = "samples"
    TIME = "time"
    FROZEN = "frozen"  # the kill switch

    HARNESS = "harness"
    TARGET = "target"
    STEADY_STATE = "steady state"
    TOXIPROXY = "toxiproxy"

    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    NOT_CLEAN = "not clean"
    POLICY = "policy"  # it said what no policy may say
    INTERNAL = "internal"


class VerdictKind(StrEnum):
    """Held, broke, or an honest unknown."""

    HELD = "held"
    BROKE = "broke"
    UNKNOWN = "unknown"


class GateOutcome(StrEnum):
    """What a `require` gate came to; undecided is neither."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Variant:
    """A sick canary: the toxics of one ladder at one severity (arm 0 is the mildest)."""

    ladder: str
    proxy: str
    arm: int
    severity: float
    toxics: tuple[Toxic, ...]

    def same_as(self, other: Variant) -> bool:
        """Whether both are the same arm of the same ladder."""
        return (self.ladder, self.arm) == (other.ladder, other.arm)


@dataclass(frozen=True, slots=True)
class Sample:
    """One request; times are seconds on the run's clock, latency counts from `intended_s`."""

    seq: int
    route: Route
    intended_s: float
    started_s: float
    latency_s: float
    outcome: Outcome
    status: int | None = None
    bad: tuple[bool, ...] = ()  # per SLO; scored once, when it arrives
    bad_since_sent: tuple[bool, ...] = ()  # the same without our own lag, which proves no "broke"
    why: str = ""  # what of the answer was refused, or how it was lost

    @property
    def told(self) -> str:
        """`503`, `timeout`, `no-http: Too many headers received`."""
        if self.outcome is Outcome.RESPONSE:
            return str(self.status)
        return f"{self.outcome}: {self.why}" if self.why else str(self.outcome)

    @property
    def lag_s(self) -> float:
        """How much later than intended it was sent: our fault, not the target's."""
        return self.started_s - self.intended_s


@dataclass(frozen=True, slots=True)
class Health:
    """How well the prober itself did during one stream, blind to the target's answers."""

    lag_p99_s: float = 0.0
    cpu_share: float = 0.0  # of one processor, by the prober's busiest process
    overloads: int = 0
    missed_share: float = 0.0  # of all slots: they stayed empty, since the engine was too busy


@dataclass(frozen=True, slots=True)
class Expose:
    """Send `samples` requests at a variant; `bets` is q per SLO, fixed before they are sent."""

    variant: Variant
    samples: int
    purpose: Purpose
    bets: tuple[float, ...] = ()
    stop_after_bad: int | None = None  # this many bad ones stop the sending early
    why: str = ""
    worth: float = 0.0  # nats it teaches per sample's cost: the best of several ladders goes first
    anew: bool = False  # in another exposure, even where the variant stands


@dataclass(frozen=True, slots=True)
class Stop:
    """End the campaign; `answered` is True when what was asked is certified."""

    reason: str
    answered: bool = False
    cause: Cause = Cause.INCONCLUSIVE


Decision = Expose | Stop


@dataclass(frozen=True, slots=True)
class Dose:
    """What arrived at the dependency and what users felt, s or share; None: not measured."""

    asked: float
    delivered: float | None = None
    felt: float | None = None


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether an exposure's gains in evidence may be kept, and if not, why.

    `blind` says that the reason was found without looking at the canary's samples: then neither
    gains nor losses count. Beliefs may stay where only the recovery afterwards was at fault.
    """

    valid: bool
    why: str = ""
    blind: bool = False
    beliefs_stay: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is claimed of one arm, with its numbers and a sentence for a tired operator."""

    kind: VerdictKind
    ladder: str
    severity: float
    sentence: str
    samples: int = 0
    bad: tuple[int, ...] = ()  # per SLO
    measured: bool = True  # False: implied by monotonicity


@dataclass(frozen=True, slots=True)
class Bracket:
    """Highest severity certified held and lowest certified broke; None is not known."""

    held: float | None = None
    broke: float | None = None
    closed: bool = False
    confidence: float = field(default=0.95)
