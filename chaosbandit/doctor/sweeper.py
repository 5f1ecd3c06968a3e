"""Whether somebody sweeps beside Toxiproxy: `clean --watch` shows itself by a lease on the server.

A killed container or a lost host takes the watchdog along; then only a sweeper removes the fault.
"""

from __future__ import annotations

from chaosbandit.doctor.findings import Finding, note, ok, warn
from chaosbandit.doctor.server_answer import ServerAnswer
from chaosbandit.faults import names
from chaosbandit.faults.addresses import host_of, is_loopback
from chaosbandit.faults.names import HONOURED_S, SWEEPER
from chaosbandit.report.numbers_in_words import duration


def findings(shown: ServerAnswer, now_epoch_s: float) -> list[Finding]:
    """One finding for each server that shows its proxies and outlives a run."""
    if shown.proxies is None or shown.embedded:
        return []
    parsed = [names.parse(name) for name in shown.proxies if names.is_lease(name)]
    ends = [lease.expires_epoch_s for lease in parsed if lease and lease.run == SWEEPER]
    honoured = [end for end in ends if end - now_epoch_s <= HONOURED_S]
    until_s = max(honoured, default=0)
    left_s = until_s - now_epoch_s
    if left_s > 0:
        return [ok("sweeper", f"at work at {shown.url}, its lease lasts {duration(left_s)} more")]
    gone = f"the last one at {shown.url} left {duration(-left_s)} ago" if until_s else ""
    found = gone or f"none at {shown.url}"
    if len(honoured) < len(ends):
        longest = duration(max(ends) - now_epoch_s)
        found += f"; a lease that claims {longest} more is one that nobody honours"
    wanted = "one beside Toxiproxy: if this host is lost, nobody else removes a fault"
    do = f"start one there: `chaosbandit clean --expired --watch --toxiproxy {shown.url}`"
    say = note if is_loopback(host_of(shown.url)) else warn
    return [say("sweeper", found, wanted, do)]
