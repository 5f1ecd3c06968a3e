"""What is examined: a scenario or none, servers, and the folders of this user.

Also what must be left alone: hosts that are not this machine and were not said to be meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chaosbandit.core.names import parse_name
from chaosbandit.core.scenario import Scenario
from chaosbandit.safety.ledger import Entries, FaultLedger


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything the checks are told; `servers` are URLs of Toxiproxy APIs, or `embedded`."""

    scenario: Scenario | None
    file: Path | None
    servers: tuple[str, ...]
    ledger: FaultLedger
    journals: Path
    named: tuple[str, ...] = ()  # those of `servers` that the command line asked for
    freeze_places: tuple[str, ...] = ()
    rules_files: tuple[Path, ...] = ()
    far: frozenset[str] = frozenset()  # hosts that a run would not touch without --yes
    protected: frozenset[str] = frozenset()  # those that it would not touch with it either
    protections: tuple[str, ...] = ()  # the sentences that say so
    yes: bool = False

    def may_touch(self, url: str) -> bool:
        """Whether requests to the host of `url` were meant."""
        host = host_of(url)
        return host not in self.protected and (self.yes or host not in self.far)


def host_of(url: str) -> str:
    """The host in a URL or a `host:port`; empty where there is none."""
    place = url if "://" in url else f"//{url}"
    return urlsplit(place.replace("{n}", "0")).hostname or ""


def names_at(server: str, scenario: Scenario | None, entries: Entries) -> tuple[str, ...]:
    """Proxies that a server should know, or may still have, as far as scenario and ledger tell."""
    names = [proxy.name for proxy in scenario.proxies] if scenario is not None else []
    for entry in entries.entries:
        if entry.fault.server.rstrip("/") == server.rstrip("/"):
            names.append(entry.fault.name)
            parsed = parse_name(entry.fault.name)
            names += [parsed.restores] if parsed is not None and parsed.restores else []
    return tuple(dict.fromkeys(names))
