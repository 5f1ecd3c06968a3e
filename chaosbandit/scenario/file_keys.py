"""The keys of a scenario file: what each means, how it is read, what it is when left out.

The JSON Schema and scenarios/REFERENCE.md are made from these models. What two sections must have
in common is checked in `section_checks`.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from chaosbandit.core.scenario import BODILESS, SAFE_METHODS
from chaosbandit.scenario import value_types as f
from chaosbandit.scenario.doses import LADDERS, LadderKeys
from chaosbandit.scenario.key_declarations import Keys, key, section
from chaosbandit.scenario.quantities import WantedError
from chaosbandit.scenario.severities import Gate, Severity


class ProxyKeys(Keys):
    """A dependency's proxy."""

    upstream: f.Address = key("Where the dependency really is.", "127.0.0.1:9001")
    listen: f.ListenAddress = key(
        "Where the proxy listens; needed in `canary`, where a service is wired to it. "
        "In `edge` a free port is taken when it is left out.",
        "127.0.0.1:9101",
        None,
    )
    check: f.CheckUrl = key(
        "A URL the dependency answers through the proxy, to measure the dose that arrives.",
        "http://127.0.0.1:9101/stock/1",
        None,
    )
    bypass: f.Bypass = key(
        "Your own way around this proxy, should Toxiproxy hang: a URL that gets a POST, or a "
        "command as a list of words that begins with an absolute path. It is used when a removal "
        "cannot be confirmed, by the run and again by its watchdog or `clean`, so twice must do no "
        "harm. Nobody but you takes it back.",
        ["/usr/local/bin/route-around", "inventory"],
        None,
    )

    @model_validator(mode="after")
    def _no_loop(self) -> ProxyKeys:
        if self.listen == self.upstream:
            raise WantedError("another address than upstream's", at=("listen",))
        return self


class TrafficKeys(Keys):
    """The requests that stand for the users'."""

    url: f.NumberedUrl = key(
        "What is asked for: in `canary` of the canary instance. `{n}` becomes the sample's number, "
        "`{n:1..8}` one of these at random, `{uuid}` one that was never sent.",
        "http://127.0.0.1:9200/product/{n}",
    )
    control_url: f.ControlUrl = key(
        "The same of a healthy instance beside it; needed in `canary`, elsewhere it is `url`.",
        "http://127.0.0.1:9100/product/{n}",
        None,
    )
    rate: f.Rate = key("Requests to the canary, in open loop.", "50/s", "10/s")
    timeout: f.Timeout = key(
        "One time-out for the whole request; a request that meets it is bad.", "2s", "5s"
    )
    method: f.Method = key("The HTTP method.", "HEAD", "GET")
    headers: dict[f.HeaderName, f.HeaderValue] = Field(
        default_factory=dict,
        max_length=100,
        description="HTTP headers sent with every request. Keep secrets in `${VARIABLES}`.",
        examples=[{"Authorization": "Bearer ${SHOP_TOKEN}"}],
    )
    body: f.Body = key(
        "What is sent along, with the placeholders of `url`; for methods that take a body. Unless "
        "`headers` say its `Content-Type`, it is JSON where it begins with a brace or bracket, "
        "else a form.",
        '{"product": {n:1..8}, "order": "{uuid}"}',
        None,
    )
    connections: f.Connections = key(
        "`keep-alive`: connections are kept; `per-request`: a new one for each request.",
        "per-request",
        "keep-alive",
    )
    control_share: f.ControlShare = key("Control requests per canary request.", "50%", "20%")
    unsafe_methods: f.Truth = key(
        "`true` allows methods other than GET and HEAD: the requests may change data.", True, False
    )

    @model_validator(mode="after")
    def _methods_are_safe(self) -> TrafficKeys:
        if self.method not in SAFE_METHODS and not self.unsafe_methods:
            wanted = "GET or HEAD, or `unsafe_methods: true` beside it: others may change data"
            raise WantedError(wanted, at=("method",))
        if self.body is not None and self.method in BODILESS:
            wanted = "no body, or a method that takes one, such as POST, and `unsafe_methods: true`"
            raise WantedError(wanted, at=("body",))
        return self


class SloKeys(Keys):
    """What must hold for users."""

    name: f.Name = key("Its name in verdicts and reports; each once.", "availability")
    good: f.Condition = key(
        "Which responses are good: `status in ...`, `latency <= ...`, or both joined by ` and `. "
        "Time-outs and transport errors never are.",
        "status in 2xx-3xx and latency <= 400ms",
    )
    objective: f.Objective = key("The share of requests that must be good.", "99.9%")


class BudgetKeys(Keys):
    """The users' error budget and how much of it a run may spend."""

    window: f.Window = key("The window the objectives are kept over.", "7d", "30d")
    requests: f.Requests = key("Requests users send in that window.", "2_000_000")
    spend: f.Spend = key("The share of the window's error budget this run may spend.", "1%", "5%")


if TYPE_CHECKING:
    AnyLadder = LadderKeys
else:
    AnyLadder = Annotated[reduce(or_, LADDERS.values()), Field(discriminator="toxic")]


