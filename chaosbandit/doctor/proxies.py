"""The scenario's proxies at a server: there, enabled, wired as the scenario says, free of toxics.

Judges what the server showed, with the words of the run's own preflight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from chaosbandit.core.scenario import Proxy, Scenario
from chaosbandit.doctor.findings import Finding, note, ok, told_by, warn
from chaosbandit.doctor.lease_holders import holder_of, on_proxy
from chaosbandit.doctor.server_answer import ServerAnswer
from chaosbandit.faults.addresses import accepts, same_address
from chaosbandit.faults.names import owner
from chaosbandit.toxiproxy.preflight import departures, occupied, unresolvable
from chaosbandit.toxiproxy.wire_format import ProxyRecord

_MOST_NAMES = 5

Listed = Mapping[str, ProxyRecord]


def findings(shown: ServerAnswer, scenario: Scenario | None, now_epoch_s: float) -> list[Finding]:
    """What a run would meet at this server, proxy by proxy; blocks while names are resolved."""
    if shown.proxies is None:
        return []
    found = []
    if not shown.embedded:
        found.append(_numbered(shown.url, shown.proxies, scenario, now_epoch_s))
    for proxy in scenario.proxies if scenario is not None else ():
        if scenario is None or scenario.topology.owns_proxy:
            found += _ours(proxy)
        else:
            found += _wired(proxy, shown, shown.proxies, now_epoch_s)
    return found


def _wired(proxy: Proxy, shown: ServerAnswer, listed: Listed, now_epoch_s: float) -> list[Finding]:
    """The operator's proxy, on which a run puts its toxics."""
    check = f"proxy {proxy.name}"
    record = listed.get(proxy.name)
    rivals = _rivals(proxy, listed, check, now_epoch_s)
    if occupied(proxy, listed, "", now_epoch_s):
        return rivals  # what is on it or in its place is told as a leftover
    fix = f"correct the scenario, or the proxy at {shown.url}"
    found = [told_by(check, trouble, fix) for trouble in departures(record, proxy)]
    asked = record or ProxyRecord(proxy.name, proxy.listen or ":0", proxy.upstream)
    if holder := holder_of(asked, listed, now_epoch_s):  # it may be at work on just that
        found = [replace(each, do=f"wait for {holder}, then look again") for each in found]
    found += rivals
    if record is None and proxy.listen and accepts(proxy.listen, shown.url, 0.5):
        what = f"something else than {shown.url} listens on {proxy.listen}"
        do = "find out which Toxiproxy the service is wired to, and name that one"
        found.append(warn(check, what, "nobody but Toxiproxy there", do))
    if found or record is None:
        return found
    return [ok(check, f"{record.listen} -> {record.upstream}, enabled, without toxics")]


def _rivals(wanted: Proxy, listed: Listed, check: str, now_epoch_s: float) -> list[Finding]:
    """Other proxies that claim the same address."""
    found = []
    for record in listed.values():
        if record.name == wanted.name or owner(record.name) is not None:
            continue
        if same_address(record.listen, wanted.listen or ""):
            what = f"proxy {record.name} has the same listen address, {record.listen}"
            do = f"delete one of them: only one can be enabled, and a run needs {wanted.name}"
            both = (record, listed.get(wanted.name, record))
            holders = [holder for each in both if (holder := holder_of(each, listed, now_epoch_s))]
            do = f"wait for {holders[0]}, then {do}" if holders else do
            found.append(warn(check, what, f"{wanted.name} alone on it", do))
    return found


def _ours(proxy: Proxy) -> list[Finding]:
    """In `edge` a run makes the proxy itself; it must lead somewhere."""
    check = f"proxy {proxy.name}"
    if troubles := unresolvable(proxy):
        return [told_by(check, trouble) for trouble in troubles]
    return [ok(check, f"a run makes it, towards {proxy.upstream}")]


def _numbered(url: str, listed: Listed, scenario: Scenario | None, now_epoch_s: float) -> Finding:
    ours = sum(owner(name) is not None for name in listed)
    text = f"{url} has {len(listed):,} {'proxy' if len(listed) == 1 else 'proxies'}"
    text += f", {ours} of them chaosbandit's" if ours else ""
    # Those of the scenario are told one by one; what a run has in hand is told as its work.
    known = {proxy.name for proxy in scenario.proxies} if scenario is not None else set()
    disabled = sorted(
        name
        for name, record in listed.items()
        if not record.enabled and owner(name) is None and name not in known
        if not on_proxy(name, listed) and not holder_of(record, listed, now_epoch_s)
    )
    if disabled:
        names = ", ".join(disabled[:_MOST_NAMES])
        more = f" and {len(disabled) - _MOST_NAMES} more" if len(disabled) > _MOST_NAMES else ""
        do = "enable them if nobody disabled them on purpose"
        return note("proxies", f"{text}; disabled: {names}{more}", do=do)
    return ok("proxies", text)
