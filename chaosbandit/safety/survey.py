"""What one server shows: its proxies, which of them are ours, and who holds a lease there.

A server that hangs, refuses or answers something else has shown nothing, which is never taken for
"nothing is there". It reads only.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from chaosbandit.core.model import Fault
from chaosbandit.core.names import parse_lease, parse_name
from chaosbandit.safety.address import same_address
from chaosbandit.safety.control import Control, Reply, UnansweredError

_WEDGED = (
    "if it stays like this, restart that Toxiproxy: its proxies, ours too, live in memory only"
)


class NotShownError(Exception):
    """A server did not show its proxies; the text says what it did instead."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A proxy as its server shows it."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """All proxies of one server at one moment."""

    server: str
    proxies: Mapping[str, Shown]

    def ours(self) -> list[Fault]:
        """Our proxies as the faults they stand for, leases included; toxics are not told."""
        found = (_fault(self.server, proxy) for proxy in self.proxies.values())
        return [fault for fault in found if fault is not None]

    def lease_ends(self) -> dict[str, int]:
        """Until when, at the latest, each run holds a lease here."""
        ends: dict[str, int] = {}
        for name in self.proxies:
            lease = parse_lease(name)
            if lease is not None:
                ends[lease.run] = max(lease.expires_epoch_s, ends.get(lease.run, 0))
        return ends

    def moved(self, fault: Fault) -> str | None:
        """How the proxy that `fault` replaced was changed by its operator since, if it was."""
        found = self.proxies.get(fault.restores or "")
        if found is None or fault.restores is None:
            return None
        if same_address(found.listen, fault.listen) and found.upstream == fault.upstream:
            return None
        return f"{found.listen} -> {found.upstream}"


def survey(control: Control) -> Survey:
    """Have the server list its proxies.

    Raises:
        NotShownError: it did not, or not all of them.
    """
    reply = _listed(control)
    if reply.status != 200:
        raise NotShownError(f"GET /proxies answered {reply.status}, wanted 200")
    shown = reply.record()
    if not shown and reply.text.strip() != "{}":
        raise NotShownError(f"GET /proxies answered {reply.text[:60]!r}, wanted a JSON object")
    return Survey(control.url, {name: _shown(name, proxy) for name, proxy in shown.items()})


def in_words(control: Control, error: UnansweredError) -> str:
    """Why `control` got no answer, for a line that has the server's address already."""
    cause = error.__cause__
    if error.refused:
        return "connection refused; is a Toxiproxy server running there?"
    if isinstance(cause, socket.gaierror):
        said = (cause.strerror or "unknown").lower()
        return f"the host name {control.host} does not resolve ({said})"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(error).replace(f" {control.url}/", " /", 1)


def same_server(one: str, other: str) -> bool:
    """Whether two URLs lead to one server, as far as their text tells."""
    return same_address(_place(one), _place(other))


def _listed(control: Control) -> Reply:
    """Asked twice, since one answer may be late on a busy host."""
    try:
        return control.call("GET", "/proxies")
    except UnansweredError as error:
        if _is_elsewhere(error):
            raise NotShownError(in_words(control, error)) from error
    try:
        return control.call("GET", "/proxies")
    except UnansweredError as error:
        hint = "" if _is_elsewhere(error) else f"; {_WEDGED}"
        raise NotShownError(f"{in_words(control, error)}{hint}") from error


def _is_elsewhere(error: UnansweredError) -> bool:
    """Whether no server was met at all, so that asking again or restarting it is no help."""
    return error.refused or isinstance(error.__cause__, socket.gaierror)


def _place(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port or 80}"
    except ValueError:
        return url  # no URL at all: one by itself


def _shown(name: str, proxy: Any) -> Shown:
    try:
        return Shown(
            name=name,
            listen=str(proxy["listen"]),
            upstream=str(proxy["upstream"]),
            enabled=bool(proxy["enabled"]),
            toxics=tuple(str(toxic["name"]) for toxic in proxy.get("toxics") or ()),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise NotShownError(
            f"GET /proxies shows {name!r} as {str(proxy)[:60]}, wanted a proxy with listen, "
            "upstream, enabled and toxics"
        ) from error


def _fault(server: str, proxy: Shown) -> Fault | None:
    fault, lease = parse_name(proxy.name), parse_lease(proxy.name)
    parsed = fault or lease
    if parsed is None:
        return None
    return Fault(
        run=parsed.run,
        server=server,
        name=proxy.name,
        listen=proxy.listen,
        upstream=proxy.upstream,
        restores=fault.restores if fault is not None else None,
        expires_epoch_s=parsed.expires_epoch_s,
        toxics=(),
    )
