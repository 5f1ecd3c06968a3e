"""What one server shows: its proxies, what of them is ours, and who holds a lease there.

A server that hangs, refuses or answers something else has shown nothing, which is never taken for
"nothing is there". It reads only. Standard library only, since the watchdog uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaosbandit.faults import names
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind
from chaosbandit.faults.undo_steps import proxy_path
from chaosbandit.foreign_text import said
from chaosbandit.toxiproxy.calls import CALL_S, Calls, Reply
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord

_FOUND = 60  # characters of what is no proxy


class StrangeError(Exception):
    """What answers does not speak Toxiproxy's API, or not as it should."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All proxies of one server at one moment."""

    server: str
    proxies: Mapping[str, ProxyRecord]

    def faults(self) -> list[Fault]:
        """What is ours, as the faults it stands for, in the order in which it is to be undone.

        Proxies after all toxics: a stand-in that goes first would open a proxy that carries some.
        """
        shown = self.proxies.values()
        own = [fault for proxy in shown if (fault := _own(self.server, proxy)) is not None]
        return [fault for proxy in shown for fault in _toxics_of(self.server, proxy)] + own


def all_proxies(calls: Calls, within_s: float = CALL_S) -> Listing:
    """Have the server list its proxies.

    Raises:
        UnansweredError: it did not.
        StrangeError: it answered something else.
    """
    return listing_in(calls.url, calls.call("GET", "/proxies", within_s=within_s))


def listing_in(server: str, reply: Reply) -> Listing:
    """The proxies in the answer to `GET /proxies`; raises StrangeError as `all_proxies`."""
    shown = reply.record()
    if reply.status != 200 or (not shown and reply.text.strip() != "{}"):
        raise StrangeError(f"GET /proxies answered {reply.said()}, wanted 200 and a JSON object")
    return Listing(server, {name: proxy_of(value) for name, value in shown.items()})


def one_proxy(calls: Calls, name: str, within_s: float = CALL_S) -> ProxyRecord | None:
    """One proxy with its toxics, or None where Toxiproxy itself says that there is none.

    Raises:
        UnansweredError, StrangeError: as `all_proxies`.
    """
    return shown_by(calls.call("GET", proxy_path(name), within_s=within_s))


def shown_by(reply: Reply) -> ProxyRecord | None:
    """The proxy in an answer; a 404 of what stands in front of Toxiproxy proves nothing.

    Raises:
        StrangeError: there is none.
    """
    if reply.status == 404 and reply.record().get("error") == "proxy not found":
        return None
    if reply.status not in (200, 201):
        raise StrangeError(f"asked for a proxy, it answered {reply.said()}")
    return proxy_of(reply.record())


def proxy_of(value: Any) -> ProxyRecord:
    """A proxy as a server shows it.

    Raises:
        StrangeError: it is not one.
    """
    try:
        name, listen, upstream = (value[key] for key in ("name", "listen", "upstream"))
        name.encode()  # what is no Unicode could not be asked for again
        enabled = value["enabled"]
        texts = all(isinstance(text, str) for text in (name, listen, upstream))
        if not isinstance(enabled, bool) or not texts:
            raise TypeError
        toxics = tuple(map(toxic_of, value.get("toxics") or ()))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        raise StrangeError(f"wanted a proxy, found {said(value, _FOUND)!r}") from None
    return ProxyRecord(name, listen, upstream, enabled, toxics)


def toxic_of(value: Any) -> ToxicRecord:
    """A toxic as a server shows it; raises like any reading of a wrong shape."""
    name, type_, stream = (str(value[key]) for key in ("name", "type", "stream"))
    attributes = {str(key): int(number) for key, number in value["attributes"].items()}
    return ToxicRecord(name, type_, stream, float(value["toxicity"]), attributes)


def toxics_named(proxy: ProxyRecord, wanted: Iterable[str]) -> list[ToxicRecord]:
    """Those of its toxics that have these names."""
    wanted = frozenset(wanted)
    return [toxic for toxic in proxy.toxics if toxic.name in wanted]


def as_toxic(shown: ToxicRecord) -> Toxic:
    """A shown toxic as one to be undone."""
    return Toxic(shown.type, shown.attributes, shown.direction, shown.toxicity, shown.name)


def claimed(lease: ProxyRecord) -> tuple[str, str]:
    """(target, proxy address) that a lease is on; the second is empty where it is on none.

    Both stand in its upstream, which leads nowhere: if it listened on the operator's address,
    somebody's `/reset` would try to open it there, and fail.
    """
    target, _, listen = lease.upstream.partition(" ")
    return target, listen


def _toxics_of(server: str, proxy: ProxyRecord) -> list[Fault]:
    """Our toxics on a proxy; what one run made until one time was made, and goes, together."""
    together: dict[tuple[str, int], dict[int, Toxic]] = {}
    for shown in proxy.toxics:
        name = names.parse(shown.name)
        if name is not None and name.kind is Kind.TOXIC:
            key = name.run, name.expires_epoch_s
            together.setdefault(key, {})[name.n] = as_toxic(shown)
    found = []
    for (run, expires), numbered in together.items():
        toxics = tuple(numbered[n] for n in sorted(numbered))
        fault = Fault(
            run=run,
            server=server,
            name=toxics[0].name,
            proxy=proxy.name,
            listen=proxy.listen,
            upstream=proxy.upstream,
            expires_epoch_s=expires,
            toxics=toxics,
            owned=names.owner(proxy.name) is not None,
        )
        found.append(fault)
    return found


def _own(server: str, proxy: ProxyRecord) -> Fault | None:
    """A proxy of ours; a stand-in stands for the operator's, which must be opened in its place."""
    name = names.parse(proxy.name)
    if name is None or name.kind is Kind.TOXIC:
        return None
    stands_in = name.kind is Kind.STAND_IN
    listen, upstream = proxy.listen, proxy.upstream
    if name.kind is Kind.LEASE:
        upstream, address = claimed(proxy)
        listen = address or listen
    return Fault(
        run=name.run,
        server=server,
        name=proxy.name,
        proxy=name.proxy if stands_in else proxy.name,
        listen=listen,
        upstream=upstream,
        expires_epoch_s=name.expires_epoch_s,
        owned=not stands_in,
    )
