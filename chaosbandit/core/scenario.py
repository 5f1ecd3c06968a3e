"""What the user asked, as one immutable record; `chaosbandit.scenario` reads it from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.slo import SLO, ErrorBudget
from chaosbandit.core.topology import Topology
from chaosbandit.faults.fault import Bypass

EMBEDDED = "embedded"
BRACKET, GATE = "bracket", "gate"  # when a search has its answer
SAFE_METHODS = ("GET", "HEAD")
BODILESS = (*SAFE_METHODS, "OPTIONS", "TRACE")  # other methods tell the length of a body, were it 0
FASTEST_PER_S = 3000.0  # the highest `traffic.rate`, where the machine can send twice as much
LAG_SHARE = 0.05  # of the tightest latency bound: a request sent later than this is our fault


@dataclass(frozen=True, slots=True)
class Proxy:
    """A dependency's proxy: where it points and listens, and a URL that answers through it."""

    name: str
    upstream: str  # host:port
    listen: str | None = None  # host:port; needed in `canary`
    check: str | None = None  # URL of the dependency through the proxy, for the delivered dose
    bypass: Bypass | None = None  # what leads traffic around a proxy that cannot be repaired


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests that stand for the users'."""

    url: str  # a template: see `url_template`
    control_url: str
    rate_per_s: float
    timeout_s: float
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    fresh_connections: bool = False  # a connection per request
    body: str = field(default="", repr=False)  # a template too; may hold secrets
    control_share: float = 0.2  # control requests per canary request

    @property
    def sent_per_s(self) -> float:
        """Requests a second to canary and control."""
        return self.rate_per_s * (1 + self.control_share)


@dataclass(frozen=True, slots=True)
class Search:
    """How to look and how sure to be."""

    policy: str = "certify"
    confidence: float = 0.95
    resolution: float = 0.10
    hold_s: float = 15.0  # how long the held severity stands in one exposure before an answer
    stop: str = BRACKET  # or GATE: as soon as `require` is decided
    escalation: float = 1.5  # never above the highest believed arm times this
    cost_of_bad: float = 0.0  # lambda: samples one expected bad sample is worth
    block: int | None = None  # declared length of clumps of failures; None: from steady state
    max_samples: int | None = None
    max_duration_s: float = 1800.0
    evidence_ttl_s: float = 3600.0  # older evidence only guides
    monotone_check: bool = False  # after a bracket, look whether anything milder is worse


@dataclass(frozen=True, slots=True)
class Guardrails:
    """Limits on what may be injected and sent."""

    max_severity: float | None = None
    max_severity_unit: str | None = None  # of the doses it is meant for; None: of all
    max_exposure_s: float = 30.0
    abort_if_bad_in_a_row: int = 20
    max_unresolved: int = 5  # above the highest severity believed to hold
    freeze: tuple[str, ...] = ()  # files and URLs; while one is there nothing may be injected


@dataclass(frozen=True, slots=True)
class Timing:
    """The fixed parts of an exposure."""

    warmup_s: float = 0.3
    warmup_samples: int = 5  # the longer of the two counts
    washout_s: float = 15.0  # longest wait for the control band
    steady_samples: int = 100


@dataclass(frozen=True, slots=True)
class Scenario:
    """Target, SLOs, ladders, budget, guardrails, search, seed."""

    name: str
    toxiproxy: str  # URL of the API, or `embedded`
    topology: Topology
    proxies: tuple[Proxy, ...]
    traffic: Traffic
    slos: tuple[SLO, ...]
    budget: ErrorBudget
    ladders: tuple[Ladder, ...]
    search: Search = field(default_factory=Search)
    guardrails: Guardrails = field(default_factory=Guardrails)
    timing: Timing = field(default_factory=Timing)
    require: Mapping[str, float] = field(default_factory=dict)  # ladder -> must hold above this
    description: str = ""
    seed: int | None = None

    @property
    def ladder(self) -> Ladder:
        """The first ladder: of many scenarios the only one."""
        return self.ladders[0]

    def cap(self, ladder: Ladder) -> float | None:
        """The harshest severity the guardrails allow on a ladder; None is no limit."""
        limits = self.guardrails
        meant = limits.max_severity_unit in (None, ladder.dose.unit)
        return limits.max_severity if meant else None

    @property
    def lag_bound_s(self) -> float:
        """Scheduling lag a sample may have: 5 % of the tightest latency SLO, or of the time-out."""
        bounds = [slo.sli.latency_s for slo in self.slos if slo.sli.latency_s is not None]
        return LAG_SHARE * min(bounds, default=self.traffic.timeout_s)

    def proxy(self, name: str) -> Proxy:
        """The proxy of that name."""
        return next(proxy for proxy in self.proxies if proxy.name == name)