class SearchKeys(Keys):
    """How to look and how sure to be."""

    policy: f.Policy = key("Who decides what is tried next.", "certify", "certify")
    confidence: f.Confidence = key("How sure the bracket must be.", "99%", "95%")
    resolution: f.Resolution = key(
        "How narrow the bracket must be: 10% ends at 190 ms to 209 ms.", "5%", "10%"
    )
    escalation: f.Escalation = key(
        "Never try more than the highest severity believed to hold, times this.", 2, 1.5
    )
    hold: f.HoldTime = key(
        "How long a severity must be borne in one exposure before it is said to hold; `0s`: as "
        "long as its samples take.",
        "1m",
        "15s",
    )
    stop: f.Stop = key(
        "When there is an answer: `bracket`, once the breaking point is between two severities a "
        "resolution apart; `gate`, once every gate of `require` has held or failed.",
        "gate",
        "bracket",
    )
    cost_of_bad: f.CostOfBad = key(
        "How many samples it is worth to avoid one bad sample; 0 finishes soonest.", 10, 0
    )
    block: f.Samples = key(
        "How many samples in a row may fail together; left out, it is measured in steady state.",
        5,
        None,
    )
    max_samples: f.Samples = key(
        "Stop after this many canary samples; left out, only the other limits count.", 5000, None
    )
    max_duration: f.SearchTime = key("Stop after this time.", "10m", "30m")
    evidence_ttl: f.SearchTime = key(
        "Evidence older than this only guides the search; what is claimed is shown anew.",
        "20m",
        "1h",
    )
    monotone_check: f.Truth = key(
        "`true` looks, after a bracket, whether anything milder is worse: at every factor of two "
        "below it, some thousand requests more at 99%.",
        True,
        False,
    )


class GuardrailKeys(Keys):
    """What may never be exceeded."""

    max_severity: Severity = key(
        "Never inject more than this on ladders of its kind (latency for a duration, errors for a "
        "share); left out, each ladder's `to` is the limit.",
        "2s",
        None,
    )
    max_exposure: f.ExposureTime = key("The longest time one fault may stand.", "10s", "30s")
    abort_if_bad_in_a_row: f.Limit = key(
        "End an exposure after this many bad measured samples in a row.", 10, 20
    )
    max_unresolved: f.Limit = key(
        "Requests under way above the highest severity believed to hold.", 3, 5
    )
    freeze: f.Freeze = Field(
        default=(),
        max_length=10,
        description="Kill switches: while one of these files exists, or one of these URLs answers "
        "2xx instead of 404 or 410, nothing is injected and a standing fault is removed. "
        "`/etc/chaosbandit/freeze` and `$XDG_STATE_HOME/chaosbandit/freeze` (`~/.local/state` by "
        "default) always count.",
        examples=[["/etc/chaosbandit/freeze", "https://ops.example.com/freeze/storefront"]],
    )


class TimingKeys(Keys):
    """The fixed parts of an exposure."""

    warmup: f.Warmup = key("Time after injection whose samples prove nothing.", "3s", "0.3s")
    warmup_samples: f.WarmupSamples = key(
        "The same in samples; the longer of the two counts.", 50, 5
    )
    washout: f.Washout = key("The longest wait for normal answers after a removal.", "30s", "15s")
    steady_samples: f.SteadySamples = key(
        "Samples on each route that must meet the SLOs before anything is injected.", 300, 100
    )


class Document(Keys):
    """A chaosbandit scenario."""

    version: f.Version = key("The version of this format.", 1)
    name: f.Name = key("The scenario's name in reports and history.", "storefront-slow-inventory")
    description: f.Text = key("The question it answers, for people.", "How slow may it be?", "")
    toxiproxy: f.Toxiproxy = key(
        "The URL of the Toxiproxy API, or `embedded` for a server inside this run.",
        "embedded",
        "http://127.0.0.1:8474",
    )
    topology: f.Topology = key(
        "`edge`: our own proxy in front of the service; `canary`: the proxy behind one instance.",
        "canary",
    )
    proxies: dict[f.Name, ProxyKeys] = Field(
        min_length=1,
        max_length=100,
        description="The proxied dependencies, by the name of their proxy.",
    )
    traffic: TrafficKeys = Field(description="The requests that stand for the users'.")
    slos: list[SloKeys] = Field(
        min_length=1, max_length=20, description="What must hold for users."
    )
    budget: BudgetKeys = Field(description="The error budget and the part a run may spend.")
    ladders: list[AnyLadder] = Field(
        min_length=1,
        max_length=20,
        description="What is made worse. Several ladders share one budget and one search, which "
        "works where a request teaches most; each gets a bracket. In `edge` all name one proxy.",
    )
    search: SearchKeys = section("How to look and how sure to be.", SearchKeys)
    guardrails: GuardrailKeys = section("What may never be exceeded.", GuardrailKeys)
    timing: TimingKeys = section("The fixed parts of an exposure.", TimingKeys)
    require: dict[f.Name, Gate] = Field(
        default_factory=dict,
        max_length=20,
        description="Gates: exit 3 when a ladder's breaking point is not above this.",
        examples=[{"slow-inventory": "> 150ms"}],
    )
    seed: f.Seed = key("Makes every random choice repeatable.", 7, None)
