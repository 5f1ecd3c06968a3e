"""What a run of the scenario would be refused for: others on its target, or on its proxies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from chaosbandit.core.scenario import Scenario
from chaosbandit.doctor.leftover_search import Trace
from chaosbandit.faults.addresses import is_one_place, place, same_server

Claim = dict[str, Any]


def conflicts(traces: Iterable[Trace], claims: Iterable[Claim], scenario: Scenario | None) -> bool:
    """Whether what a run holds is on the scenario's target, on one of its proxies or instead."""
    if scenario is None:
        return False
    target = _target(scenario)
    listens = {place(proxy.listen) for proxy in scenario.proxies if proxy.listen}
    names = {proxy.name for proxy in scenario.proxies}
    wanted = {("target", target), *(("listen", listen) for listen in listens)}
    return any(_claimed(claim, scenario) in wanted for claim in claims) or any(
        (trace.is_lease and place(trace.fault.upstream) == target)
        or (is_one_place(trace.fault.listen) and place(trace.fault.listen) in listens)
        or trace.proxy in names
        for trace in traces
    )


def _target(scenario: Scenario) -> str:
    parts = urlsplit(scenario.traffic.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return place(f"{parts.hostname}:{port}")


def _claimed(claim: Claim, scenario: Scenario) -> tuple[str, str]:
    """What a run of this host has for itself; nothing where that is at another server."""
    match str(claim.get("what")).split():
        case ["target", address]:
            return "target", place(address)
        case ["proxy", "address", address, "at", url] if same_server(url, scenario.toxiproxy):
            return "listen", place(address)
    return "", ""
