"""What a run would touch, and the refusal of what is protected, or elsewhere and was not meant.

Names are resolved, nothing is connected to. What rules mean is `scenario.project_rules`'s business.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chaosbandit.core.scenario import EMBEDDED, Proxy, Scenario
from chaosbandit.core.topology import Topology
from chaosbandit.errors import UsageError

if TYPE_CHECKING:  # importing it takes 0.2 s, and `clean` needs no rules
    from chaosbandit.scenario.project_rules import Rules

_WILDCARDS = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that a run deals with, and the key of the scenario that names it."""

    host: str
    port: int | None
    key: str
    on_path: bool = False  # faults are on the way to it, so rules may protect it, but not `--yes`

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Found:
    """What the resolver knows of a host; nothing of one that leads nowhere."""

    addresses: tuple[str, ...]
    aliases: tuple[str, ...]


def server_named(option: str | None) -> str | None:
    """The value of `--toxiproxy` where `embedded` is one."""
    return option if option is None or option == EMBEDDED else server_url(option)


def server_url(option: str) -> str:
    """The URL of a Toxiproxy API.

    Raises:
        UsageError: it is none.
    """
    try:
        parts = urlsplit(option)
        good = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(
            f"found --toxiproxy {option!r}, wanted http://host:port of a Toxiproxy API (which "
            "has neither TLS nor a path)"
        )
    return option.rstrip("/")


def refuse_unmeant(places: Iterable[Endpoint], yes: bool, rules: Rules | None = None) -> None:
    """Refuse what is protected, and what is not on this machine unless it is allowed or meant.

    Raises:
        UsageError: it names every refused place, and the rule that protects it.
    """
    from chaosbandit.scenario.project_rules import Rules

    rules = rules or Rules()
    places = list(dict.fromkeys(places))
    found = {place.host: _found(place.host) for place in places}
    refusals = [said for place in places if (said := _protected(place, found[place.host], rules))]
    if refusals:
        raise UsageError(
            f"found {'; '.join(refusals)}; wanted targets that are not: neither --yes nor `allow` "
            "lifts that. Name others, or have `protect` changed by those it belongs to. Nothing "
            "was connected to"
        )
    far = dict.fromkeys(
        place.host
        for place in places
        if not (yes or place.on_path)
        and not rules.allows(place.host, place.port, found[place.host].addresses)
    )
    if far:
        verb = "is" if len(far) == 1 else "are"
        raise UsageError(
            f"found {', '.join(far)}, which {verb} not on this machine, wanted loopback targets, "
            "or those that `allow` in the project's chaosbandit.toml names; repeat with --yes if "
            "requests and faults are meant for it. Nothing was connected to"
        )


def touched(scenario: Scenario, server: str) -> list[Endpoint]:
    """What gets requests or faults: services, Toxiproxy, upstreams, and listeners in `canary`."""
    traffic = scenario.traffic
    places = [
        _endpoint(traffic.url, "traffic.url"),
        _endpoint(traffic.control_url, "traffic.control_url"),
    ]
    places += [] if server == EMBEDDED else [host_of(server)]
    for proxy in scenario.proxies:
        places += _around(proxy, scenario.topology, server)
    return places


def host_of(server: str) -> Endpoint:
    """Where a server's API is."""
    return _endpoint(server, "toxiproxy")


def _around(proxy: Proxy, topology: Topology, server: str) -> list[Endpoint]:
    key = f"proxies.{proxy.name}"
    places = [] if proxy.check is None else [_endpoint(proxy.check, f"{key}.check")]
    # In `edge` it is where the requests really go, whatever the URL says.
    places.append(_endpoint(f"//{proxy.upstream}", f"{key}.upstream", on_path=topology.on_path))
    for address in topology.listens([proxy.listen]):
        listen = _endpoint(f"//{address}", f"{key}.listen", on_path=True)
        places.append(listen)
        if listen.host in _WILDCARDS and server != EMBEDDED:  # every address the server has
            there = host_of(server).host
            places.append(Endpoint(there, listen.port, listen.key, on_path=True))
    return places


def _endpoint(url: str, key: str, on_path: bool = False) -> Endpoint:
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return Endpoint(parts.hostname or "", parts.port or usual, key, on_path)


def _protected(place: Endpoint, found: _Found, rules: Rules) -> str | None:
    match = rules.protecting(place.host, place.port, found.addresses, found.aliases)
    if match is None:
        return None
    rule, meant = match
    known_as = "" if meant == place.host else f", which is {meant}"
    return f"{place} ({place.key}{known_as}), protected by `{rule.text}` in {rule.file}"


def _found(host: str) -> _Found:
    """A name that nobody knows leads nowhere; what asks for it says so better than we could."""
    from chaosbandit.scenario.host_patterns import spellings

    entries = []
    for name in spellings(host):
        name += "." if host.endswith(".") else ""  # with it no search domain is tried
        try:
            entries += socket.getaddrinfo(
                name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME
            )
        except (OSError, UnicodeError):
            continue
    return _Found(
        tuple(dict.fromkeys(str(entry[4][0]) for entry in entries)),
        tuple(dict.fromkeys(entry[3] for entry in entries if entry[3])),
    )
