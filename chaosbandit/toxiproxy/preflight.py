"""Whether a Toxiproxy server is in a state in which a run may touch it, and if not, what to do.

Compares what a server shows with what a scenario says and answers in sentences; reads names and
addresses, changes nothing and asks no server itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

from chaosbandit.core.names import fault_name, parse_name
from chaosbandit.core.scenario import Proxy
from chaosbandit.toxiproxy.wire import ProxyRecord

_RESOLVE_S = 2.0
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})


def unusable_name(proxy: Proxy) -> list[str]:
    """Why no fault could carry this proxy's name, if so."""
    try:
        fault_name("000000", 0, 0, proxy.name)
    except ValueError:
        return [
            f"found proxy name {proxy.name!r}, wanted letters, digits, - and _ only: the names of "
            "our own proxies contain it"
        ]
    return []


async def unresolvable(proxy: Proxy) -> list[str]:
    """Why the upstream of a proxy of ours could not be reached, if so."""
    host = proxy.upstream.rpartition(":")[0]
    if await _addresses(host):
        return []
    return [f"the upstream {proxy.upstream} of {proxy.name} cannot be resolved; correct it"]


async def occupied(
    wanted: Proxy, listed: Mapping[str, ProxyRecord], run: str, now_epoch_s: float
) -> list[str]:
    """Proxies of a run, this one or another, that stand in for the operator's."""
    found = listed.get(wanted.name)
    vacant = found is None or not found.enabled
    sentences = []
    for record in listed.values():
        ours = parse_name(record.name)
        if ours is None:
            continue
        stands_in = vacant and ours.restores == wanted.name
        if not stands_in and not await same_address(record.listen, wanted.listen or ""):
            continue
        if ours.run != run and ours.expires_epoch_s > now_epoch_s:
            left_s = ours.expires_epoch_s - now_epoch_s
            sentences.append(
                f"run {ours.run} has {record.name} in place of {wanted.name} for at most "
                f"{left_s:.0f} s more; wait for it, or end it and run `chaosbandit clean`"
            )
        else:
            command = "chaosbandit clean" if ours.run == run else "chaosbandit clean --expired"
            sentences.append(
                f"{record.name} is left over in place of {wanted.name}; run `{command}` first"
            )
    return sentences


async def departures(found: ProxyRecord | None, wanted: Proxy) -> list[str]:
    """How the operator's proxy differs from what it should be; nothing when it is as wanted."""
    if found is None:
        return [
            f"there is no proxy {wanted.name}; create it with listen {wanted.listen} and upstream "
            f"{wanted.upstream}, or correct its name in the scenario"
        ]
    sentences = []
    if not found.enabled:
        sentences.append(f"{wanted.name} is disabled; enable it")
    if wanted.listen is not None and not await same_address(found.listen, wanted.listen):
        sentences.append(f"{wanted.name} listens on {found.listen}, wanted {wanted.listen}")
    if not await same_address(found.upstream, wanted.upstream):
        sentences.append(f"{wanted.name} leads to {found.upstream}, wanted {wanted.upstream}")
    if found.toxics:
        names = ", ".join(toxic.name for toxic in found.toxics)
        sentences.append(f"{wanted.name} carries toxics that are not ours: {names}; remove them")
    return sentences


async def same_address(one: str, other: str) -> bool:
    """Whether two `host:port` texts mean one address, names resolved as this machine sees them."""
    if one == other:
        return True
    (host, _, port), (other_host, _, other_port) = one.rpartition(":"), other.rpartition(":")
    if port != other_port:
        return False
    return bool(await _addresses(host) & await _addresses(other_host))


async def _addresses(host: str) -> frozenset[str]:
    host = host.strip("[]")
    if host in _EVERYWHERE:
        return _EVERYWHERE
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return frozenset()
    return frozenset(str(address[0]) for *_, address in found)
