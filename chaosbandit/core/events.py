"""What happens in a run, past tense: enough to replay every decision and claim.

Events are written to the journal before they are acted on; `campaign.apply` folds them. Their
fields are a stable format: changing one changes the version of the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chaosbandit.core.model import (
    Cause,
    Decision,
    Dose,
    Health,
    Phase,
    Sample,
    Validity,
)


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
    gate: bool = False  # `search.stop: gate`, whatever `source` says


@dataclass(frozen=True, slots=True)
class SteadyStateMeasured:
    """The SLOs before the first injection, and what later exposures are compared with."""

    met: bool
    why: str
    control_bad_ratios: tuple[float, ...]  # per SLO, shrunk estimate
    block: int  # length of clumps of failures the certificates allow for
    canary_p95_s: float
    canary_less_control_s: float  # of the medians: what users feel without any dose
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
    enough: bool = True  # False: too few requests fitted into the time to tell


@dataclass(frozen=True, slots=True)
class BlockRaised:
    """Failures came in longer clumps than the evidence allowed for: it is weighed anew.

    From here on, and for all evidence before, a block of `block` samples counts as one.
    """

    block: int
    clump: int  # bad samples in a row that no chance explains
    now_s: float


@dataclass(frozen=True, slots=True)
class EvidenceExpired:
    """From here on older evidence only guides the search: the target may have changed since.

    Beliefs, the budget spent and the record stay; certificates and counts start again. The chance
    of a false claim is split beforehand over as many restarts as the run's time allows.
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
    cause: Cause = Cause.INCONCLUSIVE


Event = (
    RunStarted
    | SteadyStateMeasured
    | Decided
    | ExposureStarted
    | Observed
    | ExposureEnded
    | WashedOut
    | BlockRaised
    | EvidenceExpired
    | Stopped
)
