"""What is examined: a scenario or none, servers, and the folders of this user.

Also what must be left alone: hosts that are not this machine and were not said to be meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chaosbandit.core.scenario import Scenario
from chaosbandit.core.url_template import example
from chaosbandit.errors import Trouble
from chaosbandit.faults.addresses import same_server
from chaosbandit.faults.names import is_lease
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
    protections: tuple[Trouble, ...] = ()  # why, each once
    yes: bool = False

    def may_touch(self, url: str) -> bool:
        """Whether requests to the host of `url` were meant."""
        host = host_of(url)
        return host not in self.protected and (self.yes or host not in self.far)


def host_of(url: str) -> str:
    """The host in a URL or a `host:port`; empty where there is none."""
    place = url if "://" in url else f"//{url}"
    return urlsplit(example(place)).hostname or ""


def names_at(server: str, scenario: Scenario | None, entries: Entries) -> tuple[str, ...]:
    """Proxies that a server should know, or may still have, as far as scenario and ledger tell."""
    names = [proxy.name for proxy in scenario.proxies] if scenario is not None else []
    for entry in entries.entries:
        fault = entry.fault
        if same_server(fault.server, server) and not is_lease(fault.name):
            names.append(fault.proxy)
    return tuple(dict.fromkeys(names))


def servers_of(subject: Subject, entries: Entries) -> tuple[list[str], list[str]]:
    """The servers that were named, and those of the ledger beside them, each once."""
    named = [server.rstrip("/") for server in subject.servers]
    written: list[str] = []
    for entry in entries.entries:
        url = entry.fault.server.rstrip("/")
        if not any(same_server(url, other) for other in (*named, *written)):
            written.append(url)
    return named, written
