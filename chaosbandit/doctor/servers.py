"""Toxiproxy servers: whether they answer, which version, how fast, and which proxy hangs.

Judges what a server showed; asks none.
"""

from __future__ import annotations

import re
import statistics
from dataclasses import replace

from chaosbandit.doctor.findings import Finding, fail, note, ok, told_by, warn
from chaosbandit.doctor.lease_holders import Holders
from chaosbandit.doctor.server_answer import DEADLINE_S, ServerAnswer, version_in
from chaosbandit.report.numbers_in_words import duration
from chaosbandit.toxiproxy.calls import Reply
from chaosbandit.toxiproxy.round_trip import SLOWEST_S, is_too_slow

SLOW_CALL_S = 0.100
OLDEST = (2, 7)  # servers before it state their version in a way that a run cannot read
NOBODY = Holders()


def findings(shown: ServerAnswer, holders: Holders = NOBODY) -> list[Finding]:
    """Whether a run could work with this server; `holders` have something there already."""
    if shown.is_foreign:
        return [fail("toxiproxy", shown.problem.found, "a Toxiproxy server", "correct its address")]
    if shown.is_silent:
        said = f"{shown.url} takes connections and does not answer `GET /version`"
        do = holders.first("it hangs or is frozen: restart it")
        return [fail("toxiproxy", said, f"an answer within {DEADLINE_S:g} s", do)]
    if shown.version is None:
        do = "start Toxiproxy there, or correct its address"
        return [replace(told_by("toxiproxy", shown.problem), do=do)]
    found = [versioned(shown.url, shown.version, embedded=shown.embedded)]
    if shown.proxies is None:
        found.append(_stuck(shown, holders))
    else:
        found.append(_speed(shown))
    return found


def versioned(url: str, answer: Reply, *, embedded: bool = False) -> Finding:
    """Whether a run can work with that version."""
    wanted = f"{OLDEST[0]}.{OLDEST[1]} or newer"
    version, readable = version_in(answer)
    if version == "git":
        what = f"{url} is a build of Toxiproxy that states no version"
        return note("toxiproxy", what, f"a release, {wanted}", "make sure it is built of one")
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    old = numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST
    if old or not readable:
        what = f"{url} runs Toxiproxy {version}, whose version a run cannot read"
        return fail("toxiproxy", what, wanted, "upgrade it: its API lacks what a run relies on")
    if embedded:
        return ok("toxiproxy", f"the embedded server starts, compatible with {version}")
    return ok("toxiproxy", f"{url} runs Toxiproxy {version}")


def _speed(shown: ServerAnswer) -> Finding:
    median_s, worst_s = statistics.median(shown.calls_s), max(shown.calls_s)
    found = f"{shown.url} answers in {duration(median_s)}, at worst {duration(worst_s)}"
    if is_too_slow(shown.calls_s):
        do = "run nearer to it, without a tunnel or port forward: a run refuses, since removing a "
        do += "fault takes such calls"
        return fail("API latency", found, f"{duration(SLOWEST_S)} or less", do)
    if median_s > SLOW_CALL_S:
        do = "look at the load of its host and at the way there: removing a fault takes such calls"
        return warn("API latency", found, f"{duration(SLOW_CALL_S)} or less", do)
    return ok("API latency", found)


def _stuck(shown: ServerAnswer, holders: Holders) -> Finding:
    """A proxy that hangs is not to be deleted: that takes the whole API down."""
    if not shown.is_frozen:
        return told_by("API latency", shown.problem, do="see the log of that server")
    found = f"{shown.url} is frozen: it states its version but does not list its proxies"
    found += f"; {', '.join(shown.hanging)} hangs" if shown.hanging else ""
    last = "restart that server if it is still frozen then and nobody else is at work there"
    do = f"look again in a minute, since most freezes end by themselves; {last}"
    if holders.dead:
        do = f"run `chaosbandit clean --toxiproxy {shown.url}`; {last}"
    wanted = f"an answer within {DEADLINE_S:g} s"
    return fail("API latency", found, wanted, holders.first(do))
