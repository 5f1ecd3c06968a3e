"""Which finding comes first: what fails because of something else is no reason to change it.

A target behind a Toxiproxy that hangs, or behind a fault that was left in place, is slow or broken
because of that; its own advice would be harmful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chaosbandit.doctor.findings import Finding, Level

_SERVER = ("toxiproxy", "API latency")
_OWN = ("target", "dependency")  # the control service is not behind the proxy


def in_order(findings: Sequence[Finding], may_be_the_path: frozenset[str]) -> list[Finding]:
    """The findings, with the advice on target and dependency put after what is in their way.

    `may_be_the_path` are the pieces of advice on the target that hold only where nothing is; one
    that refuses connections, or wants credentials, does so by itself.
    """
    first = _first(findings)
    if not first:
        return list(findings)
    return [
        replace(finding, do=f"{first}, then look again")
        if finding.check in _OWN
        and finding.level is not Level.OK
        and (finding.check == "dependency" or finding.do in may_be_the_path)
        else finding
        for finding in findings
    ]


def _first(findings: Sequence[Finding]) -> str:
    """What to do before anything is said of the target; nothing where nothing is in its way."""
    failing = [finding.check for finding in findings if finding.level is Level.FAIL]
    if any(check in _SERVER for check in failing):
        return "first mend Toxiproxy"
    if "leftovers" in failing:
        return "first mend the leftovers"
    if proxies := [check for check in failing if check.startswith("proxy ")]:
        return f"first mend {proxies[0]}"
    if any(each.check == "leftovers" and each.level is Level.WARN for each in findings):
        return "first see to the leftovers"
    return ""
