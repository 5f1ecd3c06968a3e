"""A document that was found to be right -> the core's `Scenario`."""

from __future__ import annotations

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Timing, Traffic
from chaosbandit.core.slo import SLO, ErrorBudget
from chaosbandit.scenario import file_keys
from chaosbandit.scenario.doses import LadderKeys


def scenario_of(document: file_keys.Document) -> Scenario:
    """The immutable record every other part works with."""
    budget = document.budget
    return Scenario(
        name=document.name,
        description=document.description,
        toxiproxy=document.toxiproxy,
        topology=document.topology,
        proxies=tuple(
            Proxy(name, proxy.upstream, proxy.listen, proxy.check, proxy.bypass)
            for name, proxy in document.proxies.items()
        ),
        traffic=_traffic(document.traffic),
        slos=tuple(SLO(slo.name, slo.good, slo.objective) for slo in document.slos),
        budget=ErrorBudget(budget.window, budget.requests, budget.spend),
        ladders=tuple(_ladder(ladder, document) for ladder in document.ladders),
        search=_search(document.search),
        guardrails=_guardrails(document.guardrails),
        timing=_timing(document.timing),
        require={ladder: gate.value for ladder, gate in document.require.items()},
        seed=document.seed,
    )


def _traffic(keys: file_keys.TrafficKeys) -> Traffic:
    return Traffic(
        url=keys.url,
        control_url=keys.control_url or keys.url,
        rate_per_s=keys.rate,
        timeout_s=keys.timeout,
        method=keys.method,
        headers=dict(keys.headers),
        body=keys.body or "",
        fresh_connections=keys.connections == "per-request",
        control_share=keys.control_share,
    )


def _ladder(keys: LadderKeys, document: file_keys.Document) -> Ladder:
    """A gate is a severity of its ladder, so that it can be decided either way."""
    gate, resolution = document.require.get(keys.name), document.search.resolution
    bound = None if gate is None else gate.value
    return Ladder(keys.name, keys.proxy, keys.dose(), keys.mild, keys.harsh, resolution, bound)


def _search(keys: file_keys.SearchKeys) -> Search:
    return Search(
        policy=keys.policy,
        confidence=keys.confidence,
        resolution=keys.resolution,
        hold_s=keys.hold,
        stop=keys.stop,
        escalation=keys.escalation,
        cost_of_bad=keys.cost_of_bad,
        block=keys.block,
        max_samples=keys.max_samples,
        max_duration_s=keys.max_duration,
        evidence_ttl_s=keys.evidence_ttl,
        monotone_check=keys.monotone_check,
    )


def _guardrails(keys: file_keys.GuardrailKeys) -> Guardrails:
    return Guardrails(
        max_severity=keys.max_severity.value if keys.max_severity else None,
        max_severity_unit=keys.max_severity.unit if keys.max_severity else None,
        max_exposure_s=keys.max_exposure,
        abort_if_bad_in_a_row=keys.abort_if_bad_in_a_row,
        max_unresolved=keys.max_unresolved,
        freeze=keys.freeze,
    )


def _timing(keys: file_keys.TimingKeys) -> Timing:
    return Timing(
        warmup_s=keys.warmup,
        warmup_samples=keys.warmup_samples,
        washout_s=keys.washout,
        steady_samples=keys.steady_samples,
    )
