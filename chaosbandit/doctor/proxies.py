"""The scenario's proxies at a server: there, enabled, wired as the scenario says, free of toxics.

Judges what the server showed, with the sentences of the run's own preflight.
"""

from __future__ import annotations

from collections.abc import Mapping

from chaosbandit.core.names import owner
from chaosbandit.core.scenario import Proxy, Scenario
from chaosbandit.doctor.findings import Finding, Level, note, ok, told_by, warn
from chaosbandit.doctor.servers import Shown
from chaosbandit.safety.address import accepts
from chaosbandit.toxiproxy.preflight import (
    departures,
    occupied,
    same_address,
    unresolvable,
    unusable_name,
)
from chaosbandit.toxiproxy.wire import ProxyRecord

_MOST_NAMES = 5


async def findings(shown: Shown, scenario: Scenario | None, now_epoch_s: float) -> list[Finding]:
    """What a run would meet at this server, proxy by proxy."""
    if shown.proxies is None:
        return []
    found = [] if shown.embedded else [_numbered(shown.url, shown.proxies, scenario)]
    for proxy in scenario.proxies if scenario is not None else ():
        if scenario is None or scenario.topology.owns_proxy:
            found += await _ours(proxy)
        else:
            found += await _wired(proxy, shown, shown.proxies, now_epoch_s)
    return found


async def _wired(
    proxy: Proxy, shown: Shown, listed: Mapping[str, ProxyRecord], now_epoch_s: float
) -> list[Finding]:
    """The operator's proxy, which a run replaces."""
    check = f"proxy {proxy.name}"
    record = listed.get(proxy.name)
    in_place = await occupied(proxy, listed, "", now_epoch_s)
    if in_place and not unusable_name(proxy):
        return await _rivals(proxy, listed, check)  # what is in its place is told as a leftover
    sentences = unusable_name(proxy) or await departures(record, proxy)
    fix = f"correct the scenario, or the proxy at {shown.url}"
    found = [told_by(check, sentence, Level.FAIL, fix) for sentence in sentences]
    found += await _rivals(proxy, listed, check)
    if record is None and proxy.listen and accepts(proxy.listen, shown.url, 0.5):
        what = f"something else than {shown.url} listens on {proxy.listen}"
        do = "find out which Toxiproxy the service is wired to, and name that one"
        found.append(warn(check, what, "nobody but Toxiproxy there", do))
    if found or record is None:
        return found
    return [ok(check, f"{record.listen} -> {record.upstream}, enabled, without toxics")]


async def _rivals(wanted: Proxy, listed: Mapping[str, ProxyRecord], check: str) -> list[Finding]:
    """Other proxies that claim the same address."""
    found = []
    for record in listed.values():
        if record.name == wanted.name or owner(record.name) is not None:
            continue
        if await same_address(record.listen, wanted.listen or ""):
            what = f"proxy {record.name} has the same listen address, {record.listen}"
            do = f"delete one of them: only one can be enabled, and a run enables {wanted.name}"
            found.append(warn(check, what, f"{wanted.name} alone on it", do))
    return found


async def _ours(proxy: Proxy) -> list[Finding]:
    """In `edge` a run makes the proxy itself; it must lead somewhere."""
    check = f"proxy {proxy.name}"
    sentences = unusable_name(proxy) or await unresolvable(proxy)
    if sentences:
        return [told_by(check, sentence, Level.FAIL, "correct it") for sentence in sentences]
    return [ok(check, f"a run makes it, towards {proxy.upstream}")]


def _numbered(url: str, listed: Mapping[str, ProxyRecord], scenario: Scenario | None) -> Finding:
    ours = sum(owner(name) is not None for name in listed)
    text = f"{url} has {len(listed):,} {'proxy' if len(listed) == 1 else 'proxies'}"
    text += f", {ours} of them chaosbandit's" if ours else ""
    # In place of a disabled one may be ours; that is told where leftovers are.
    known = {proxy.name for proxy in scenario.proxies} if scenario is not None else set()
    disabled = sorted(
        name
        for name, record in listed.items()
        if not record.enabled and owner(name) is None and name not in known
    )
    if disabled:
        names = ", ".join(disabled[:_MOST_NAMES])
        more = f" and {len(disabled) - _MOST_NAMES} more" if len(disabled) > _MOST_NAMES else ""
        do = "enable them if nobody disabled them on purpose"
        return note("proxies", f"{text}; disabled: {names}{more}", do=do)
    return ok("proxies", text)
