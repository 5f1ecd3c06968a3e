"""What earlier runs left and what living ones hold: by ledger, locks and names at servers.

Only looks; removing is the work of `clean`. Runs of other hosts show themselves by names alone.

    of a run of this host      alive: its work, but for toxics past their time; dead: left
    of another host's          past its time: left; a lease in force keeps a path that does nothing
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaosbandit.core.scenario import Scenario
from chaosbandit.doctor.conflicts import Claim, conflicts
from chaosbandit.doctor.findings import Finding, fail, note, ok, warn
from chaosbandit.doctor.lease_holders import moment
from chaosbandit.doctor.leftover_search import (
    Trace,
    claims_in,
    runs_with_locks,
    stale_locks,
    traces_of,
)
from chaosbandit.doctor.server_answer import ServerAnswer
from chaosbandit.faults.addresses import same_server
from chaosbandit.faults.names import HONOURED_S, owner
from chaosbandit.report.numbers_in_words import duration, plural
from chaosbandit.safety.ledger import Damaged, Entries, FaultLedger
from chaosbandit.safety.run_claims import claim_text

CHECK = "leftovers"
_MOST_NAMES = 3
_LEFT = "nothing left: a fault may still be in place"


def findings(
    ledger: FaultLedger,
    shown: Sequence[ServerAnswer],
    scenario: Scenario | None,
    now_epoch_s: float,
) -> list[Finding]:
    """A finding for each run that left something or is at work, and for each damaged file."""
    written = ledger.entries()
    traces = traces_of(written, shown)
    found = [_damaged(item) for item in written.damaged] + _untrusted(written)
    found += _of_runs(ledger, traces, shown, scenario, now_epoch_s)
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


def _of_runs(
    ledger: FaultLedger,
    traces: Sequence[Trace],
    shown: Sequence[ServerAnswer],
    scenario: Scenario | None,
    now_epoch_s: float,
) -> list[Finding]:
    claims, locks = claims_in(ledger.directory), runs_with_locks(ledger.directory)
    living = {run for run in locks if ledger.is_alive(run)}
    found = []
    for run in sorted({trace.run for trace in traces} | living):
        its = [trace for trace in traces if trace.run == run]
        idle = [each for each in its if each.at_server and each.is_unhonoured(now_epoch_s)]
        found += [_unhonoured(trace, scenario, now_epoch_s) for trace in idle]
        its = [trace for trace in its if trace not in idle]
        if run not in living and (run in locks or any(trace.in_ledger for trace in its)):
            found += [_dead(run, its, shown)] if its else []
            continue
        left = [trace for trace in its if _is_left(trace, its, now_epoch_s, run in living)]
        its = [trace for trace in its if trace not in left]
        found += [_expired(run, left, now_epoch_s, run in living)] if left else []
        if run in living:
            found.append(_at_work(run, its, claims.get(run, []), scenario))
        elif its:
            found.append(_elsewhere(run, its, scenario))
    return found


def _is_left(trace: Trace, its: Sequence[Trace], now_epoch_s: float, alive: bool) -> bool:
    """Whether it is past its time and nothing speaks for it."""
    if not trace.is_over(now_epoch_s):
        return False
    in_force = alive or any(each.is_lease and not each.is_over(now_epoch_s) for each in its)
    return trace.at_server and (trace.acts or not in_force)


def _dead(run: str, traces: Sequence[Trace], shown: Sequence[ServerAnswer]) -> Finding:
    servers = [t.fault.server for t in traces if t.at_server]
    places = "".join(f" --toxiproxy {url}" for url in dict.fromkeys(servers))
    left = f"run {run} of this host is dead and left {_named(traces)}"
    left += _whereabouts(traces)
    if not servers:
        silent = dict.fromkeys(trace.fault.server for trace in traces)
        left += "".join(f"; {_of_server(url, shown)}" for url in silent)
    return fail(CHECK, left, _LEFT, f"run `chaosbandit clean{places}`")


def _of_server(url: str, shown: Sequence[ServerAnswer]) -> str:
    """Why a fault in the ledger was not seen at its server."""
    asked = next((each for each in shown if same_server(each.url, url)), None)
    if asked is None:
        return f"its server {url} was not asked, since it is not on this machine"
    if asked.proxies is None:
        return f"its server {url} does not say whether it still has it"
    return f"its server {url} no longer has it"


def _whereabouts(traces: Iterable[Trace]) -> str:
    """Which proxies of the operator's they are on at a server, or in place of."""
    seen = [trace for trace in traces if trace.at_server and trace.proxy]
    on = sorted({trace.proxy for trace in seen if not trace.is_stand_in})
    instead = sorted({trace.proxy for trace in seen if trace.is_stand_in})
    said = f" on {', '.join(on)}" if on else ""
    return said + (f"{' and' if on else ''} in place of {', '.join(instead)}" if instead else "")


