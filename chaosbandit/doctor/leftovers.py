"""What earlier runs left and what living ones hold: by ledger, locks and names at servers.

Only looks; removing is the work of `clean`. Runs of other hosts show themselves by names alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from chaosbandit.core.names import owner, parse_name
from chaosbandit.core.scenario import Scenario
from chaosbandit.doctor.findings import Finding, fail, note, ok, warn
from chaosbandit.doctor.servers import Shown
from chaosbandit.doctor.traces import (
    Trace,
    claims_in,
    runs_with_locks,
    stale_locks,
    traces_of,
)
from chaosbandit.report.phrases import duration, plural
from chaosbandit.safety.lease import place
from chaosbandit.safety.ledger import Damaged, FaultLedger

CHECK = "leftovers"
_MOST_NAMES = 3


def findings(
    ledger: FaultLedger, shown: Sequence[Shown], scenario: Scenario | None, now_epoch_s: float
) -> list[Finding]:
    """A finding for each run that left something or is at work, and for each damaged file."""
    written = ledger.entries()
    found = [_damaged(item) for item in written.damaged]
    traces = traces_of(ledger, shown)
    claims = claims_in(ledger.directory)
    locks = runs_with_locks(ledger.directory)
    for run in sorted({trace.run for trace in traces} | {r for r in locks if ledger.is_alive(r)}):
        its = [trace for trace in traces if trace.run == run]
        if ledger.is_alive(run):
            found.append(_at_work(run, its, claims.get(run, []), scenario))
        elif run in locks or any(trace.in_ledger for trace in its):
            found.append(_dead(run, its, shown))
        else:
            found.append(_elsewhere(run, its, scenario, now_epoch_s))
    stale = stale_locks(ledger.directory, {trace.run for trace in traces})
    if stale:
        what = f"{plural(stale, 'lock file')} of dead runs in {ledger.directory}"
        found.append(
            note(CHECK, what, do="they are in nobody's way; this removes them: `chaosbandit clean`")
        )
    if found:
        return found
    asked = [each.url for each in shown if each.proxies is not None and not each.embedded]
    at = f" and at {', '.join(asked)}" if asked else ""
    return [ok(CHECK, f"none: nothing of ours in the ledger{at}")]


def _dead(run: str, traces: Sequence[Trace], shown: Sequence[Shown]) -> Finding:
    servers = [t.server for t in traces if t.at_server]
    places = "".join(f" --toxiproxy {url}" for url in dict.fromkeys(servers))
    left = f"run {run} of this host is dead and left {_named(traces)}"
    left += _in_place(traces)
    if not servers:
        silent = dict.fromkeys(trace.server for trace in traces)
        left += "".join(f"; {_of_server(url, shown)}" for url in silent)
    wanted = "nothing left: a fault may still be in place"
    return fail(CHECK, left, wanted, f"run `chaosbandit clean{places}`")


def _of_server(url: str, shown: Sequence[Shown]) -> str:
    """Why a fault in the ledger was not seen at its server."""
    asked = next((each for each in shown if each.url == url.rstrip("/")), None)
    if asked is None:
        return f"its server {url} was not asked, since it is not on this machine"
    if asked.proxies is None:
        return f"its server {url} does not say whether it still has it"
    return f"its server {url} no longer has it"


def _in_place(traces: Iterable[Trace]) -> str:
    """Whose places they have taken at a server."""
    names = [parse_name(trace.name) for trace in traces if trace.at_server]
    places = sorted({name.restores for name in names if name and name.restores})
    return f" in place of {', '.join(places)}" if places else ""


def _at_work(
    run: str, traces: Sequence[Trace], claims: Sequence[dict[str, Any]], scenario: Scenario | None
) -> Finding:
    """A living run of this host."""
    pid = next((claim.get("pid") for claim in claims), None)
    ends = [claim["until_epoch_s"] for claim in claims if isinstance(claim["until_epoch_s"], int)]
    ends = ends or [trace.expires_epoch_s for trace in traces]
    has = f" with {' and '.join(str(c.get('what')) for c in claims)}" if claims else ""
    who = f"run {run}{f' (process {pid})' if pid else ''}"
    until = f" until {_moment(max(ends))} at the latest" if ends else ""
    found = f"{who} is at work on this host{has}{until}"
    wanted_places = _places(scenario)
    claimed = {place(str(claim.get("what")).split()[-1]) for claim in claims if _is_target(claim)}
    if claimed & wanted_places or _conflicts(traces, scenario):
        return warn(CHECK, f"{found}: a run now would be refused", "", "wait for it, or stop it")
    return note(CHECK, found)


def _elsewhere(
    run: str, traces: Sequence[Trace], scenario: Scenario | None, now_epoch_s: float
) -> Finding:
    """A run that this host knows by the names at a server only."""
    last_s = max(trace.expires_epoch_s for trace in traces)
    url = traces[0].server
    if last_s <= now_epoch_s:
        gone = f"run {run} of another host left {_named(traces)}{_in_place(traces)} at {url}"
        found = f"{gone}, expired {duration(now_epoch_s - last_s)} ago"
        do = f"run `chaosbandit clean --expired --toxiproxy {url}`"
        if all(trace.is_lease for trace in traces):
            return warn(CHECK, found, "nothing left", do)
        return fail(CHECK, found, "nothing left: a fault may still be in place", do)
    has = f"{_named(traces)}{_in_place(traces)} at {url} until {_moment(last_s)}"
    found = f"run {run} of another host has {has}"
    do = f"wait for it; if it is dead, run `chaosbandit clean --run {run} --toxiproxy {url}`"
    if _conflicts(traces, scenario):
        return warn(CHECK, f"{found}: a run now would be refused", "", do)
    return note(CHECK, found, "", do)


def _conflicts(traces: Iterable[Trace], scenario: Scenario | None) -> bool:
    """Whether they are on the scenario's target, or stand in for one of its proxies."""
    wanted = _places(scenario)
    proxies = scenario.proxies if scenario is not None else ()
    listens = {place(proxy.listen) for proxy in proxies if proxy.listen}
    names = {proxy.name for proxy in proxies}
    return any(
        (trace.is_lease and place(trace.upstream) in wanted)
        or place(trace.listen) in listens
        or ((name := parse_name(trace.name)) is not None and name.restores in names)
        for trace in traces
    )


def _places(scenario: Scenario | None) -> set[str]:
    if scenario is None:
        return set()
    parts = urlsplit(scenario.traffic.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {place(f"{parts.hostname}:{port}")}


def _is_target(claim: dict[str, Any]) -> bool:
    return str(claim.get("what")).startswith("target ")


def _damaged(item: Damaged) -> Finding:
    known = f" of run {run}" if (run := owner(item.path.stem)) else ""
    return fail(
        CHECK,
        f"the ledger file {item.path}{known} cannot be read: {item.why}",
        "every fault on record",
        "delete the file once this has cleaned that run's server: "
        "`chaosbandit clean --toxiproxy URL`",
    )


def _named(traces: Sequence[Trace]) -> str:
    names = sorted(trace.name for trace in traces)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return (", ".join(names[:_MOST_NAMES]) or "a lock file") + more


def _moment(epoch_s: float) -> str:
    left_s = epoch_s - time.time()
    clock = time.strftime("%H:%M:%SZ", time.gmtime(epoch_s))
    return f"{clock} ({f'in {duration(left_s)}' if left_s > 0 else 'past'})"
