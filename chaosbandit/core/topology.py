"""The topologies: where the proxy is, whose it is, and what follows from that for everybody else.

    edge     prober -> our proxy -> service              beside a clean proxy of ours
    canary   prober -> canary instance -> the operator's proxy -> dependency
             prober -> control instance                  beside it

Others ask an answer of the object and never for its name, which is for texts only. This module
knows no scenario and no server: what an answer depends on is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaosbandit.core.model import Route


@dataclass(frozen=True, slots=True)
class Topology:
    """What one topology means, a field for each question."""

    name: str  # as files and reports write it

    # The proxy
    owns_proxy: bool  # ours, made and deleted by the run; else the operator's
    one_proxy: bool  # all ladders name the first one's: every request passes it
    needs_listen: bool  # the file says where each proxy listens, which is where services connect to
    allows_embedded: bool  # of our own Toxiproxy, with services that are not wired to it beforehand

    # The path
    on_path: bool  # faults are between the service and its dependency; else in front of the service
    clean_routes: tuple[Route, ...]  # at severity 0 through a clean proxy of ours, all run long
    needs_control: bool  # another instance, at a URL of its own, that never gets a fault
    allows_errors: bool  # toxicity below 1: no service's pool sorts out the connections drawn

    def target(self, service: str, upstream: str) -> str:
        """Where requests arrive, of the URL's host:port and the upstream of the proxy.

        In front of the service a proxy leads to its upstream, whatever the URL says.
        """
        return service if self.on_path else upstream

    def listens(self, addresses: Iterable[str | None]) -> tuple[str, ...]:
        """The listen addresses a run takes hold of; proxies of our own are on fresh ports."""
        if self.owns_proxy:
            return ()
        return tuple(address for address in addresses if address is not None)


TOPOLOGIES: Mapping[str, Topology] = {
    each.name: each
    for each in (
        Topology(
            "edge",
            owns_proxy=True,
            one_proxy=True,
            needs_listen=False,
            allows_embedded=True,
            on_path=False,
            clean_routes=(Route.CANARY, Route.CONTROL),
            needs_control=False,
            allows_errors=True,
        ),
        Topology(
            "canary",
            owns_proxy=False,
            one_proxy=False,
            needs_listen=True,
            allows_embedded=False,
            on_path=True,
            clean_routes=(),
            needs_control=True,
            allows_errors=False,
        ),
    )
}


def topology(name: str) -> Topology:
    """The topology of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in TOPOLOGIES:
        raise ValueError(f"topology: found {name!r}, wanted one of: {', '.join(TOPOLOGIES)}")
    return TOPOLOGIES[name]