def _at_work(
    run: str, traces: Sequence[Trace], claims: Sequence[Claim], scenario: Scenario | None
) -> Finding:
    """A living run of this host."""
    pid = next((claim.get("pid") for claim in claims), None)
    ends = [claim["until_epoch_s"] for claim in claims if isinstance(claim["until_epoch_s"], int)]
    ends = ends or [trace.fault.expires_epoch_s for trace in traces]
    acting = [trace for trace in traces if trace.at_server and trace.proxy]
    holds = [claim_text(claim) for claim in claims]
    holds += [f"{_named(acting)}{_whereabouts(acting)}"] if acting else []
    has = f" with {' and '.join(holds)}" if holds else ""
    who = f"run {run}{f' (process {pid})' if pid else ''}"
    until = f" until {moment(max(ends))} at the latest" if ends else ""
    found = f"{who} is at work on this host{has}{until}"
    if conflicts(traces, claims, scenario):
        return warn(CHECK, f"{found}: a run now would be refused", "", "wait for it, or stop it")
    return note(CHECK, found)


def _expired(run: str, traces: Sequence[Trace], now_epoch_s: float, alive: bool) -> Finding:
    """What should be gone by now, whoever put it there."""
    url, last_s = traces[0].fault.server, max(trace.fault.expires_epoch_s for trace in traces)
    whose = f"run {run}, which is alive on this host," if alive else f"run {run} of another host"
    gone = f"{whose} left {_named(traces)}{_whereabouts(traces)} at {url}"
    found = f"{gone}, expired {duration(now_epoch_s - last_s)} ago"
    do = f"run `chaosbandit clean --expired --toxiproxy {url}`"
    if all(trace.is_lease for trace in traces):
        return warn(CHECK, found, "nothing left", do)
    return fail(CHECK, found, _LEFT, do)


def _elsewhere(run: str, traces: Sequence[Trace], scenario: Scenario | None) -> Finding:
    """A run that this host knows by the names at a server only."""
    url, last_s = traces[0].fault.server, max(trace.fault.expires_epoch_s for trace in traces)
    has = f"{_named(traces)}{_whereabouts(traces)} at {url} until {moment(last_s)}"
    found = f"run {run} of another host has {has}"
    do = f"wait for it; if it is dead, run `chaosbandit clean --run {run} --toxiproxy {url}`"
    if conflicts(traces, (), scenario):
        return warn(CHECK, f"{found}: a run now would be refused", "", do)
    return note(CHECK, found, "", do)


def _unhonoured(trace: Trace, scenario: Scenario | None, now_epoch_s: float) -> Finding:
    """A lease that keeps nobody off: its run, if there is one, has a wrong clock."""
    url, left_s = trace.fault.server, trace.fault.expires_epoch_s - now_epoch_s
    found = f"{trace.name} at {url} is a lease that nobody honours: it claims {duration(left_s)}"
    wanted = f"at most {duration(HONOURED_S)}, since runs renew theirs"
    do = f"compare the clock of its host; this removes it: `chaosbandit clean --toxiproxy {url}`"
    say = warn if conflicts([trace], (), scenario) else note
    return say(CHECK, found, wanted, do)


def _damaged(item: Damaged) -> Finding:
    known = f" of run {run}" if (run := owner(item.path.stem)) else ""
    return fail(
        CHECK,
        f"the ledger file {item.path}{known} cannot be read: {item.why}",
        "every fault on record",
        "delete the file once this has cleaned that run's server: "
        "`chaosbandit clean --toxiproxy URL`",
    )


def _untrusted(written: Entries) -> list[Finding]:
    """Files that somebody else may have written: what they name is cleaned, no more."""
    names = [entry.fault.name for entry in written.entries if not entry.trusted]
    if not names:
        return []
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    said = f"others may have written the ledger's {', '.join(names[:_MOST_NAMES])}{more}"
    found = f"{said}, so a bypass in there is never used"
    do = "see whose these files are, and who may write to their folder"
    return [warn(CHECK, found, "files and a folder that only this user writes to", do)]


def _named(traces: Sequence[Trace]) -> str:
    names = sorted(trace.name for trace in traces)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return (", ".join(names[:_MOST_NAMES]) or "a lock file") + more
