"""Whether somebody sweeps beside Toxiproxy: `clean --watch` shows itself by a lease on the server.

A killed container or a lost host takes the watchdog along; then only a sweeper removes the fault.
"""

from __future__ import annotations

from chaosbandit.core.names import SWEEPER, parse_lease
from chaosbandit.doctor.findings import Finding, note, ok, warn
from chaosbandit.doctor.servers import Shown
from chaosbandit.doctor.subject import host_of
from chaosbandit.report.phrases import duration
from chaosbandit.safety.address import is_loopback


def findings(shown: Shown, now_epoch_s: float) -> list[Finding]:
    """One finding for each server that shows its proxies and outlives a run."""
    if shown.proxies is None or shown.embedded:
        return []
    leases = [parse_lease(name) for name in shown.proxies]
    until_s = max(
        (lease.expires_epoch_s for lease in leases if lease and lease.run == SWEEPER), default=0
    )
    left_s = until_s - now_epoch_s
    if left_s > 0:
        return [ok("sweeper", f"at work at {shown.url}, its lease lasts {duration(left_s)} more")]
    gone = f"the last one at {shown.url} left {duration(-left_s)} ago" if until_s else ""
    found = gone or f"none at {shown.url}"
    wanted = "one beside Toxiproxy: if this host is lost, nobody else removes a fault"
    do = f"start one there: `chaosbandit clean --expired --watch --toxiproxy {shown.url}`"
    say = note if is_loopback(host_of(shown.url)) else warn
    return [say("sweeper", found, wanted, do)]
