"""Open files: what a run has at once, and an embedded server's two for every connection.

A run is held to the soft limit; the server raises its own to the hard one. Nothing is opened here.
"""

from __future__ import annotations

import math
import resource

from chaosbandit.core.scenario import Traffic
from chaosbandit.doctor.findings import Finding, fail, ok
from chaosbandit.toxiproxy.server.file_descriptors import PER_CONNECTION, limit_for
from chaosbandit.traffic.request_sender import MAX_IN_FLIGHT

SPARE_FILES = 64  # what a run has open besides its requests
_LISTENERS = 2  # of an embedded server: the proxy under test and the clean one beside it
_ELSEWHERE = "raise LimitNOFILE of the service, or nofile in /etc/security/limits.conf"
_UNLIMITED = math.inf


def findings(
    traffic: Traffic | None, *, embedded: bool, limits: tuple[int, int] | None = None
) -> list[Finding]:
    """Of the run, and of a server of ours; `limits` are this process's, soft and hard."""
    soft, hard = map(_number, limits or resource.getrlimit(resource.RLIMIT_NOFILE))
    found = [_of_a_run(traffic, soft, hard)]
    if embedded and traffic is not None:
        found.append(_of_the_server(traffic, hard))
    return found


def in_flight(traffic: Traffic) -> int:
    """How many requests may be on their way at once; each has a connection."""
    return sum(
        min(math.ceil(traffic.rate_per_s * share * traffic.timeout_s), MAX_IN_FLIGHT)
        for share in (1.0, traffic.control_share)
    )


def _of_a_run(traffic: Traffic | None, soft: float, hard: float) -> Finding:
    check = "open files"
    if soft == _UNLIMITED:
        return ok(check, "no limit")
    found = f"at most {soft:,.0f}"
    needed = SPARE_FILES + (in_flight(traffic) if traffic is not None else 0)
    if soft < needed:
        why = " for traffic.rate x traffic.timeout" if traffic is not None else " for any run"
        allowed = "" if soft == hard else f", {hard:,.0f} if asked for"
        do = f"raise it: `ulimit -n {needed}`" if needed <= hard else _ELSEWHERE
        return fail(check, found + allowed, f"{needed:,}{why}", do)
    if traffic is None:
        return ok(check, found)
    return ok(check, f"{found}, a run needs up to {needed:,}")


def _of_the_server(traffic: Traffic, hard: float) -> Finding:
    check = "server's open files"
    if hard == _UNLIMITED:
        return ok(check, "no limit")
    connections = in_flight(traffic)
    needed = limit_for(connections + _LISTENERS)
    found = f"at most {hard:,.0f} for the embedded server"
    why = f"{PER_CONNECTION} for each of {connections:,} connections and a reserve for its API"
    if hard < needed:
        return fail(check, found, f"{needed:,}: {why}", f"{_ELSEWHERE}, or lower traffic.rate")
    return ok(check, f"{found}, it needs up to {needed:,}: {why}")


def _number(limit: int) -> float:
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit
