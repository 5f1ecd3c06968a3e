"""What a run would touch, and the refusal of what is not on this machine and was not meant.

Names are resolved, nothing is connected to.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from chaosbandit.core.scenario import EMBEDDED, Scenario
from chaosbandit.errors import UsageError


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


def refuse_unmeant(hosts: Iterable[str], yes: bool) -> None:
    """Refuse hosts that are not this one, unless `--yes` says that they are meant.

    Raises:
        UsageError: it names them.
    """
    far = [] if yes else [host for host in dict.fromkeys(hosts) if _is_elsewhere(host)]
    if far:
        verb = "is" if len(far) == 1 else "are"
        raise UsageError(
            f"found {', '.join(far)}, which {verb} not on this machine, wanted loopback targets "
            "only; repeat with --yes if requests and faults are meant for it. Nothing was "
            "connected to"
        )


def touched(scenario: Scenario, server: str) -> list[str]:
    """The hosts that get requests or faults: services, Toxiproxy and, in `edge`, upstreams."""
    urls = [scenario.traffic.url, scenario.traffic.control_url]
    urls += [proxy.check for proxy in scenario.proxies if proxy.check is not None]
    urls += [] if server == EMBEDDED else [server]
    hosts = [urlsplit(url).hostname or "" for url in urls]
    if scenario.topology == "edge":  # where the requests really go, whatever the URL says
        hosts += [proxy.upstream.rpartition(":")[0].strip("[]") for proxy in scenario.proxies]
    return hosts


def host_of(server: str) -> str:
    """The host in a server's URL."""
    return urlsplit(server).hostname or ""


def _is_elsewhere(host: str) -> bool:
    """A name that nobody knows leads nowhere; what asks for it says so better than we could."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return not all(ipaddress.ip_address(address).is_loopback for address in found)
